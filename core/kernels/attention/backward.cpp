// The backward pass by tiles.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/attention/tiles.h>
#include <loupe/core/kernels/vmath.h>
#include <loupe/core/memory.h>

#include <utility>

namespace loupe::kernels {
namespace {

/// scores = e^(scaled and masked score - largest) / sum: the weights again.
void weights_again(int64_t rows, int64_t n, float* scores, const float* stats) {
  simd([=](auto level) {
    for (int64_t r = 0; r < rows; ++r) {
      float* row = scores + r * kTileStride;
      const float shift = stats[2 * r], by = stats[2 * r + 1];
#pragma omp simd
      for (int64_t c = 0; c < n; ++c) row[c] = vexp_nonpositive(row[c] - shift, level) * by;
    }
  });
}

/// ds = p (ds - delta) scale, in place.
void score_gradient(const TilePart& part, const HeadMatrix<const float>& p, float* ds,
                    const float* delta, float scale) {
  simd([=, rows = part.rows, n = part.n] {
    for (int64_t r = 0; r < rows; ++r) {
      const float* weight = p.at(r);
      float* row = ds + r * kTileStride;
      const float d = delta[r];
#pragma omp simd
      for (int64_t c = 0; c < n; ++c) row[c] = weight[c] * ((row[c] - d) * scale);
    }
  });
}

/// delta[i] = sum over the columns of x y.
void row_dots(int64_t rows, int64_t n, const HeadMatrix<const float>& x,
              const HeadMatrix<const float>& y, float* delta) {
  simd([=](auto level) {
    for (int64_t r = 0; r < rows; ++r) {
      const float *a = x.at(r), *b = y.at(r);
      float lane[kVector] = {};
      int64_t c = 0;
      for (; c + kVector <= n; c += kVector) {
#pragma omp simd
        for (int64_t l = 0; l < kVector; ++l)
          lane[l] = level.multiply_add(a[c + l], b[c + l], lane[l]);
      }
      float total = 0;
      for (; c < n; ++c) total = level.multiply_add(a[c], b[c], total);
      for (int64_t l = 0; l < kVector; ++l) total += lane[l];
      delta[r] = total;
    }
  });
}

/// Some keys of one head, whose shares of dq are added to a matrix of its own.
class BackwardPiece {
 public:
  BackwardPiece(const AttentionBackward<float>& call, const HeadIndex& head,
                const HeadMatrix<float>& dq)
      : call_(call),
        s_(call.shape),
        head_(head),
        q_(call.q, head),
        k_(call.k, head),
        v_(call.v, head),
        out_(call.out, head),
        dout_(call.dout, head),
        dq_(dq),
        dk_(call.dk, head),
        dv_(call.dv, head),
        room_(s_) {
    row_dots(s_.queries, s_.value_dim, out_, dout_, room_.delta);
  }

  /// Whether a weight of 0 could meet a number that makes the product no 0.
  bool far() const {
    return leaves_keys_out(s_) &&
           (any_far(s_.queries, s_.dim, q_) || any_far(s_.keys, s_.dim, k_) ||
            any_far(s_.keys, s_.value_dim, v_) || any_far(s_.queries, s_.value_dim, dout_) ||
            any_far(1, s_.queries, {room_.delta, s_.queries}));
  }

  /// The key blocks share, share + shares, ... The first share writes to dq, the others start from
  /// zeros.
  void run(int64_t share, int64_t shares) {
    q_rows_ = as_stored(s_.queries, s_.dim, q_, room_.q);
    dout_rows_ = as_stored(s_.queries, s_.value_dim, dout_, room_.dout);
    if (share > 0 || s_.keys == 0) zero_rows(s_.queries, s_.dim, dq_);
    for (int64_t j = share * kTileKeys; j < s_.keys; j += shares * kTileKeys)
      keys(j, share > 0 || j > 0);
  }

 private:
  /// The scratch of a piece.
  struct Room {
    explicit Room(const AttentionShape& s)
        : k_transpose_size(packed_size(s.dim, kTileKeys)),
          v_transpose_size(packed_size(s.value_dim, kTileKeys)),
          k_size(packed_size(kTileKeys, s.dim)),
          q_size(packed_size(s.queries, s.dim)),
          dout_size(packed_size(s.queries, s.value_dim)),
          scratch(k_transpose_size + v_transpose_size + k_size + q_size + dout_size + 3 * kTile +
                  s.queries),
          next(scratch) {
      k_transpose = take(k_transpose_size);
      v_transpose = take(v_transpose_size);
      k = take(k_size);
      q = take(q_size);
      dout = take(dout_size);
      scores = take(kTile);
      ds = take(kTile);
      dropped = take(kTile);
      delta = take(s.queries);
    }
    float* take(int64_t n) { return std::exchange(next, next + n); }

    static constexpr int64_t kTile = kTileQueries * kTileStride;
    int64_t k_transpose_size, v_transpose_size, k_size, q_size, dout_size;
    Scratch<float> scratch;
    float* next;
    float *k_transpose, *v_transpose;  // (dim, kTileKeys), (value_dim, kTileKeys)
    float* k;                          // (kTileKeys, dim)
    float *q, *dout;                   // (queries, dim), (queries, value_dim)
    float *scores, *ds, *dropped;      // (kTileQueries, kTileStride)
    float* delta;                      // (queries): sum over the keys of weight * its gradient
  };

  /// `queries` queries from i, n keys from j. p: their weights; dropped: after dropout.
  struct Tile {
    int64_t i, queries, j, n;
    HeadMatrix<const float> p, dropped;
  };

  /// The keys from j on.
  void keys(int64_t j, bool accumulate_dq) {
    const int64_t n = std::min(kTileKeys, s_.keys - j);
    k_transpose_ = packed_transpose(s_.dim, n, {k_.at(j), k_.row}, room_.k_transpose);
    v_transpose_ = packed_transpose(s_.value_dim, n, {v_.at(j), v_.row}, room_.v_transpose);
    k_rows_ = as_stored(n, s_.dim, {k_.at(j), k_.row}, room_.k);
    // Queries before see none of these keys.
    const int64_t start = s_.causal ? j / kTileQueries * kTileQueries : 0;
    for (int64_t i = start; i < s_.queries; i += kTileQueries) {
      const Tile tile = tile_at(i, j, n);
      for (int64_t r = 0; r < tile.queries; r += kTileRows) rows(tile, r, accumulate_dq);
      key_gradients(tile, i > start);
    }
    if (start >= s_.queries) zero_key_gradients(j, n);
  }

  Tile tile_at(int64_t i, int64_t j, int64_t n) const {
    const HeadMatrix<const float> scores{room_.scores, kTileStride}, z{room_.dropped, kTileStride};
    const float* const saved = call_.weights;
    const int64_t query = head_.number * s_.queries + i;
    const HeadMatrix<const float> p =
        saved ? HeadMatrix<const float>(saved + query * s_.keys + j, s_.keys) : scores;
    return {i, std::min(kTileQueries, s_.queries - i), j, n, p, s_.dropout > 0 ? z : p};
  }

  /// 16 queries of a tile from its row r on: their weights, ds and dq.
  void rows(const Tile& t, int64_t r, bool accumulate_dq) {
    const int64_t i = t.i + r, count = std::min(kTileRows, t.queries - r);
    const int64_t n = std::min(t.n, seen(s_, i + kTileRows - 1) - t.j);
    const TilePart part{{head_, i, t.j}, count, n};
    float* const ds = room_.ds + r * kTileStride;
    if (!call_.weights) {
      float* const scores = room_.scores + r * kTileStride;
      multiply({count, n, s_.dim}, {q_.at(i), q_.row}, k_transpose_, {scores, kTileStride}, false);
      scale_and_mask(s_, part, scores);
      weights_again(count, n, scores, call_.stats + 2 * (head_.number * s_.queries + i));
    }
    multiply({count, n, s_.value_dim}, {dout_.at(i), dout_.row}, v_transpose_, {ds, kTileStride},
             false);
    if (s_.dropout > 0) drop(t, r, part);
    score_gradient(part, {t.p.at(r), t.p.row}, ds, room_.delta + i, static_cast<float>(s_.scale));
    multiply({count, s_.dim, n}, {ds, kTileStride}, k_rows_, {dq_.at(i), dq_.row}, accumulate_dq);
  }

  /// ds times dropout's factors, and dropped = p times them.
  void drop(const Tile& t, int64_t first, const TilePart& part) {
    for (int64_t r = first; r < first + part.rows; ++r) {
      float* const ds = room_.ds + r * kTileStride;
      float* const dropped = room_.dropped + r * kTileStride;
      const float* const p = t.p.at(r);
      dropout_row(s_, {head_, t.i + r, t.j}, part.n, dropped);
#pragma omp simd
      for (int64_t c = 0; c < part.n; ++c) {
        ds[c] *= dropped[c];
        dropped[c] *= p[c];
      }
    }
  }

  /// dk and dv: the tile transposed. On the diagonal a few keys at a time, from the first query
  /// that sees them.
  void key_gradients(const Tile& t, bool accumulate) {
    const bool diagonal = s_.causal && t.i < t.j + t.n;
    const int64_t step = diagonal ? kTileRows : t.n;
    for (int64_t c = 0; c < t.n; c += step) {
      const int64_t columns = std::min(step, t.n - c);
      const int64_t below = (t.j + c - t.i) / kTileRows * kTileRows;
      const int64_t from = diagonal ? std::max<int64_t>(below, 0) : 0;
      const HeadMatrix<float> dk(dk_.at(t.j + c), dk_.row), dv(dv_.at(t.j + c), dv_.row);
      if (from >= t.queries) {
        if (!accumulate) zero_key_gradients(t.j + c, columns);
        continue;
      }
      const int64_t terms = t.queries - from;
      multiply({columns, s_.value_dim, terms}, {t.dropped.at(from) + c, 1, t.dropped.row},
               dout_rows_.row(t.i + from), dv, accumulate);
      multiply({columns, s_.dim, terms}, {room_.ds + from * kTileStride + c, 1, kTileStride},
               q_rows_.row(t.i + from), dk, accumulate);
    }
  }

  void zero_key_gradients(int64_t j, int64_t n) {
    zero_rows(n, s_.value_dim, {dv_.at(j), dv_.row});
    zero_rows(n, s_.dim, {dk_.at(j), dk_.row});
  }

  const AttentionBackward<float>& call_;
  const AttentionShape& s_;
  HeadIndex head_;
  HeadMatrix<const float> q_, k_, v_, out_, dout_;
  HeadMatrix<float> dq_, dk_, dv_;
  Room room_;
  RightOperand q_rows_{}, dout_rows_{};                    // all queries
  RightOperand k_rows_{}, k_transpose_{}, v_transpose_{};  // of the keys at hand
};

/// The key blocks share, share + shares, ... of one head; their part of dq goes to `dq`.
void backward_keys(const AttentionBackward<float>& call, const HeadIndex& head, int64_t share,
                   int64_t shares, const HeadMatrix<float>& dq) {
  BackwardPiece piece(call, head, dq);
  if (!piece.far()) return piece.run(share, shares);
  if (share == 0) return plain::attention_backward_head(call, head, dq);
  zero_rows(call.shape.queries, call.shape.dim, dq);
}

/// dq += the partial sums of the shares after the first, in order: `count` for each head.
void add_partials(const AttentionBackward<float>& call, const float* partials, int64_t count) {
  constexpr int64_t kRows = 64;  // of a piece
  const AttentionShape& s = call.shape;
  const int64_t size = s.queries * s.dim;
  parallel_ranges(s.batch * s.heads * s.queries, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t head = row / s.queries, i = row % s.queries;
      float* const to = call.dq.at(head / s.heads, head % s.heads) + i * call.dq.row;
      for (int64_t partial = 0; partial < count; ++partial) {
        const float* const from = partials + (head * count + partial) * size + i * s.dim;
        for (int64_t c = 0; c < s.dim; ++c) to[c] += from[c];
      }
    }
  });
}

}  // namespace

void flash::attention_backward(const AttentionBackward<float>& call) {
  // With few heads the key blocks of one are shared out too. The first share writes to dq, each
  // other to a partial sum of its own.
  const AttentionShape& s = call.shape;
  const int64_t shares = shares_of(s, (s.keys + kTileKeys - 1) / kTileKeys);
  const int64_t size = s.queries * s.dim;
  const Scratch<float> partials(s.batch * s.heads * (shares - 1) * size);
  for_heads(s, shares, [&](const HeadIndex& head, int64_t share) {
    const int64_t partial = head.number * (shares - 1) + share - 1;
    const HeadMatrix<float> own(partials + partial * size, s.dim), first(call.dq, head);
    backward_keys(call, head, share, shares, share == 0 ? first : own);
  });
  if (shares > 1) add_partials(call, partials, shares - 1);
}

}  // namespace loupe::kernels
