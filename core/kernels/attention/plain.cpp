// Attention by plain loops, a query at a time. Dot products and the sums of the softmax run in
// double; out and the gradients add up in the type of the tensors. A key that a query does not see
// is left out, not multiplied by 0: it may hold an infinity.
#include <loupe/core/kernels/attention/rows.h>
#include <loupe/core/kernels/vmath.h>
#include <loupe/core/memory.h>

namespace loupe::kernels::plain {
namespace {

template <class T> double dot(int64_t n, const T* x, const T* y) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return sum;
}

/// The largest score of a query and 1 / the sum of e^(score - it); 0 and 0 if it sees nothing.
template <class T> struct RowStats { T largest, inverse; };

/// The queries and keys of one head.
template <class T> struct HeadScores {
  const AttentionShape& s;
  HeadIndex head;
  HeadMatrix<const T> q, k;

  /// Scaled and masked scores of query i: `row` (keys).
  RowStats<T> scores(int64_t i, T* row) const {
    T largest = -kInf<T>;
    const int64_t n = seen(s, i);
    for (int64_t j = 0; j < n; ++j) {
      const double score = dot(s.dim, q.at(i), k.at(j)) * s.scale;
      row[j] = masked(s, {head, i, j}, static_cast<T>(score));
      largest = row[j] > largest ? row[j] : largest;
    }
    std::fill(row + n, row + s.keys, -kInf<T>);
    if (largest == -kInf<T>) largest = 0;
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) sum += static_cast<double>(vexp(row[j] - largest));
    return {largest, sum == 0 ? T(0) : static_cast<T>(1 / sum)};
  }
  /// The softmax of query i before dropout.
  RowStats<T> weights(int64_t i, T* row) const {
    const RowStats<T> stats = scores(i, row);
    for (int64_t j = 0; j < s.keys; ++j) row[j] = vexp(row[j] - stats.largest) * stats.inverse;
    return stats;
  }
};

}  // namespace

template <class T>
void attention_queries(const AttentionForward<T>& call, const HeadIndex& head, int64_t first,
                       int64_t last) {
  const AttentionShape& s = call.shape;
  const HeadScores<T> softmax{s, head, {call.q, head}, {call.k, head}};
  const HeadMatrix<const T> v(call.v, head);
  const HeadMatrix<T> out(call.out, head);
  Scratch<T> row(s.keys), factor(s.keys);
  for (int64_t i = first; i < last; ++i) {
    const int64_t query = head.number * s.queries + i;
    const RowStats<T> stats = softmax.weights(i, row.data());
    if (call.stats) {
      call.stats[2 * query] = stats.largest;
      call.stats[2 * query + 1] = stats.inverse;
    }
    if (call.weights) std::copy_n(row.data(), s.keys, call.weights + query * s.keys);
    if (s.dropout > 0) {
      dropout_row(s, {head, i, 0}, s.keys, factor.data());
      for (int64_t j = 0; j < s.keys; ++j) row[j] *= factor[j];
    }
    T* const to = out.at(i);
    std::fill_n(to, s.value_dim, T(0));
    for (int64_t j = 0; j < seen(s, i); ++j) {
      if (!sees(s, {head, i, j})) continue;
      for (int64_t d = 0; d < s.value_dim; ++d) to[d] += row[j] * v.at(j)[d];
    }
  }
}

template <class T>
void attention_backward_head(const AttentionBackward<T>& call, const HeadIndex& head,
                             const HeadMatrix<T>& dq) {
  const AttentionShape& s = call.shape;
  const HeadMatrix<const T> q(call.q, head), k(call.k, head), v(call.v, head);
  const HeadMatrix<const T> out(call.out, head), dout(call.dout, head);
  const HeadMatrix<T> dk(call.dk, head), dv(call.dv, head);
  const HeadScores<T> softmax{s, head, q, k};
  for (int64_t i = 0; i < s.queries; ++i) std::fill_n(dq.at(i), s.dim, T(0));
  for (int64_t j = 0; j < s.keys; ++j) {
    std::fill_n(dk.at(j), s.dim, T(0));
    std::fill_n(dv.at(j), s.value_dim, T(0));
  }

  Scratch<T> p(s.keys), factor(s.keys);
  std::fill_n(factor.data(), s.keys, T(1));
  for (int64_t i = 0; i < s.queries; ++i) {
    const T* const saved = call.weights;
    const int64_t query = head.number * s.queries + i;
    if (saved) std::copy_n(saved + query * s.keys, s.keys, p.data());
    else softmax.weights(i, p.data());
    if (s.dropout > 0) dropout_row(s, {head, i, 0}, s.keys, factor.data());
    const double delta = dot(s.value_dim, out.at(i), dout.at(i));
    for (int64_t j = 0; j < seen(s, i); ++j) {
      if (!sees(s, {head, i, j})) continue;
      const T dropped = p[j] * factor[j];
      for (int64_t d = 0; d < s.value_dim; ++d) dv.at(j)[d] += dropped * dout.at(i)[d];
      const double dp = dot(s.value_dim, dout.at(i), v.at(j)) * static_cast<double>(factor[j]);
      const T ds = static_cast<T>(static_cast<double>(p[j]) * (dp - delta) * s.scale);
      for (int64_t d = 0; d < s.dim; ++d) {
        dq.at(i)[d] += ds * k.at(j)[d];
        dk.at(j)[d] += ds * q.at(i)[d];
      }
    }
  }
}

template <class T> void attention(const AttentionForward<T>& call) {
  for_heads(call.shape, 1, [&](const HeadIndex& head, int64_t) {
    attention_queries(call, head, 0, call.shape.queries);
  });
}

template <class T> void attention_backward(const AttentionBackward<T>& call) {
  for_heads(call.shape, 1, [&](const HeadIndex& head, int64_t) {
    attention_backward_head(call, head, HeadMatrix<T>(call.dq, head));
  });
}

#define LOUPE_INSTANTIATE(T)                                                                \
  template void attention_queries<T>(const AttentionForward<T>&, const HeadIndex&, int64_t, \
                                     int64_t);                                              \
  template void attention_backward_head<T>(const AttentionBackward<T>&, const HeadIndex&,   \
                                           const HeadMatrix<T>&);                           \
  template void attention<T>(const AttentionForward<T>&);                                   \
  template void attention_backward<T>(const AttentionBackward<T>&);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels::plain
