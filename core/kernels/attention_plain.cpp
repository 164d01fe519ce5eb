// Attention by plain loops, a query at a time: f64, and what the tiles of attention.cpp are held
// against.
#include <loupe/core/kernels/attention_rows.h>
#include <loupe/core/kernels/vmath.h>
#include <loupe/core/memory.h>

namespace loupe::kernels {
namespace {

// Scaled and masked scores of one query, and the log of the sum of their exponentials: +Inf if it
// sees nothing.
template <class T>
T plain_scores(const AttentionShape& s, int64_t b, int64_t h, int64_t i, Heads<const T> q,
               Heads<const T> k, T* row) {
  T top = -kInf<T>, sum = 0;
  const int64_t n = seen(s, i);
  for (int64_t j = 0; j < n; ++j) {
    T dot = 0;
    for (int64_t d = 0; d < s.dim; ++d)
      dot += q.at(b, h)[i * q.row + d] * k.at(b, h)[j * k.row + d];
    row[j] = masked(s, b, h, i, j, dot * static_cast<T>(s.scale));
    top = row[j] > top ? row[j] : top;
  }
  std::fill(row + n, row + s.keys, -kInf<T>);
  if (top == -kInf<T>) top = 0;
  for (int64_t j = 0; j < n; ++j) sum += vexp(row[j] - top);
  return sum == 0 ? kInf<T> : top + vlog(sum);
}

template <class T> void plain_weights(const AttentionShape& s, T* row, T log_sum) {
  for (int64_t j = 0; j < s.keys; ++j) row[j] = vexp(row[j] - log_sum);
}

}  // namespace

template <class T>
void attention_plain(const AttentionShape& s, Heads<const T> q, Heads<const T> k, Heads<const T> v,
                     Heads<T> out, T* lse, T* weights) {
  for_heads(s, 1, [&](int64_t b, int64_t h, int64_t) {
    const int64_t head = b * s.heads + h;
    Scratch<T> row(s.keys), factor(s.keys);
    for (int64_t i = 0; i < s.queries; ++i) {
      const T log_sum = plain_scores(s, b, h, i, q, k, row.data());
      plain_weights(s, row.data(), log_sum);
      if (lse) lse[head * s.queries + i] = log_sum;
      if (weights) std::copy_n(row.data(), s.keys, weights + (head * s.queries + i) * s.keys);
      if (s.dropout > 0) {
        dropout_row(s, head, i, 0, s.keys, factor.data());
        for (int64_t j = 0; j < s.keys; ++j) row[j] *= factor[j];
      }
      T* const o = out.at(b, h) + i * out.row;
      std::fill_n(o, s.value_dim, T(0));
      for (int64_t j = 0; j < seen(s, i); ++j)
        for (int64_t d = 0; d < s.value_dim; ++d) o[d] += row[j] * v.at(b, h)[j * v.row + d];
    }
  });
}

template <class T>
void attention_backward_plain(const AttentionShape& s, Heads<const T> q, Heads<const T> k,
                              Heads<const T> v, Heads<const T> out, Heads<const T> dout,
                              const T* lse, const T* weights, Heads<T> dq, Heads<T> dk,
                              Heads<T> dv) {
  for_heads(s, 1, [&](int64_t b, int64_t h, int64_t) {
    const int64_t head = b * s.heads + h;
    Scratch<T> row(s.keys), factor(s.keys);
    for (int64_t i = 0; i < s.queries; ++i) std::fill_n(dq.at(b, h) + i * dq.row, s.dim, T(0));
    for (int64_t j = 0; j < s.keys; ++j) {
      std::fill_n(dk.at(b, h) + j * dk.row, s.dim, T(0));
      std::fill_n(dv.at(b, h) + j * dv.row, s.value_dim, T(0));
    }
    std::fill_n(factor.data(), s.keys, T(1));
    for (int64_t i = 0; i < s.queries; ++i) {
      const T *qi = q.at(b, h) + i * q.row, *oi = out.at(b, h) + i * out.row,
              *doi = dout.at(b, h) + i * dout.row;
      T* const dqi = dq.at(b, h) + i * dq.row;
      if (weights) {
        std::copy_n(weights + (head * s.queries + i) * s.keys, s.keys, row.data());
      } else {
        plain_scores(s, b, h, i, q, k, row.data());
        plain_weights(s, row.data(), lse[head * s.queries + i]);
      }
      if (s.dropout > 0) dropout_row(s, head, i, 0, s.keys, factor.data());
      T delta = 0;
      for (int64_t d = 0; d < s.value_dim; ++d) delta += oi[d] * doi[d];
      for (int64_t j = 0; j < seen(s, i); ++j) {
        const T *kj = k.at(b, h) + j * k.row, *vj = v.at(b, h) + j * v.row;
        T *const dkj = dk.at(b, h) + j * dk.row, *const dvj = dv.at(b, h) + j * dv.row;
        T dp = 0;
        for (int64_t d = 0; d < s.value_dim; ++d) {
          dp += doi[d] * vj[d];
          dvj[d] += row[j] * factor[j] * doi[d];
        }
        const T ds = row[j] * (dp * factor[j] - delta) * static_cast<T>(s.scale);
        for (int64_t d = 0; d < s.dim; ++d) {
          dqi[d] += ds * kj[d];
          dkj[d] += ds * qi[d];
        }
      }
    }
  });
}

#define LOUPE_INSTANTIATE(T)                                                                       \
  template void attention_plain<T>(const AttentionShape&, Heads<const T>, Heads<const T>,          \
                                   Heads<const T>, Heads<T>, T*, T*);                              \
  template void attention_backward_plain<T>(const AttentionShape&, Heads<const T>, Heads<const T>, \
                                            Heads<const T>, Heads<const T>, Heads<const T>,        \
                                            const T*, const T*, Heads<T>, Heads<T>, Heads<T>);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
