#include "catch.h"

#include <loupe/core/cpu.h>
#include <loupe/core/error.h>
#include <loupe/core/memory.h>
#include <loupe/core/random.h>
#include <loupe/core/share.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "core/kernel_tests.h"

using namespace loupe;

TEST_CASE("parallel_pieces runs every piece once, at any limit, nested and from several threads",
          "[threads]") {
  for (int limit : {1, 2, 3, 8}) {
    ThreadLimit scope(limit);
    for (int64_t n : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
      parallel_pieces(n, [&](int64_t i) { seen[static_cast<size_t>(i)]++; });
      for (auto& s : seen) REQUIRE(s == 1);
    }
    std::atomic<int64_t> sum{0};
    parallel_pieces(8, [&](int64_t i) { parallel_pieces(5, [&](int64_t j) { sum += i * j; }); });
    REQUIRE(sum == 280);
  }
  std::vector<std::thread> users;
  std::atomic<int64_t> total{0};
  for (int u = 0; u < 4; ++u)
    users.emplace_back([&] {
      ThreadLimit scope(3);
      for (int k = 0; k < 500; ++k)
        parallel_ranges(100, 7, [&](int64_t b, int64_t e) { total += e - b; });
    });
  for (auto& u : users) u.join();
  REQUIRE(total == 4 * 500 * 100);
}

TEST_CASE("an exception in a piece reaches the caller and the pool goes on") {
  ThreadLimit scope(2);
  for (int k = 0; k < 20; ++k) {
    REQUIRE_THROWS_AS(parallel_pieces(50,
                                      [&](int64_t i) {
                                        if (i == 31) fail<ValueError>("piece {}", i);
                                      }),
                      ValueError);
    std::atomic<int> n{0};
    parallel_pieces(10, [&](int64_t) { n++; });
    REQUIRE(n == 10);
  }
  REQUIRE_THROWS_AS(set_thread_limit(0), ValueError);
}

TEST_CASE("Philox gives the published words, the fast form the same, and streams split") {
  // Known answers of Random123 for philox4x32-10: counter and key all zero.
  const auto zero = philox(0, 0);
  REQUIRE(zero == std::array<uint32_t, 4>{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  std::vector<uint32_t> words(1003);
  philox_fill(77, 5, words.data(), 1003);
  for (size_t i = 0; i < words.size(); ++i) REQUIRE(words[i] == philox(77, 5 + i / 4)[i % 4]);

  Rng a(3);
  Rng b = a.split();
  REQUIRE(a.next_u64() != b.next_u64());
  const Rng::State saved = a.state();
  const double x = a.normal();
  a.set_state(saved);
  REQUIRE(a.normal() == x);
  double mean = 0, var = 0;
  for (int i = 0; i < 20000; ++i) {
    const double v = a.normal();
    mean += v / 20000;
    var += v * v / 20000;
  }
  REQUIRE(std::abs(mean) < 0.03);
  REQUIRE(std::abs(var - 1) < 0.05);
  for (int i = 0; i < 100; ++i) {
    const int64_t k = a.integer(-3, 4);
    REQUIRE((k >= -3 && k < 4));
  }
  REQUIRE_THROWS_AS(a.integer(2, 2), ValueError);
  // Many at a time are the same numbers, also where many words are refused.
  for (const int64_t high : {int64_t{1000}, int64_t{1} << 62}) {
    Rng one(9), many(9);
    std::vector<int64_t> values(200);
    many.integers(INT64_MIN, high, values);
    for (const int64_t v : values) REQUIRE(v == one.integer(INT64_MIN, high));
    REQUIRE(one.state() == many.state());
  }
}

TEST_CASE("the allocator counts, reuses and refuses") {
  const MemoryStats before = memory_stats();
  {
    Storage s(1000);
    REQUIRE(reinterpret_cast<uintptr_t>(s.data()) % 64 == 0);
    REQUIRE(memory_stats().live_storages == before.live_storages + 1);
    REQUIRE(memory_stats().live_bytes == before.live_bytes + 1000);
    Storage empty(0);
    REQUIRE(empty.data() != nullptr);
  }
  REQUIRE(memory_stats().live_storages == before.live_storages);
  REQUIRE(memory_stats().live_bytes == before.live_bytes);
  REQUIRE_THROWS_AS(Storage(size_t{1} << 62), OutOfMemory);
  REQUIRE_THROWS_AS(Storage(size_t{1} << 45), OutOfMemory);
  Storage after(64);  // the process goes on
  release_cached_memory();
  REQUIRE(memory_stats().cached_bytes == 0);
}

#ifndef LOUPE_OWN_BLOCKS
namespace {
int64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  int64_t pages = 0;
  in >> pages >> pages;
  return pages * 4096;
}
}  // namespace

TEST_CASE(
    "release_cached_memory gives the memory of medium blocks back, and their addresses serve "
    "again") {
  constexpr size_t kBytes = 3 << 20;
  release_cached_memory();
  std::vector<std::unique_ptr<Storage>> blocks;
  for (int i = 0; i < 20; ++i)
    std::memset(blocks.emplace_back(std::make_unique<Storage>(kBytes))->data(), 1, kBytes);
  std::set<void*> before;
  for (const auto& b : blocks) before.insert(b->data());
  CHECK(before.size() == 20);
  blocks.clear();
  const int64_t cached = memory_stats().cached_bytes, resident = resident_bytes();
  CHECK(cached >= int64_t{20} * 3 << 20);
  release_cached_memory();
  CHECK(memory_stats().cached_bytes == 0);
  CHECK(resident - resident_bytes() > int64_t{50} << 20);
  for (int i = 0; i < 20; ++i) {
    const auto& b = blocks.emplace_back(std::make_unique<Storage>(kBytes));
    CHECK(before.erase(b->data()) == 1);
    std::memset(b->data(), i, kBytes);
  }
  for (int i = 0; i < 20; ++i) {
    const char* data = static_cast<const char*>(blocks[static_cast<size_t>(i)]->data());
    CHECK(std::all_of(data, data + kBytes, [i](char x) { return x == i; }));
  }
}
#endif

TEST_CASE("philox_fill: large keys and counters, at every CPU level") {
  at_every_level([] {
    const uint64_t key = 0x9123456789abcdefu;
    for (const uint64_t first : {uint64_t{0xfffffff0u}, ~uint64_t{0} - 20}) {
      std::vector<uint32_t> w(300);
      philox_fill(key, first, w.data(), 300);
      for (size_t i = 0; i < w.size(); ++i) REQUIRE(w[i] == philox(key, first + i / 4)[i % 4]);
    }
  });
}

TEST_CASE("a thread limit is one thread's, and a scope gives it back", "[threads]") {
  ThreadLimit outer(3);
  {
    ThreadLimit inner(1);
    CHECK(thread_limit() == 1);
    std::thread([] { set_thread_limit(5); }).join();
    CHECK(thread_limit() == 1);
  }
  CHECK(thread_limit() == 3);
}

TEST_CASE("ranges are cut by length and grain alone", "[threads]") {
  for (int limit : {1, 3}) {
    ThreadLimit scope(limit);
    std::mutex mutex;
    std::set<std::pair<int64_t, int64_t>> cuts;
    parallel_ranges(10, 4, [&](int64_t begin, int64_t end) {
      std::lock_guard lock(mutex);
      cuts.insert({begin, end});
    });
    CHECK(cuts == std::set<std::pair<int64_t, int64_t>>{{0, 4}, {4, 8}, {8, 10}});
  }
}

TEST_CASE("memory with an owner lives as long as the storage, and is not the allocator's") {
  auto owner = std::make_shared<std::vector<char>>(64);
  const std::weak_ptr<std::vector<char>> alive = owner;
  const int64_t live = memory_stats().live_bytes;
  {
    Storage storage(owner->data(), 64, owner);
    owner.reset();
    CHECK(!alive.expired());
    CHECK(!storage.is_allocated());
    CHECK(memory_stats().live_bytes == live);
  }
  CHECK(alive.expired());
  CHECK(Storage(8).is_allocated());
}

TEST_CASE("shares cover everything once, and differ by one at most") {
  for (const int64_t n : {0, 1, 5, 7, 100})
    for (const int64_t ranks : {1, 2, 3, 8}) {
      int64_t next = 0;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const ShareRange own = Share{rank, ranks}.of(n);
        CHECK(own.first == next);
        CHECK((own.size() == n / ranks || own.size() == n / ranks + 1));
        next = own.last;
      }
      CHECK(next == n);
    }
}
