#pragma once

namespace loupe::lesson {

/// The commit this program was built from, "unknown" without git. (Made by cmake/commit.cmake.)
extern const char* const kCommit;

}  // namespace loupe::lesson
