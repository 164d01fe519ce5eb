#pragma once
// What the plain loops and the tiles of attention share: one head's matrices, which keys a query
// sees, masks, dropout's factors.
#include <loupe/core/kernels/attention/attention.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/random.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <limits>

namespace loupe::kernels {

template <class T> inline constexpr T kInf = std::numeric_limits<T>::infinity();

/// Which head. `number` counts all of them.
struct HeadIndex {
  int64_t batch, head, number;
};

/// The rows of one head, `row` elements apart.
template <class T> struct HeadMatrix {
  T* data;
  int64_t row;
  HeadMatrix(T* first, int64_t distance) : data(first), row(distance) {}
  HeadMatrix(const Heads<T>& all, const HeadIndex& h)
      : data(all.at(h.batch, h.head)), row(all.row) {}
  T* at(int64_t i) const { return data + i * row; }
};

/// Calls run(head, share) for each head, cut into `shares` pieces.
template <class F> void for_heads(const AttentionShape& s, int64_t shares, const F& run) {
  parallel_pieces(s.batch * s.heads * shares, [&](int64_t piece) {
    const int64_t number = piece / shares;
    run(HeadIndex{number / s.heads, number % s.heads, number}, piece % shares);
  });
}

/// A place in the scores.
struct Score {
  HeadIndex head;
  int64_t query, key;
};

/// How many keys query i may see by its place: all, or 0 to i.
inline int64_t seen(const AttentionShape& s, int64_t i) {
  return s.causal ? std::min(i + 1, s.keys) : s.keys;
}

/// Where the mask holds a score's value.
inline int64_t mask_offset(const AttentionMask& m, const Score& at) {
  return at.head.batch * m.batch + at.head.head * m.head + at.query * m.query + at.key * m.key;
}

/// Whether a query may attend to a key.
inline bool sees(const AttentionShape& s, const Score& at) {
  if (s.causal && at.key > at.query) return false;
  return !s.mask.keep || s.mask.keep[mask_offset(s.mask, at)];
}

/// The score under the mask; -Inf where the mask hides it.
template <class T> T masked(const AttentionShape& s, const Score& at, T score) {
  const int64_t offset = mask_offset(s.mask, at);
  if (s.mask.keep && !s.mask.keep[offset]) return -kInf<T>;
  return s.mask.add ? score + static_cast<const T*>(s.mask.add)[offset] : score;
}

/// A counter of the random stream stands for so many words. A query's words begin with a counter.
inline constexpr int64_t kDropoutWords = 4;

/// The factors that dropout multiplies the weights of a query with, for n keys from `at` on: 0 or
/// 1 / (1 - dropout). at.key is a multiple of kDropoutWords.
template <class T>
void dropout_row(const AttentionShape& s, const Score& at, int64_t n, T* factors) {
  constexpr int64_t kDrawn = 128;  // words drawn at once
  const int64_t query = at.head.number * s.queries + at.query;
  const int64_t counter = (query * round_up(s.keys, kDropoutWords) + at.key) / kDropoutWords;
  const uint32_t below = static_cast<uint32_t>(std::min(s.dropout * 0x1p32, 0x1p32 - 1));
  const T keep = s.dropout < 1 ? static_cast<T>(1 / (1 - s.dropout)) : T(0);
  uint32_t words[kDrawn];
  for (int64_t first = 0; first < n; first += kDrawn) {
    const int64_t count = std::min(kDrawn, n - first);
    philox_fill(s.key, s.counter + static_cast<uint64_t>(counter + first / kDropoutWords), words,
                count);
    for (int64_t c = 0; c < count; ++c) factors[first + c] = words[c] < below ? T(0) : keep;
  }
}

namespace plain {

/// The queries [first, last) of one head.
template <class T>
void attention_queries(const AttentionForward<T>& call, const HeadIndex& head, int64_t first,
                       int64_t last);
/// The backward pass of one head; its dq goes to `dq`.
template <class T>
void attention_backward_head(const AttentionBackward<T>& call, const HeadIndex& head,
                             const HeadMatrix<T>& dq);

}  // namespace plain
}  // namespace loupe::kernels
