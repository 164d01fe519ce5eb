#pragma once
// What a test of misuse asks for: the typed error, with a sentence that starts with the op or
// layer.
#include <loupe/core/error.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "catch.h"

namespace misuse {

inline int g_checked = 0;

/// f throws exactly E, and its text is "<op>: ..." with something said. Returns the text.
template <class E, class F> std::string refuses(const std::string& op, F f) {
  INFO("misuse of " << op << ", case " << g_checked);
  ++g_checked;
  try {
    f();
  } catch (const E& e) {
    const std::string text = e.what();
    CAPTURE(text);
    CHECK(text.rfind(op + ":", 0) == 0);
    CHECK(text.size() > op.size() + 12);
    return text;
  } catch (const std::exception& e) {
    FAIL_CHECK("misuse of " << op << ", case " << g_checked - 1
                            << ": another exception: " << e.what());
    return "";
  }
  FAIL_CHECK("misuse of " << op << ", case " << g_checked - 1 << ": nothing was thrown");
  return "";
}

/// body(name, op) for each of the ops: for many that refuse the same. (clang 14 lets no lambda take
/// a part of a structured binding, so a loop over [name, op] will not do.)
template <class Op, class Body>
void each(const std::vector<std::pair<const char*, Op>>& ops, Body body) {
  for (const auto& [name, op] : ops) body(name, op);
}

/// The text of an error without " (test_norm.cpp:12)" at its end, for tests that compare the
/// sentence.
inline std::string without_place(const std::string& text) {
  const size_t at = text.rfind(" (");
  const bool place = at != std::string::npos && text.find(".cpp:", at) != std::string::npos;
  return place && text.back() == ')' ? text.substr(0, at) : text;
}

/// How far the line of the op may be from the line of refuses(): a lambda of a few lines.
inline constexpr int kNear = 16;

namespace pointed {

/// The same, and the text ends with the line of the call: "<op>: ... (test_misuse.cpp:12)".
template <class E, class F>
void refuses(const std::string& op, F f, const char* file = __builtin_FILE(),
             int line = __builtin_LINE()) {
  const std::string text = misuse::refuses<E>(op, f);
  if (text.empty()) return;
  CAPTURE(text);
  std::string name = file;
  name = name.substr(name.rfind('/') + 1) + ":";
  const size_t at = text.rfind(name);
  REQUIRE(at != std::string::npos);
  CHECK(text.back() == ')');
  const std::string number = text.substr(at + name.size(), text.size() - at - name.size() - 1);
  REQUIRE(number.find_first_not_of("0123456789") == std::string::npos);
  CHECK(std::abs(std::stoi(number) - line) <= kNear);
}

}  // namespace pointed

}  // namespace misuse
