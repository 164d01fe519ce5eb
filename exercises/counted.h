#pragma once
// Counts how often a function reads memory anew. Counted takes the place of float: each read and
// write goes through a model of a cache, and a miss is one line of 64 bytes that comes from memory.
// The file of a scored exercise is compiled once more with it (counted_float.h).
#include <array>
#include <cstdint>

namespace loupe::exercises {

/// A cache of 64 KiB: 128 sets of 8 lines of 64 bytes. A new line takes the place of the one of its
/// set that was used longest ago.
class CacheModel {
 public:
  static constexpr int64_t kLine = 64, kSets = 128, kWays = 8;

  /// The cache that Counted goes through.
  static CacheModel& the() {
    static CacheModel model;
    return model;
  }
  void touch(const void* p) {
    const auto line = reinterpret_cast<uintptr_t>(p) / kLine;
    auto& set = sets_[line % kSets];  // the line used last comes first
    size_t at = 0;
    while (at < kWays && set[at] != line) ++at;
    if (at == kWays) {
      ++misses_;
      --at;
    }
    for (; at > 0; --at) set[at] = set[at - 1];
    set[0] = line;
  }
  /// Forgets all lines.
  void clear() { *this = CacheModel(); }
  /// Lines that came from memory, in bytes.
  int64_t bytes() const { return misses_ * kLine; }

 private:
  std::array<std::array<uintptr_t, kWays>, kSets> sets_ = {};
  int64_t misses_ = 0;
};

/// A float that tells the cache of every read and write.
class Counted {
 public:
  Counted() = default;
  Counted(float value) : value_(value) { touch(); }
  Counted(const Counted& other) : value_(other.read()) { touch(); }
  Counted& operator=(const Counted& other) {
    value_ = other.read();
    touch();
    return *this;
  }
  operator float() const { return read(); }
  Counted& operator+=(float x) { return *this = read() + x; }
  Counted& operator-=(float x) { return *this = read() - x; }
  Counted& operator*=(float x) { return *this = read() * x; }

 private:
  float read() const {
    touch();
    return value_;
  }
  void touch() const { CacheModel::the().touch(this); }
  float value_ = 0;
};

}  // namespace loupe::exercises
