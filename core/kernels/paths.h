#pragma once
// A family of kernels has several ways to compute one call: they stand in a table.
//
// A call is a struct with named fields. A row of the table has a name, a question about the call,
// and a function. The first row that fits runs, and leaves its name in the kernel log,
// where the tests and shadow mode find it.
#include <loupe/core/cpu.h>
#include <loupe/core/kernel_log.h>

#include <cstddef>
#include <span>
#include <type_traits>

namespace loupe::kernels {

/// One way to compute a call. With Result = bool, `run` may find that the numbers are not for it:
/// it returns false, its result is of no use, and the next row that fits runs.
template <class Call, class Result = void> struct Path {
  const char* name;
  bool (*fits)(const Call&);
  Result (*run)(const Call&);
};

/// Runs the first row that fits. The last row of a table fits every call.
template <class Call, class Result>
void run_first(std::span<const Path<Call, Result>> paths, const Call& call) {
  for (const Path<Call, Result>& path : paths) {
    if (!path.fits(call)) continue;
    if constexpr (std::is_void_v<Result>) path.run(call);
    else if (!path.run(call)) continue;
    return log_kernel(path.name);  // last: not a name of what the row itself calls
  }
}

template <class Call, class Result, size_t N>
void run_first(const Path<Call, Result> (&paths)[N], const Call& call) {
  run_first(std::span<const Path<Call, Result>>(paths), call);
}

/// Predicates that every family shares: LOUPE_CPU=reference asks for the plain loops; the last row.
template <class Call> bool reference_mode(const Call&) { return plain_kernels(); }
template <class Call> bool always(const Call&) { return true; }

}  // namespace loupe::kernels
