#pragma once
// Scaled dot product attention, softmax(scale q k^T + mask) v, forward and backward, without the
// square of the scores in memory: tiles of queries x keys, the softmax carried along the keys
// (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al.,
// "FlashAttention", 2022). What causal masking hides is not computed.
//
// A query that may attend to nothing gives zeros and passes no gradient. Pieces depend on the shape
// alone: the same bits at any thread limit.
#include <cstdint>

namespace loupe::kernels {

/// A tensor (batch, heads, rows, columns) whose last dimension is dense; the other strides are in
/// elements.
template <class T> struct Heads {
  T* data = nullptr;
  int64_t batch = 0, head = 0, row = 0;
  T* at(int64_t b, int64_t h) const { return data + b * batch + h * head; }
};

/// One value for each (batch, head, query, key); a stride of 0 broadcasts. At most one of the two
/// is set.
struct AttentionMask {
  const bool* keep = nullptr;  // true: may attend
  const void* add = nullptr;   // added to the scaled scores, of the tensors' element type
  int64_t batch = 0, head = 0, query = 0, key = 0;
};

struct AttentionShape {
  int64_t batch = 0, heads = 0, queries = 0, keys = 0;
  int64_t dim = 0, value_dim = 0;  // columns of q and k; of v and the output
  double scale = 1;
  bool causal = false;  // query i sees keys 0 to i
  AttentionMask mask;
  double dropout =
      0;  // probability that a weight is dropped; the others are divided by 1 - dropout
  uint64_t key = 0, counter = 0;  // of the random stream: attention_words() words are reserved
};

/// Random words that dropout draws.
int64_t attention_words(const AttentionShape& s);

/// The factors 0 or 1 / (1 - dropout) of the weights (batch, heads, queries, keys), which the
/// functions below use.
template <class T> void attention_dropout(const AttentionShape& s, T* factors);

/// Writes out and, unless null, stats (batch, heads, queries, 2): the largest score of a query and
/// 1 / the sum of e^(score - it), and weights (batch, heads, queries, keys): the softmax before
/// dropout. Backward needs one of the two; weights save it a fifth of its work where they fit the
/// cache (attention_keeps_weights). A query that sees nothing has a largest score of 0 and a second
/// number of 0. The two are not joined to a logarithm of the sum: that loses the sum where scores
/// are large, as under a mask of -1e30.
template <class T>
void attention(const AttentionShape& s, Heads<const T> q, Heads<const T> k, Heads<const T> v,
               Heads<T> out, T* stats, T* weights);
/// dq, dk and dv from dout, from what the forward pass read and wrote, and from stats or weights
/// (the other null).
template <class T>
void attention_backward(const AttentionShape& s, Heads<const T> q, Heads<const T> k,
                        Heads<const T> v, Heads<const T> out, Heads<const T> dout, const T* stats,
                        const T* weights, Heads<T> dq, Heads<T> dk, Heads<T> dv);
/// Whether forward should keep the weights for backward rather than stats.
bool attention_keeps_weights(const AttentionShape& s);

/// The same, one query after the other with the softmax written out: f64's path, and the tests'
/// truth for f32.
template <class T>
void attention_plain(const AttentionShape& s, Heads<const T> q, Heads<const T> k, Heads<const T> v,
                     Heads<T> out, T* stats, T* weights);
template <class T>
void attention_backward_plain(const AttentionShape& s, Heads<const T> q, Heads<const T> k,
                              Heads<const T> v, Heads<const T> out, Heads<const T> dout,
                              const T* stats, const T* weights, Heads<T> dq, Heads<T> dk,
                              Heads<T> dv);

}  // namespace loupe::kernels
