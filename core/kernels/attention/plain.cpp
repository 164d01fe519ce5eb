// Attention by plain loops, a query at a time: f64, and what the tiles of attention.cpp are held
// against.
#include <loupe/core/kernels/attention/rows.h>
#include <loupe/core/kernels/vmath.h>
#include <loupe/core/memory.h>

namespace loupe::kernels {
namespace {

// Dot products and sums run in double: these loops are what the tiles are held against. A key that
// a query does not see is left out, not multiplied by 0: it may hold an infinity.

template <class T> double dot(int64_t n, const T* x, const T* y) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return sum;
}

// The largest score of a query and 1 / the sum of e^(score - it); 0 and 0 if it sees nothing.
template <class T> struct RowStats { T largest, inverse; };

// Scaled and masked scores of one query.
template <class T>
RowStats<T> plain_scores(const AttentionShape& s, int64_t b, int64_t h, int64_t i, Heads<const T> q,
                         Heads<const T> k, T* row) {
  T top = -kInf<T>;
  const int64_t n = seen(s, i);
  for (int64_t j = 0; j < n; ++j) {
    const double score = dot(s.dim, q.at(b, h) + i * q.row, k.at(b, h) + j * k.row) * s.scale;
    row[j] = masked(s, b, h, i, j, static_cast<T>(score));
    top = row[j] > top ? row[j] : top;
  }
  std::fill(row + n, row + s.keys, -kInf<T>);
  if (top == -kInf<T>) top = 0;
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) sum += static_cast<double>(vexp(row[j] - top));
  return {top, sum == 0 ? T(0) : static_cast<T>(1 / sum)};
}

template <class T> void plain_weights(const AttentionShape& s, T* row, RowStats<T> r) {
  for (int64_t j = 0; j < s.keys; ++j) row[j] = vexp(row[j] - r.largest) * r.inverse;
}

}  // namespace

template <class T>
void plain_queries(const AttentionShape& s, int64_t b, int64_t h, int64_t first, int64_t last,
                   Heads<const T> q, Heads<const T> k, Heads<const T> v, Heads<T> out, T* stats,
                   T* weights) {
  const int64_t head = b * s.heads + h;
  Scratch<T> row(s.keys), factor(s.keys);
  for (int64_t i = first; i < last; ++i) {
    const RowStats<T> r = plain_scores(s, b, h, i, q, k, row.data());
    plain_weights(s, row.data(), r);
    if (stats) {
      T* const own = stats + 2 * (head * s.queries + i);
      own[0] = r.largest;
      own[1] = r.inverse;
    }
    if (weights) std::copy_n(row.data(), s.keys, weights + (head * s.queries + i) * s.keys);
    if (s.dropout > 0) {
      dropout_row(s, head, i, 0, s.keys, factor.data());
      for (int64_t j = 0; j < s.keys; ++j) row[j] *= factor[j];
    }
    T* const o = out.at(b, h) + i * out.row;
    std::fill_n(o, s.value_dim, T(0));
    for (int64_t j = 0; j < seen(s, i); ++j) {
      if (!sees(s, b, h, i, j)) continue;
      for (int64_t d = 0; d < s.value_dim; ++d) o[d] += row[j] * v.at(b, h)[j * v.row + d];
    }
  }
}

template <class T>
void plain_backward_head(const AttentionShape& s, int64_t b, int64_t h, Heads<const T> q,
                         Heads<const T> k, Heads<const T> v, Heads<const T> out,
                         Heads<const T> dout, const T* weights, T* dq, int64_t dq_row, Heads<T> dk,
                         Heads<T> dv) {
  const int64_t head = b * s.heads + h;
  Scratch<T> row(s.keys), factor(s.keys);
  for (int64_t i = 0; i < s.queries; ++i) std::fill_n(dq + i * dq_row, s.dim, T(0));
  for (int64_t j = 0; j < s.keys; ++j) {
    std::fill_n(dk.at(b, h) + j * dk.row, s.dim, T(0));
    std::fill_n(dv.at(b, h) + j * dv.row, s.value_dim, T(0));
  }
  std::fill_n(factor.data(), s.keys, T(1));
  for (int64_t i = 0; i < s.queries; ++i) {
    const T* const qi = q.at(b, h) + i * q.row;
    const T* const doi = dout.at(b, h) + i * dout.row;
    T* const dqi = dq + i * dq_row;
    if (weights) {
      std::copy_n(weights + (head * s.queries + i) * s.keys, s.keys, row.data());
    } else {
      plain_weights(s, row.data(), plain_scores(s, b, h, i, q, k, row.data()));
    }
    if (s.dropout > 0) dropout_row(s, head, i, 0, s.keys, factor.data());
    const double delta = dot(s.value_dim, out.at(b, h) + i * out.row, doi);
    for (int64_t j = 0; j < seen(s, i); ++j) {
      if (!sees(s, b, h, i, j)) continue;
      const T* const kj = k.at(b, h) + j * k.row;
      T* const dkj = dk.at(b, h) + j * dk.row;
      T* const dvj = dv.at(b, h) + j * dv.row;
      const double dp = dot(s.value_dim, doi, v.at(b, h) + j * v.row);
      const T dropped = row[j] * factor[j];
      for (int64_t d = 0; d < s.value_dim; ++d) dvj[d] += dropped * doi[d];
      const T ds = static_cast<T>(static_cast<double>(row[j]) *
                                  (dp * static_cast<double>(factor[j]) - delta) * s.scale);
      for (int64_t d = 0; d < s.dim; ++d) {
        dqi[d] += ds * kj[d];
        dkj[d] += ds * qi[d];
      }
    }
  }
}

template <class T>
void attention_plain(const AttentionShape& s, Heads<const T> q, Heads<const T> k, Heads<const T> v,
                     Heads<T> out, T* stats, T* weights) {
  for_heads(s, 1, [&](int64_t b, int64_t h, int64_t) {
    plain_queries(s, b, h, 0, s.queries, q, k, v, out, stats, weights);
  });
}

template <class T>
void attention_backward_plain(const AttentionShape& s, Heads<const T> q, Heads<const T> k,
                              Heads<const T> v, Heads<const T> out, Heads<const T> dout,
                              const T* /*stats*/, const T* weights, Heads<T> dq, Heads<T> dk,
                              Heads<T> dv) {
  for_heads(s, 1, [&](int64_t b, int64_t h, int64_t) {
    plain_backward_head(s, b, h, q, k, v, out, dout, weights, dq.at(b, h), dq.row, dk, dv);
  });
}

#define LOUPE_INSTANTIATE(T)                                                                       \
  template void plain_queries<T>(const AttentionShape&, int64_t, int64_t, int64_t, int64_t,        \
                                 Heads<const T>, Heads<const T>, Heads<const T>, Heads<T>, T*,     \
                                 T*);                                                              \
  template void plain_backward_head<T>(const AttentionShape&, int64_t, int64_t, Heads<const T>,    \
                                       Heads<const T>, Heads<const T>, Heads<const T>,             \
                                       Heads<const T>, const T*, T*, int64_t, Heads<T>, Heads<T>); \
  template void attention_plain<T>(const AttentionShape&, Heads<const T>, Heads<const T>,          \
                                   Heads<const T>, Heads<T>, T*, T*);                              \
  template void attention_backward_plain<T>(const AttentionShape&, Heads<const T>, Heads<const T>, \
                                            Heads<const T>, Heads<const T>, Heads<const T>,        \
                                            const T*, const T*, Heads<T>, Heads<T>, Heads<T>);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
