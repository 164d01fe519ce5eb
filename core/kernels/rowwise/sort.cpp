#include <loupe/core/cpu.h>
#include <loupe/core/kernels/rowwise/sort.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 1 << 13;     // elements of a piece
constexpr int64_t kRadixFrom = 1 << 9;  // shorter rows are sorted by comparisons
constexpr int kDigitBits = 11;          // 2048 counters fill half of the L1 cache
constexpr int64_t kDigits = int64_t{1} << kDigitBits;
constexpr int64_t kHeapUpTo = 64;  // so many elements or fewer are chosen by a heap

// An element as an unsigned number of the same order: a float's bits, with the sign bit flipped for
// numbers above 0 and all bits for those below.
template <class K, class T> K ordered(T x) {
  if constexpr (std::is_floating_point_v<T>) {
    using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    constexpr Bits kSign = Bits{1} << (8 * sizeof(T) - 1);
    if (std::isnan(x)) return static_cast<K>(static_cast<Bits>(-1));  // behind everything
    const Bits bits = __builtin_bit_cast(Bits, x == 0 ? T(0) : x);
    return static_cast<K>(bits & kSign ? static_cast<Bits>(~bits) : bits | kSign);
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return static_cast<K>(static_cast<uint64_t>(x) ^ (uint64_t{1} << 63));
  } else {
    return static_cast<K>(x);
  }
}

template <class K> struct Item {
  K key, index;
  friend bool operator<(const Item& a, const Item& b) {
    return a.key < b.key || (a.key == b.key && a.index < b.index);
  }
};

// A stable sort, one digit of the key after the other, the lowest first. Returns where the result
// is: `items` or `other`.
template <class K> Item<K>* radix_sort(int64_t n, Item<K>* items, Item<K>* other) {
  constexpr int kPasses = (8 * static_cast<int>(sizeof(K)) + kDigitBits - 1) / kDigitBits;
  const auto digit = [](K key, int pass) {
    return static_cast<size_t>(key >> (pass * kDigitBits) & static_cast<K>(kDigits - 1));
  };
  std::vector<int64_t> counts(static_cast<size_t>(kPasses * kDigits));
  for (int64_t i = 0; i < n; ++i)
    for (int pass = 0; pass < kPasses; ++pass)
      ++counts[static_cast<size_t>(pass * kDigits) + digit(items[i].key, pass)];
  for (int pass = 0; pass < kPasses; ++pass) {
    int64_t* const place = counts.data() + pass * kDigits;
    if (place[digit(items[0].key, pass)] == n) continue;  // all have this digit
    int64_t total = 0;
    for (int64_t d = 0; d < kDigits; ++d) {
      const int64_t count = place[d];
      place[d] = total;
      total += count;
    }
    for (int64_t i = 0; i < n; ++i) other[place[digit(items[i].key, pass)]++] = items[i];
    std::swap(items, other);
  }
  return items;
}

// K holds both a key and a position.
template <class K, class T>
void sort_row(const SortShape& s, const T* x, int64_t* index, std::vector<Item<K>>& buffer) {
  const int64_t n = s.n, k = s.k;
  const bool most_of_a_long_row = k > n / 8 && n >= kRadixFrom;
  buffer.resize(static_cast<size_t>(most_of_a_long_row ? 2 * n : n));
  Item<K>* items = buffer.data();
  const K flip = s.descending ? static_cast<K>(~K{0}) : K{0};
  for (int64_t i = 0; i < n; ++i)
    items[i] = {static_cast<K>(ordered<K>(x[i]) ^ flip), static_cast<K>(i)};
  if (most_of_a_long_row) {
    items = radix_sort(n, items, items + n);
  } else if (k <= kHeapUpTo && k < n) {
    std::partial_sort(items, items + k, items + n);
  } else {
    if (k < n) std::nth_element(items, items + k, items + n);
    std::sort(items, items + k);
  }
  for (int64_t i = 0; i < k; ++i) index[i] = static_cast<int64_t>(items[i].index);
}

template <class K, class T> void sort_all(const SortShape& s, const T* x, int64_t* index) {
  parallel_ranges(s.rows, std::max<int64_t>(1, kGrain / s.n), [=](int64_t begin, int64_t end) {
    std::vector<Item<K>> buffer;
    for (int64_t r = begin; r < end; ++r) sort_row<K>(s, x + r * s.n, index + r * s.k, buffer);
  });
}

}  // namespace

template <class T> void sort_rows(const SortShape& s, const T* x, int64_t* index) {
  if (s.n == 0 || s.k == 0) return;
  if (plain_kernels()) return plain::sort_rows(s, x, index);
  if (sizeof(T) <= 4 && s.n <= INT32_MAX) sort_all<uint32_t>(s, x, index);
  else sort_all<uint64_t>(s, x, index);
}

#define LOUPE_INSTANTIATE(T) template void sort_rows<T>(const SortShape&, const T*, int64_t*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
LOUPE_INSTANTIATE(int64_t)
LOUPE_INSTANTIATE(uint8_t)
LOUPE_INSTANTIATE(bool)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
