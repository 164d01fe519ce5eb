#pragma once
// The library's version: CMakeLists.txt, the program and the files Loupe writes take it from here.

namespace loupe {

/// Major, minor, patch. Before 1.0 a new minor version may change the interface.
inline constexpr const char* kVersion = "0.2.0";

}  // namespace loupe
