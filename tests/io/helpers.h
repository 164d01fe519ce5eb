#pragma once
#include <loupe/io/file.h>

#include <unistd.h>

#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include "catch.h"

/// A folder of its own for a test, removed at the end; in memory where that exists, for writing
/// flushes to the disk.
struct TempDir {
  std::filesystem::path path;
  TempDir() {
    const bool memory = access("/dev/shm", W_OK) == 0;
    std::string name = (memory ? "/dev/shm" : std::filesystem::temp_directory_path().string()) +
                       "/loupe-test-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~TempDir() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& file) const { return (path / file).string(); }
};

inline std::string io_fixture(const std::string& file) {
  return std::string(LOUPE_FIXTURES) + "/io/" + file;
}

inline std::string from_bytes(std::initializer_list<int> values) {
  std::string s;
  for (int v : values) s += static_cast<char>(v);
  return s;
}

/// The text of the E that f throws; "" if it does not throw.
template <class E = loupe::IoError, class F> std::string error_of(F f) {
  try {
    f();
  } catch (const E& e) { return e.what(); }
  return "";
}
