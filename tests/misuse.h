#pragma once
// What a test of misuse asks for: the typed error, with a sentence that starts with the op or
// layer.
#include <loupe/core/error.h>

#include <string>

#include "catch.h"

namespace misuse {

inline int g_checked = 0;

/// f throws exactly E, and its text is "<op>: ..." with something said.
template <class E, class F> void refuses(const std::string& op, F f) {
  INFO("misuse of " << op << ", case " << g_checked);
  ++g_checked;
  try {
    f();
  } catch (const E& e) {
    const std::string text = e.what();
    CAPTURE(text);
    CHECK(text.rfind(op + ":", 0) == 0);
    CHECK(text.size() > op.size() + 12);
    return;
  } catch (const std::exception& e) {
    FAIL_CHECK("misuse of " << op << ", case " << g_checked - 1
                            << ": another exception: " << e.what());
    return;
  }
  FAIL_CHECK("misuse of " << op << ", case " << g_checked - 1 << ": nothing was thrown");
}

}  // namespace misuse
