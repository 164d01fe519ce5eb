#include <loupe/core/error.h>
#include <loupe/core/memory.h>
#include <loupe/core/pages.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace loupe {
namespace {

std::atomic<int64_t> g_storages{0}, g_live{0}, g_peak{0}, g_cached{0};

constexpr size_t kAlign = 64;
constexpr size_t kHuge = size_t{4} << 20;  // from here on blocks ask for huge pages
// Beyond any machine; keeps size arithmetic from overflowing.
constexpr int kLargestBits = sizeof(size_t) == 8 ? 46 : 30;
constexpr size_t kLargest = size_t{1} << kLargestBits;

[[maybe_unused]] void* system_alloc(size_t bytes) {
  const bool huge = bytes >= kHuge;
  void* p = nullptr;
  if (posix_memalign(&p, huge ? size_t{2} << 20 : kAlign, bytes) != 0) return nullptr;
  if (huge) pages::ask_for_huge(p, bytes);
  return p;
}

#ifndef LOUPE_OWN_BLOCKS

// Size classes: multiples of 64 up to 1 KiB, then eight steps for each power of two (at most 12.5 %
// waste).
size_t class_of(size_t bytes) {
  const size_t units = std::max<size_t>((bytes + kAlign - 1) / kAlign, 1);
  if (units <= 16) return units - 1;
  const size_t top =
      static_cast<size_t>(std::bit_width(units - 1)) - 1;  // 2^top < units <= 2^(top+1)
  const size_t step = size_t{1} << (top - 3);
  const size_t eighth = (units - (size_t{1} << top) + step - 1) / step;  // 1..8
  return 16 + (top - 4) * 8 + eighth - 1;
}
size_t class_bytes(size_t c) {
  if (c < 16) return (c + 1) * kAlign;
  const size_t top = (c - 16) / 8 + 4, eighth = (c - 16) % 8 + 1;
  return ((size_t{1} << top) + eighth * (size_t{1} << (top - 3))) * kAlign;
}

constexpr size_t kClasses = 16 + 8 * (kLargestBits - 10);

// Blocks between these sizes are cut from slabs of huge pages, of which one entry of the TLB covers
// 2 MiB. They start a few lines apart modulo 4096: equal addresses there make a load wait for a
// store to another block.
constexpr size_t kCut = 32 << 10, kSlab = size_t{16} << 20, kApart = 5 * kAlign;
bool is_cut(size_t bytes) { return bytes >= kCut && bytes < kHuge; }

void* cut(size_t bytes) {
  static std::mutex mutex;
  static char *at = nullptr, *end = nullptr;
  std::lock_guard lock(mutex);
  if (static_cast<size_t>(end - at) < bytes + kApart) {
    at = static_cast<char*>(system_alloc(kSlab));
    end = at ? at + kSlab : nullptr;
  }
  return at ? std::exchange(at, at + bytes + kApart) : nullptr;
}

struct Bucket {
  std::mutex mutex;
  std::vector<void*> free;
  size_t bare = 0;  // of these, at the bottom: cut blocks whose memory has gone back to the system,
                    // and not their addresses
};

// Never destroyed: tensors in globals may outlive any static.
Bucket* buckets() {
  static Bucket* const b = new Bucket[kClasses];
  return b;
}

void* take(size_t bytes) {
  const size_t c = class_of(bytes), rounded = class_bytes(c);
  Bucket& bucket = buckets()[c];
  {
    std::lock_guard lock(bucket.mutex);
    if (!bucket.free.empty()) {
      void* p = bucket.free.back();
      bucket.free.pop_back();
      if (bucket.free.size() >= bucket.bare)
        g_cached.fetch_sub(static_cast<int64_t>(rounded), std::memory_order_relaxed);
      bucket.bare = std::min(bucket.bare, bucket.free.size());
      return p;
    }
  }
  const auto fresh = [&] { return is_cut(rounded) ? cut(rounded) : system_alloc(rounded); };
  void* p = fresh();
  if (!p) {
    release_cached_memory();
    p = fresh();
  }
  return p;
}

void give(void* p, size_t bytes) {
  const size_t c = class_of(bytes);
  Bucket& bucket = buckets()[c];
  std::lock_guard lock(bucket.mutex);
  bucket.free.push_back(p);
  g_cached.fetch_add(static_cast<int64_t>(class_bytes(c)), std::memory_order_relaxed);
}

#endif

// Those who hear of blocks. The count lies apart: it is read at every block.
std::atomic<int> g_watching{0};
struct MemoryWatches {
  std::mutex mutex;
  std::vector<MemoryWatch*> all;
};
// Never destroyed, as the buckets.
MemoryWatches& watches() {
  static MemoryWatches* const w = new MemoryWatches;
  return *w;
}

void tell(const Storage& block, void (MemoryWatch::*what)(const Storage&)) {
  MemoryWatches& w = watches();
  std::lock_guard lock(w.mutex);
  for (MemoryWatch* watch : w.all) (watch->*what)(block);
}

thread_local bool t_unheard = false;  // an UnheardMemory lives

bool watched() { return g_watching.load(std::memory_order_relaxed) > 0 && !t_unheard; }

}  // namespace

MemoryWatch::MemoryWatch() {
  MemoryWatches& w = watches();
  std::lock_guard lock(w.mutex);
  w.all.push_back(this);
  g_watching.fetch_add(1);
}

void MemoryWatch::stop() {
  MemoryWatches& w = watches();
  std::lock_guard lock(w.mutex);
  if (std::erase(w.all, this) > 0) g_watching.fetch_sub(1);
}

MemoryWatch::~MemoryWatch() { stop(); }

detail::UnheardMemory::UnheardMemory() : before_(std::exchange(t_unheard, true)) {}
detail::UnheardMemory::~UnheardMemory() { t_unheard = before_; }

Storage::Storage(size_t bytes) : data_(nullptr), bytes_(bytes) {
  if (bytes <= kLargest) {
#ifdef LOUPE_OWN_BLOCKS
    // A block of exactly this size, so that the sanitizer sees the first byte beyond; 0xff is NaN
    // in f32 and f64.
    if (posix_memalign(&data_, kAlign, std::max<size_t>(bytes, 1)) != 0) data_ = nullptr;
    if (data_) std::memset(data_, 0xff, bytes);
#else
    data_ = take(bytes);
#endif
  }
  if (!data_)
    fail<OutOfMemory>("allocate: no memory for {} bytes; {} bytes are in use", bytes,
                      g_live.load());
  g_storages.fetch_add(1, std::memory_order_relaxed);
  const int64_t live = g_live.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed) +
                       static_cast<int64_t>(bytes);
  int64_t peak = g_peak.load(std::memory_order_relaxed);
  while (live > peak && !g_peak.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {}
  if (watched()) [[unlikely]]
    tell(*this, &MemoryWatch::allocated);
}

Storage::Storage(void* data, size_t bytes, std::shared_ptr<const void> owner)
    : data_(data), bytes_(bytes), owner_(std::move(owner)) {
  g_storages.fetch_add(1, std::memory_order_relaxed);
}

Storage::~Storage() {
  g_storages.fetch_sub(1, std::memory_order_relaxed);
  if (owner_) return;
  if (watched()) [[unlikely]]
    tell(*this, &MemoryWatch::freed);
  g_live.fetch_sub(static_cast<int64_t>(bytes_), std::memory_order_relaxed);
#ifdef LOUPE_OWN_BLOCKS
  std::free(data_);
#else
  give(data_, bytes_);
#endif
}

size_t bytes_of(int64_t n, size_t size) {
  if (n < 0 || static_cast<uint64_t>(n) > SIZE_MAX / size)
    fail<OutOfMemory>("allocate: no memory for {} elements of {} bytes", n, size);
  return static_cast<size_t>(n) * size;
}

MemoryStats memory_stats() {
  return {g_storages.load(), g_live.load(), g_peak.load(), g_cached.load()};
}
void reset_peak_memory() { g_peak.store(g_live.load()); }

void release_cached_memory() {
#ifndef LOUPE_OWN_BLOCKS
  for (size_t c = 0; c < kClasses; ++c) {
    Bucket& bucket = buckets()[c];
    std::lock_guard lock(bucket.mutex);
    const size_t bytes = class_bytes(c), held = bucket.free.size() - bucket.bare;
    for (size_t i = bucket.bare; i < bucket.free.size(); ++i) {
      if (!is_cut(bytes)) {
        std::free(bucket.free[i]);
        continue;
      }
      pages::give_back(bucket.free[i], bytes);
    }
    g_cached.fetch_sub(static_cast<int64_t>(bytes * held));
    bucket.free.resize(is_cut(bytes) ? bucket.free.size() : 0);
    bucket.bare = bucket.free.size();
  }
#endif
}

}  // namespace loupe
