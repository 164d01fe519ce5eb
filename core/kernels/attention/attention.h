#pragma once
// Scaled dot product attention, softmax(scale q k^T + mask) v, forward and backward, without the
// square of the scores in memory: tiles of queries x keys, the softmax carried along the keys
// (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al.,
// "FlashAttention", 2022). What causal masking hides is not computed. (tiles.h has a picture.)
//
// With s = scale q k^T + mask, p = softmax(s) over the keys, and z the factors of dropout:
//     out = (p z) v            dv = (p z)^T dout      dp = (dout v^T) z
//     ds = p (dp - delta)      with delta = sum over the keys of p dp = sum of out dout
//     dq = scale ds k          dk = scale ds^T q
// A query that may attend to nothing gives zeros and passes no gradient. Pieces depend on the shape
// alone: the same bits at any thread limit.
#include <loupe/core/kernels/paths.h>

#include <cstdint>
#include <span>

namespace loupe::kernels {

/// A tensor (batch, heads, rows, columns) whose last dimension is dense; the other strides are in
/// elements.
template <class T> struct Heads {
  T* data = nullptr;
  int64_t batch = 0, head = 0, row = 0;
  /// The matrix of one head; null if there is no tensor.
  T* at(int64_t b, int64_t h) const { return data ? data + b * batch + h * head : nullptr; }
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
  double dropout = 0;  // probability that a weight is 0; the others are divided by 1 - dropout
  uint64_t key = 0, counter = 0;  // of the random stream: attention_words() words are reserved
};

/// Random words that dropout draws.
int64_t attention_words(const AttentionShape& s);

/// The factors 0 or 1 / (1 - dropout) of the weights (batch, heads, queries, keys), which the
/// functions below use.
template <class T> void attention_dropout(const AttentionShape& s, T* factors);

/// Whether forward should keep the weights for backward rather than stats: they save backward a
/// fifth of its work where a row of them fits one tile.
bool attention_keeps_weights(const AttentionShape& s);

/// The forward pass. Backward needs stats or weights.
///   stats    the largest score of a query and 1 / the sum of e^(score - it); 0 and 0 if it sees
///            nothing. They are not joined to a logarithm of the sum: that loses the sum where
///            scores are large, as under a mask of -1e30.
///   weights  the softmax before dropout
template <class T> struct AttentionForward {
  AttentionShape shape;
  Heads<const T> q, k, v;
  Heads<T> out;
  T* stats = nullptr;    // (batch, heads, queries, 2), or nullptr
  T* weights = nullptr;  // (batch, heads, queries, keys), or nullptr
};
template <class T> void attention(const AttentionForward<T>& call);

/// dq, dk and dv from dout, and from what the forward pass read and wrote.
template <class T> struct AttentionBackward {
  AttentionShape shape;
  Heads<const T> q, k, v, out, dout;
  const T* stats = nullptr;    // as forward wrote them; nullptr if weights are given
  const T* weights = nullptr;  // the same; nullptr if stats are given
  Heads<T> dq, dk, dv;
};
template <class T> void attention_backward(const AttentionBackward<T>& call);

/// The tables that the two choose from.
template <class T> using AttentionPath = Path<AttentionForward<T>>;
template <class T> using AttentionBackwardPath = Path<AttentionBackward<T>>;
template <class T> std::span<const AttentionPath<T>> attention_paths();
template <class T> std::span<const AttentionBackwardPath<T>> attention_backward_paths();

/// The same, one query after the other with the softmax written out: f64's path,
/// LOUPE_CPU=reference, and the tests' truth. Backward computes the weights again if it is not
/// given them; it does not read stats.
namespace plain {

template <class T> void attention(const AttentionForward<T>& call);
template <class T> void attention_backward(const AttentionBackward<T>& call);

}  // namespace plain
}  // namespace loupe::kernels
