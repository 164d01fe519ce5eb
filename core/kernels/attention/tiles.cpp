#include <loupe/core/cpu.h>
#include <loupe/core/kernel_log.h>
#include <loupe/core/kernels/attention/rows.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/kernels/vmath.h>
#include <loupe/core/memory.h>

#include <algorithm>
#include <type_traits>
#include <utility>

namespace loupe::kernels {
namespace {

constexpr int64_t kLanes = 16;  // sums and maxima run in this many lanes
constexpr int64_t kRows = 16;   // queries that go through the softmax together
constexpr int64_t kQueryBlock =
    64;  // queries of a tile in backward: the depth of the products for dk and dv
constexpr int64_t kKeyBlock = 128;  // keys of a tile
constexpr int64_t kLd =
    kKeyBlock +
    kLanes;  // of a tile; no power of two, so that its rows fall into different cache sets
constexpr int64_t kPieces = 8;  // heads are cut when there are fewer

bool has_mask(const AttentionShape& s) { return s.mask.keep || s.mask.add; }

// Tiles multiply by the weight 0 of a key that a query does not see. That is right only if what it
// meets is finite and so are the products: operands up to 1e15.
constexpr float kFar = 1e15f;

bool leaves_keys_out(const AttentionShape& s) { return s.causal || s.mask.keep; }

// Whether a number of x lies beyond kFar or is a NaN.
bool any_far(int64_t rows, int64_t n, const float* x, int64_t ld) {
  return micro().largest(rows, n, x, ld) > __builtin_bit_cast(int32_t, kFar);
}

// A right-hand side of a product: a matrix as it is stored, or a packed copy.
struct Right {
  const float* data;
  int64_t term, panel;
  Right row(int64_t p) const { return {data + p * term, term, panel}; }
  Right column(int64_t j) const {
    return {data + j / micro().panel * panel, term, panel};
  }  // j: a panel's first
};

int64_t packed_size(int64_t k, int64_t n) { return k * round_up(n, micro().panel); }

Right packed(bool trans, int64_t k, int64_t n, const float* b, int64_t ldb, float* to) {
  const int64_t panel = micro().panel;
  micro().pack(trans, k, n, b, ldb, 0, (n + panel - 1) / panel, to);
  return {to, panel, k * panel};
}

// Products read whole vectors of a row: a width that is no multiple of the lanes needs a copy.
Right as_stored(int64_t rows, int64_t width, const float* b, int64_t ldb, float* copy) {
  if (width % micro().lanes == 0) return {b, ldb, micro().panel};
  return packed(false, rows, width, b, ldb, copy);
}

// C (+)= A B; A is m x k, its elements a_row and a_term apart.
void product(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_term,
             Right b, float* c, int64_t c_row, bool accumulate) {
  Product p;
  p.m = m, p.n = n, p.k = k;
  p.a = a, p.a_row = a_row, p.a_term = a_term;
  p.b = b.data, p.b_term = b.term, p.b_panel = b.panel;
  p.c = c, p.c_row = c_row;
  p.accumulate = accumulate;
  micro().product(p);
}

// A tile's part that the softmax works on: `rows` queries from i, `n` keys from j of head (b, h).
struct Part {
  int64_t b, h, i, j, rows, n;
};

// Scales the scores, applies the mask, and fills what a query does not see with -Inf, up to a
// multiple of kLanes.
void scale_and_mask(const AttentionShape& s, const Part& t, float* scores) {
  const float scale = static_cast<float>(s.scale);
  const int64_t width = round_up(t.n, kLanes);
  simd([=] {
    for (int64_t r = 0; r < t.rows; ++r) {
      float* row = scores + r * kLd;
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) row[c] *= scale;
    }
  });
  for (int64_t r = 0; r < t.rows; ++r) {
    float* row = scores + r * kLd;
    const int64_t valid = std::clamp<int64_t>(seen(s, t.i + r) - t.j, 0, t.n);
    if (has_mask(s))
      for (int64_t c = 0; c < valid; ++c) row[c] = masked(s, t.b, t.h, t.i + r, t.j + c, row[c]);
    for (int64_t c = valid; c < width; ++c) row[c] = -kInf<float>;
  }
}

// e^(score - maximum) in place. Carries on from the maxima and sums of the tiles before and returns
// in `factor` what their sums, and the output so far, are to be multiplied with.
void online_softmax(int64_t rows, int64_t n, float* scores, float* maximum, float* sum,
                    float* factor) {
  const int64_t width = round_up(n, kLanes);
  simd([=](auto level) {
    for (int64_t r = 0; r < rows; ++r) {
      float* row = scores + r * kLd;
      float lane[kLanes];
#pragma omp simd
      for (int64_t l = 0; l < kLanes; ++l) lane[l] = row[l];
      for (int64_t c = kLanes; c < width; c += kLanes) {
#pragma omp simd
        for (int64_t l = 0; l < kLanes; ++l) lane[l] = row[c + l] > lane[l] ? row[c + l] : lane[l];
      }
      float top = maximum[r];
      for (int64_t l = 0; l < kLanes; ++l) top = lane[l] > top ? lane[l] : top;
      const float shift = top == -kInf<float> ? 0.0f : top;  // nothing seen yet: e^(-Inf - 0) is 0
#pragma omp simd
      for (int64_t l = 0; l < kLanes; ++l) lane[l] = 0;
      for (int64_t c = 0; c < width; c += kLanes) {
#pragma omp simd
        for (int64_t l = 0; l < kLanes; ++l) {
          const float e = vexp_nonpositive(row[c + l] - shift, level);
          row[c + l] = e;
          lane[l] += e;
        }
      }
      float total = 0;
      for (int64_t l = 0; l < kLanes; ++l) total += lane[l];
      factor[r] = vexp_nonpositive(maximum[r] - shift, level);
      sum[r] = level.multiply_add(sum[r], factor[r], total);
      maximum[r] = top;
    }
  });
}

// Rows of x, each times a number of its own.
void scale_rows(int64_t rows, int64_t n, float* x, int64_t ld, const float* by) {
  simd([=] {
    for (int64_t r = 0; r < rows; ++r) {
      float* row = x + r * ld;
      const float f = by[r];
#pragma omp simd
      for (int64_t c = 0; c < n; ++c) row[c] *= f;
    }
  });
}

void zero_rows(int64_t rows, int64_t n, float* x, int64_t ld) {
  for (int64_t r = 0; r < rows; ++r) std::fill_n(x + r * ld, n, 0.0f);
}

int64_t groups_of(const AttentionShape& s, int64_t blocks) {
  const int64_t heads = std::max<int64_t>(s.batch * s.heads, 1);
  return std::clamp<int64_t>((kPieces + heads - 1) / heads, 1, std::max<int64_t>(blocks, 1));
}

// The queries [first, last) of one head.
void forward_piece(const AttentionShape& s, int64_t b, int64_t h, int64_t first, int64_t last,
                   Heads<const float> q, Heads<const float> k, Heads<const float> v,
                   Heads<float> out, float* stats, float* weights) {
  if (first >= last) return;
  const int64_t keys = seen(s, last - 1);
  if (leaves_keys_out(s) && any_far(keys, s.value_dim, v.at(b, h), v.row))
    return plain_queries(s, b, h, first, last, q, k, v, out, stats, weights);
  const int64_t head = b * s.heads + h;
  const int64_t k_size = packed_size(s.dim, keys), v_size = packed_size(keys, s.value_dim);
  Scratch<float> scratch(k_size + v_size + 2 * kRows * kLd);
  float* const scores = scratch + k_size + v_size;
  float* const dropped = scores + kRows * kLd;
  const Right kt = packed(true, s.dim, keys, k.at(b, h), k.row, scratch);
  const Right vr = as_stored(keys, s.value_dim, v.at(b, h), v.row, scratch + k_size);
  for (int64_t i = first; i < last; i += kRows) {
    const int64_t rows = std::min(kRows, last - i), limit = seen(s, i + rows - 1);
    float* const o = out.at(b, h) + i * out.row;
    float maximum[kRows], sum[kRows], factor[kRows];
    std::fill_n(maximum, kRows, -kInf<float>);
    std::fill_n(sum, kRows, 0.0f);
    if (limit == 0) zero_rows(rows, s.value_dim, o, out.row);
    for (int64_t j = 0; j < limit; j += kKeyBlock) {
      const Part part{b, h, i, j, rows, std::min(kKeyBlock, limit - j)};
      product(rows, part.n, s.dim, q.at(b, h) + i * q.row, q.row, 1, kt.column(j), scores, kLd,
              false);
      scale_and_mask(s, part, scores);
      online_softmax(rows, part.n, scores, maximum, sum, factor);
      if (j > 0) scale_rows(rows, s.value_dim, o, out.row, factor);
      const float* p = scores;
      if (s.dropout > 0) {
        for (int64_t r = 0; r < rows; ++r) {
          dropout_row(s, head, i + r, j, part.n, dropped + r * kLd);
          for (int64_t c = 0; c < part.n; ++c) dropped[r * kLd + c] *= scores[r * kLd + c];
        }
        p = dropped;
      }
      product(rows, s.value_dim, part.n, p, kLd, 1, vr.row(j), o, out.row, j > 0);
    }
    float inverse[kRows];
    for (int64_t r = 0; r < rows; ++r) inverse[r] = sum[r] == 0 ? 0.0f : 1 / sum[r];
    scale_rows(rows, s.value_dim, o, out.row, inverse);
    if (stats)
      for (int64_t r = 0; r < rows; ++r) {
        float* const own = stats + 2 * (head * s.queries + i + r);
        own[0] = sum[r] == 0 ? 0 : maximum[r];
        own[1] = inverse[r];
      }
    if (weights)
      for (int64_t r = 0; r < rows; ++r) {
        float* const row = weights + (head * s.queries + i + r) * s.keys;
        for (int64_t c = 0; c < limit; ++c) row[c] = scores[r * kLd + c] * inverse[r];
        std::fill(row + limit, row + s.keys, 0.0f);
      }
  }
}

// scores := e^(scaled and masked score - largest) / sum: the weights again.
void weights_again(int64_t rows, int64_t n, float* scores, const float* stats) {
  simd([=](auto level) {
    for (int64_t r = 0; r < rows; ++r) {
      float* row = scores + r * kLd;
      const float shift = stats[2 * r], by = stats[2 * r + 1];
#pragma omp simd
      for (int64_t c = 0; c < n; ++c) row[c] = vexp_nonpositive(row[c] - shift, level) * by;
    }
  });
}

// ds := p (ds - delta) scale, in place.
void score_gradient(int64_t rows, int64_t n, const float* p, int64_t ldp, float* ds,
                    const float* delta, float scale) {
  simd([=] {
    for (int64_t r = 0; r < rows; ++r) {
      const float* pr = p + r * ldp;
      float* row = ds + r * kLd;
      const float d = delta[r];
#pragma omp simd
      for (int64_t c = 0; c < n; ++c) row[c] = pr[c] * ((row[c] - d) * scale);
    }
  });
}

// delta[i] = sum over the columns of out * dout, which is the sum over the keys of weight * its
// gradient.
void row_dots(int64_t rows, int64_t n, const float* x, int64_t ldx, const float* y, int64_t ldy,
              float* delta) {
  simd([=](auto level) {
    for (int64_t r = 0; r < rows; ++r) {
      const float *a = x + r * ldx, *b = y + r * ldy;
      float lane[kLanes] = {};
      int64_t c = 0;
      for (; c + kLanes <= n; c += kLanes) {
#pragma omp simd
        for (int64_t l = 0; l < kLanes; ++l)
          lane[l] = level.multiply_add(a[c + l], b[c + l], lane[l]);
      }
      float total = 0;
      for (; c < n; ++c) total = level.multiply_add(a[c], b[c], total);
      for (int64_t l = 0; l < kLanes; ++l) total += lane[l];
      delta[r] = total;
    }
  });
}

// The key blocks group, group + groups, ... of one head. dq receives their share: `dq_row` elements
// a query.
void backward_piece(const AttentionShape& s, int64_t b, int64_t h, int64_t group, int64_t groups,
                    Heads<const float> q, Heads<const float> k, Heads<const float> v,
                    Heads<const float> out, Heads<const float> dout, const float* stats,
                    const float* weights, float* dq, int64_t dq_row, Heads<float> dk,
                    Heads<float> dv) {
  const int64_t head = b * s.heads + h, tile = kQueryBlock * kLd;
  const int64_t kt_size = packed_size(s.dim, kKeyBlock),
                vt_size = packed_size(s.value_dim, kKeyBlock);
  const int64_t k_size = packed_size(kKeyBlock, s.dim), q_size = packed_size(s.queries, s.dim);
  const int64_t o_size = packed_size(s.queries, s.value_dim);
  Scratch<float> scratch(kt_size + vt_size + k_size + q_size + o_size + 3 * tile + s.queries);
  float* at = scratch;
  const auto take = [&](int64_t n) { return std::exchange(at, at + n); };
  float *const kt_copy = take(kt_size), *const vt_copy = take(vt_size),
               *const k_copy = take(k_size);
  float *const q_copy = take(q_size), *const o_copy = take(o_size);
  float *const scores = take(tile), *const ds = take(tile), *const dropped = take(tile),
               *const delta = take(s.queries);

  const float *qh = q.at(b, h), *kh = k.at(b, h), *vh = v.at(b, h), *doh = dout.at(b, h);
  row_dots(s.queries, s.value_dim, out.at(b, h), out.row, doh, dout.row, delta);
  if (leaves_keys_out(s) &&
      (any_far(s.queries, s.dim, qh, q.row) || any_far(s.keys, s.dim, kh, k.row) ||
       any_far(s.keys, s.value_dim, vh, v.row) || any_far(s.queries, s.value_dim, doh, dout.row) ||
       any_far(1, s.queries, delta, s.queries))) {
    if (group > 0) return zero_rows(s.queries, s.dim, dq, dq_row);
    return plain_backward_head(s, b, h, q, k, v, out, dout, weights, dq, dq_row, dk, dv);
  }
  const Right qr = as_stored(s.queries, s.dim, qh, q.row, q_copy);
  const Right dor = as_stored(s.queries, s.value_dim, doh, dout.row, o_copy);
  if (group > 0 || s.keys == 0) zero_rows(s.queries, s.dim, dq, dq_row);

  for (int64_t j = group * kKeyBlock; j < s.keys; j += groups * kKeyBlock) {
    const int64_t n = std::min(kKeyBlock, s.keys - j);
    float *const dkj = dk.at(b, h) + j * dk.row, *const dvj = dv.at(b, h) + j * dv.row;
    const Right kt = packed(true, s.dim, n, kh + j * k.row, k.row, kt_copy);
    const Right vt = packed(true, s.value_dim, n, vh + j * v.row, v.row, vt_copy);
    const Right kr = as_stored(n, s.dim, kh + j * k.row, k.row, k_copy);
    const int64_t start =
        s.causal ? j / kQueryBlock * kQueryBlock : 0;  // queries before see none of these keys
    bool any = false;                                  // some query block has written dk and dv
    for (int64_t i = start; i < s.queries; i += kQueryBlock) {
      const int64_t queries = std::min(kQueryBlock, s.queries - i);
      const float* p = weights ? weights + (head * s.queries + i) * s.keys + j : scores;
      const int64_t ldp = weights ? s.keys : kLd;
      for (int64_t r = 0; r < queries; r += kRows) {
        const int64_t rows = std::min(kRows, queries - r);
        const Part part{b, h, i + r, j, rows, std::min(n, seen(s, i + r + kRows - 1) - j)};
        float *const sr = scores + r * kLd, *const dsr = ds + r * kLd;
        if (!weights) {
          product(rows, part.n, s.dim, qh + part.i * q.row, q.row, 1, kt, sr, kLd, false);
          scale_and_mask(s, part, sr);
          weights_again(rows, part.n, sr, stats + 2 * (head * s.queries + part.i));
        }
        product(rows, part.n, s.value_dim, doh + part.i * dout.row, dout.row, 1, vt, dsr, kLd,
                false);
        if (s.dropout > 0)
          for (int64_t x = 0; x < rows; ++x) {
            float* const factor = dropped + (r + x) * kLd;
            dropout_row(s, head, part.i + x, j, part.n, factor);
            for (int64_t c = 0; c < part.n; ++c) {
              dsr[x * kLd + c] *= factor[c];
              factor[c] *= p[(r + x) * ldp + c];
            }
          }
        score_gradient(rows, part.n, p + r * ldp, ldp, dsr, delta + part.i,
                       static_cast<float>(s.scale));
        product(rows, s.dim, part.n, dsr, kLd, 1, kr, dq + part.i * dq_row, dq_row,
                group > 0 || j > 0);
      }
      // dk and dv: the tile transposed. On the diagonal a few keys at a time, from the first query
      // that sees them.
      const float* pd = s.dropout > 0 ? dropped : p;
      const int64_t ldd = s.dropout > 0 ? kLd : ldp;
      const bool diagonal = s.causal && i < j + n;
      for (int64_t c = 0, step = diagonal ? kRows : n; c < n; c += step) {
        const int64_t columns = std::min(step, n - c),
                      from = diagonal ? std::max<int64_t>((j + c - i) / kRows * kRows, 0) : 0;
        if (from >= queries) {
          if (!any) {
            zero_rows(columns, s.value_dim, dvj + c * dv.row, dv.row);
            zero_rows(columns, s.dim, dkj + c * dk.row, dk.row);
          }
          continue;
        }
        product(columns, s.value_dim, queries - from, pd + from * ldd + c, 1, ldd,
                dor.row(i + from), dvj + c * dv.row, dv.row, any);
        product(columns, s.dim, queries - from, ds + from * kLd + c, 1, kLd, qr.row(i + from),
                dkj + c * dk.row, dk.row, any);
      }
      any = true;
    }
    if (!any) {
      zero_rows(n, s.value_dim, dvj, dv.row);
      zero_rows(n, s.dim, dkj, dk.row);
    }
  }
}

}  // namespace

int64_t attention_words(const AttentionShape& s) {
  return s.dropout > 0 ? s.batch * s.heads * s.queries * round_up(s.keys, 4) : 0;
}

template <class T> void attention_dropout(const AttentionShape& s, T* factors) {
  for_heads(s, 1, [&](int64_t b, int64_t h, int64_t) {
    for (int64_t i = 0; i < s.queries; ++i) {
      const int64_t head = b * s.heads + h;
      dropout_row(s, head, i, 0, s.keys, factors + (head * s.queries + i) * s.keys);
    }
  });
}

bool attention_keeps_weights(const AttentionShape& s) { return s.keys <= kKeyBlock; }

template <class T>
void attention(const AttentionShape& s, Heads<const T> q, Heads<const T> k, Heads<const T> v,
               Heads<T> out, T* stats, T* weights) {
  if constexpr (std::is_same_v<T, float>) {
    if (!plain_kernels() && (!weights || s.keys <= kKeyBlock)) {
      log_kernel("flash");
      const int64_t blocks = (s.queries + kQueryBlock - 1) / kQueryBlock,
                    groups = groups_of(s, blocks);
      for_heads(s, groups, [&](int64_t b, int64_t h, int64_t g) {
        const auto bound = [&](int64_t x) {
          return std::min(blocks * x / groups * kQueryBlock, s.queries);
        };
        forward_piece(s, b, h, bound(g), bound(g + 1), q, k, v, out, stats, weights);
      });
      return;
    }
  }
  log_kernel("plain");
  attention_plain(s, q, k, v, out, stats, weights);
}

template <class T>
void attention_backward(const AttentionShape& s, Heads<const T> q, Heads<const T> k,
                        Heads<const T> v, Heads<const T> out, Heads<const T> dout, const T* stats,
                        const T* weights, Heads<T> dq, Heads<T> dk, Heads<T> dv) {
  log_kernel(std::is_same_v<T, float> && !plain_kernels() ? "flash" : "plain");
  if constexpr (std::is_same_v<T, float>) {
    if (plain_kernels())
      return attention_backward_plain(s, q, k, v, out, dout, stats, weights, dq, dk, dv);
    // With few heads the key blocks are shared out too; each group but the first has a dq of its
    // own, added in order.
    const int64_t groups = groups_of(s, (s.keys + kKeyBlock - 1) / kKeyBlock),
                  size = s.queries * s.dim;
    Scratch<float> partial(s.batch * s.heads * (groups - 1) * size);
    for_heads(s, groups, [&](int64_t b, int64_t h, int64_t g) {
      float* const own = partial + ((b * s.heads + h) * (groups - 1) + g - 1) * size;
      backward_piece(s, b, h, g, groups, q, k, v, out, dout, stats, weights,
                     g == 0 ? dq.at(b, h) : own, g == 0 ? dq.row : s.dim, dk, dv);
    });
    if (groups > 1)
      parallel_ranges(s.batch * s.heads * s.queries, 64, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t head = row / s.queries, i = row % s.queries;
          float* const to = dq.at(head / s.heads, head % s.heads) + i * dq.row;
          for (int64_t g = 0; g + 1 < groups; ++g) {
            const float* from = partial + (head * (groups - 1) + g) * size + i * s.dim;
            for (int64_t c = 0; c < s.dim; ++c) to[c] += from[c];
          }
        }
      });
  } else {
    attention_backward_plain(s, q, k, v, out, dout, stats, weights, dq, dk, dv);
  }
}

#define LOUPE_INSTANTIATE(T)                                                                    \
  template void attention_dropout<T>(const AttentionShape&, T*);                                \
  template void attention<T>(const AttentionShape&, Heads<const T>, Heads<const T>,             \
                             Heads<const T>, Heads<T>, T*, T*);                                 \
  template void attention_backward<T>(const AttentionShape&, Heads<const T>, Heads<const T>,    \
                                      Heads<const T>, Heads<const T>, Heads<const T>, const T*, \
                                      const T*, Heads<T>, Heads<T>, Heads<T>);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
