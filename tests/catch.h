#pragma once
// Catch2 2.x (Debian 12) and 3.x (newer systems) through one include.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#define Contains ContainsSubstring  // Catch2 3's name for what 2 calls Contains
#else
#include <catch2/catch.hpp>
#endif
