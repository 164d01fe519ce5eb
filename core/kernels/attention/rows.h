#pragma once
// What the plain loops and the tiles of attention share: which keys a query sees, masks, dropout's
// factors.
#include <loupe/core/kernels/attention/attention.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/random.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <limits>

namespace loupe::kernels {

template <class T> inline constexpr T kInf = std::numeric_limits<T>::infinity();

/// How many keys query i sees.
inline int64_t seen(const AttentionShape& s, int64_t i) {
  return s.causal ? std::min(i + 1, s.keys) : s.keys;
}

/// The factors that dropout multiplies the weights of query i with, for the keys [j, j + n): 0 or 1
/// / (1 - p). A query's words start with a block of four, and so does j.
template <class T>
void dropout_row(const AttentionShape& s, int64_t head, int64_t i, int64_t j, int64_t n,
                 T* factors) {
  const int64_t block = ((head * s.queries + i) * round_up(s.keys, 4) + j) / 4;
  const uint32_t below = static_cast<uint32_t>(std::min(s.dropout * 0x1p32, 0x1p32 - 1));
  const T keep = s.dropout < 1 ? static_cast<T>(1 / (1 - s.dropout)) : T(0);
  constexpr int64_t kDrawn = 128;
  uint32_t words[kDrawn];
  for (int64_t at = 0; at < n; at += kDrawn) {
    const int64_t count = std::min(kDrawn, n - at);
    philox_fill(s.key, s.counter + static_cast<uint64_t>(block + at / 4), words, count);
    for (int64_t c = 0; c < count; ++c) factors[at + c] = words[c] < below ? T(0) : keep;
  }
}

/// Whether query i may attend to key j.
inline bool sees(const AttentionShape& s, int64_t b, int64_t h, int64_t i, int64_t j) {
  if (s.causal && j > i) return false;
  const AttentionMask& m = s.mask;
  return !m.keep || m.keep[b * m.batch + h * m.head + i * m.query + j * m.key];
}

template <class T>
T masked(const AttentionShape& s, int64_t b, int64_t h, int64_t i, int64_t j, T score) {
  const AttentionMask& m = s.mask;
  const int64_t at = b * m.batch + h * m.head + i * m.query + j * m.key;
  if (m.keep && !m.keep[at]) return -kInf<T>;
  return m.add ? score + static_cast<const T*>(m.add)[at] : score;
}

/// Calls run(b, h, group) for each head, cut into `groups` pieces.
template <class F> void for_heads(const AttentionShape& s, int64_t groups, const F& run) {
  parallel_pieces(s.batch * s.heads * groups, [&](int64_t piece) {
    const int64_t head = piece / groups;
    run(head / s.heads, head % s.heads, piece % groups);
  });
}

/// attention_plain for the queries [first, last) of one head.
template <class T>
void plain_queries(const AttentionShape& s, int64_t b, int64_t h, int64_t first, int64_t last,
                   Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<T> out, T* stats,
                   T* weights);
/// attention_backward_plain of one head; `dq` points at its first query, `dq_row` apart. Without
/// weights it computes them again, of scores that are summed in double.
template <class T>
void plain_backward_head(const AttentionShape& s, int64_t b, int64_t h, Heads<const T> q,
                         Heads<const T> k, Heads<const T> v, Heads<const T> out,
                         Heads<const T> dout, const T* weights, T* dq, int64_t dq_row, Heads<T> dk,
                         Heads<T> dv);

}  // namespace loupe::kernels
