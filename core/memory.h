#pragma once
// Memory for tensors: 64-byte aligned blocks from a caching allocator. Freed blocks stay in the
// cache. They go back to the system only by release_cached_memory(), which the allocator also calls
// when the system has no memory left.
#include <loupe/core/pinned.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace loupe {

/// A block of memory that tensors share. Views are other shapes over the same Storage.
class Storage : Pinned {
 public:
  /// `bytes` of uninitialised memory (NaN-filled in debug and sanitizer builds). OutOfMemory if
  /// there is none.
  explicit Storage(size_t bytes);
  /// Memory that `owner` keeps alive, such as a mapped file. Writing to it is the caller's
  /// business.
  Storage(void* data, size_t bytes, std::shared_ptr<const void> owner);
  ~Storage();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  /// Its memory is the allocator's: live_bytes counts it, and MemoryWatch hears of it.
  bool is_allocated() const { return !owner_; }
  /// Counts the in-place writes. A saved tensor remembers it and refuses to be used after it has
  /// moved.
  uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  void bump_version() { version_.fetch_add(1, std::memory_order_relaxed); }
  /// For memory that takes another's place: its version is one that neither had before.
  void continue_version(const Storage& before) {
    version_.store(std::max(version(), before.version()) + 1, std::memory_order_relaxed);
  }

 private:
  void* data_;
  size_t bytes_;
  std::atomic<uint64_t> version_{0};
  std::shared_ptr<const void> owner_;  // empty when the block is the allocator's
};

/// What tensors hold. live_bytes and peak_bytes are the bytes asked for from the allocator.
/// live_storages counts every Storage, also over memory with an owner. cached_bytes are whole
/// blocks: sizes rounded up.
struct MemoryStats {
  int64_t live_storages = 0;
  int64_t live_bytes = 0;
  int64_t peak_bytes = 0;
  int64_t cached_bytes = 0;  // held for reuse, in no tensor
};
MemoryStats memory_stats();
/// Sets the peak to the bytes that are live now.
void reset_peak_memory();
/// Gives the memory of all cached blocks back, as far as the system takes it: in whole pages.
/// Blocks that share a slab keep their addresses.
void release_cached_memory();

/// Hears of every block that the allocator hands out or takes back, on any thread, while it lives
/// (except those of shadow mode's second computation). Several may live at once. Without one, each
/// block costs only one comparison. The functions are called one at a time. They must not throw,
/// and must not make or drop a tensor.
class MemoryWatch : Pinned {
 public:
  virtual ~MemoryWatch();
  /// `block` has just been handed out.
  virtual void allocated(const Storage& block) = 0;
  /// `block` goes back right afterwards.
  virtual void freed(const Storage& block) = 0;

 protected:
  MemoryWatch();
  /// The destructor of a derived class must call this first. After it no function of the watch is
  /// called.
  void stop();
};

namespace detail {
// What the thread allocates and frees while one lives is not told to the MemoryWatches.
class UnheardMemory : Pinned {
 public:
  UnheardMemory();
  ~UnheardMemory();

 private:
  const bool before_;
};
}  // namespace detail

/// The size of n elements of `size` bytes. OutOfMemory where a size_t cannot say it.
size_t bytes_of(int64_t n, size_t size);

/// Scratch memory of a kernel's caller, from the same allocator: 64-byte aligned, uninitialised,
/// freed at scope end.
template <class T> class Scratch {
 public:
  explicit Scratch(int64_t n) : storage_(bytes_of(n, sizeof(T))) {}
  T* data() const { return static_cast<T*>(storage_.data()); }
  operator T*() const { return data(); }

 private:
  Storage storage_;
};

}  // namespace loupe
