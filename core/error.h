#pragma once
// Typed errors. Every misuse a caller can commit throws one of these; the text starts with the op,
// says what was expected and what came, and gives a hint where one is known.
#include <fmt/core.h>

#include <stdexcept>
#include <string>

namespace loupe {

/// Base of every exception Loupe throws on purpose.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Shapes that do not fit together.
struct ShapeError : Error {
  using Error::Error;
};
/// An element type that an op does not take, or two that differ.
struct DtypeError : Error {
  using Error::Error;
};
/// An axis, index or label outside its range.
struct IndexError : Error {
  using Error::Error;
};
/// An option or argument with a value that makes no sense.
struct ValueError : Error {
  using Error::Error;
};
/// Misuse of the gradient machinery: freed graph, in-place edit of a saved tensor, no gradient to
/// compute.
struct GradError : Error {
  using Error::Error;
};
/// A NaN or Inf that anomaly mode, shadow mode or a training program found.
struct NumericError : Error {
  using Error::Error;
};
/// A file that is missing, unreadable or not what its format says.
struct IoError : Error {
  using Error::Error;
};
/// No memory left for a tensor. The process can go on.
struct OutOfMemory : Error {
  using Error::Error;
};

/// Throws E with a formatted text: fail<ShapeError>("matmul: inner dimensions differ: {} x {}", a,
/// b).
template <class E = Error, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  throw E(fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace loupe
