#pragma once
// Typed errors. Every misuse a caller can commit throws one of these; the text starts with the op,
// says what was expected and what came, and gives a hint where one is known. Inside a call of an op
// or a module it ends with the caller's line and the module's path (core/place.h).
#include <fmt/core.h>
#include <loupe/core/place.h>

#include <stdexcept>
#include <string>

namespace loupe {

/// Base of every exception Loupe throws on purpose.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// A call that cannot be carried out: the text ends with its place, by with_place().
struct CallError : Error {
  explicit CallError(const std::string& text) : Error(with_place(text)) {}
};
/// Shapes that do not fit together.
struct ShapeError : CallError {
  using CallError::CallError;
};
/// An element type that an op does not take, or two that differ.
struct DtypeError : CallError {
  using CallError::CallError;
};
/// An axis, index or label outside its range.
struct IndexError : CallError {
  using CallError::CallError;
};
/// An option or argument with a value that makes no sense.
struct ValueError : CallError {
  using CallError::CallError;
};
/// Misuse of the gradient machinery: freed graph, in-place edit of a saved tensor, no gradient to
/// compute.
struct GradError : CallError {
  using CallError::CallError;
};
/// Numbers that are wrong: a NaN or Inf (anomaly mode, clip_grad_norm_, a training program), or a
/// result too far from its second computation (shadow mode, explain).
struct NumericError : Error {
  using Error::Error;
};
/// A file that is missing, unreadable or not what its format says.
struct IoError : Error {
  using Error::Error;
};
/// No memory left for a tensor. The process can go on.
struct OutOfMemory : CallError {
  using CallError::CallError;
};

/// Throws E with a formatted text: fail<ShapeError>("matmul: inner dimensions differ: {} x {}", a,
/// b).
template <class E = Error, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  throw E(fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace loupe
