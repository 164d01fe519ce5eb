// The forward pass by tiles.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/attention/tiles.h>
#include <loupe/core/kernels/vmath.h>
#include <loupe/core/memory.h>

namespace loupe::kernels {
namespace {

/// What 16 queries carry along the keys.
struct OnlineSoftmax {
  float largest[kTileRows];  // score so far
  float sum[kTileRows];      // of e^(score - largest)
  float factor[kTileRows];   // what the output so far is to be multiplied with
};

/// The largest of `start` and of a tile's row, in 16 lanes.
inline float row_maximum(const float* row, int64_t width, float start) {
  float lane[kVector];
#pragma omp simd
  for (int64_t l = 0; l < kVector; ++l) lane[l] = row[l];
  for (int64_t c = kVector; c < width; c += kVector) {
#pragma omp simd
    for (int64_t l = 0; l < kVector; ++l) lane[l] = row[c + l] > lane[l] ? row[c + l] : lane[l];
  }
  float top = start;
  for (int64_t l = 0; l < kVector; ++l) top = lane[l] > top ? lane[l] : top;
  return top;
}

/// row = e^(row - shift); returns the sum.
template <class Level>
inline float exponentials(float* row, int64_t width, float shift, Level level) {
  float lane[kVector];
#pragma omp simd
  for (int64_t l = 0; l < kVector; ++l) lane[l] = 0;
  for (int64_t c = 0; c < width; c += kVector) {
#pragma omp simd
    for (int64_t l = 0; l < kVector; ++l) {
      const float e = vexp_nonpositive(row[c + l] - shift, level);
      row[c + l] = e;
      lane[l] += e;
    }
  }
  float total = 0;
  for (int64_t l = 0; l < kVector; ++l) total += lane[l];
  return total;
}

/// e^(score - largest) in place, from what `state` holds of the tiles before.
void online_softmax(int64_t rows, int64_t n, float* scores, OnlineSoftmax& state) {
  const int64_t width = round_up(n, kVector);
  simd([=, largest = state.largest, sum = state.sum, factor = state.factor](auto level) {
    for (int64_t r = 0; r < rows; ++r) {
      float* row = scores + r * kTileStride;
      const float top = row_maximum(row, width, largest[r]);
      const float shift = top == -kInf<float> ? 0.0F : top;  // nothing seen yet: e^(-Inf - 0) is 0
      const float total = exponentials(row, width, shift, level);
      factor[r] = vexp_nonpositive(largest[r] - shift, level);
      sum[r] = level.multiply_add(sum[r], factor[r], total);
      largest[r] = top;
    }
  });
}

/// Rows of x, each times a number of its own.
void scale_rows(int64_t rows, int64_t n, const HeadMatrix<float>& x, const float* by) {
  simd([=] {
    for (int64_t r = 0; r < rows; ++r) {
      float* row = x.at(r);
      const float f = by[r];
#pragma omp simd
      for (int64_t c = 0; c < n; ++c) row[c] *= f;
    }
  });
}

/// to = from * by, of n numbers.
inline void scaled(int64_t n, const float* from, float by, float* to) {
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) to[c] = from[c] * by;
}

/// Some queries of one head.
class ForwardPiece {
 public:
  /// Prepares the keys that the queries up to `last` see.
  ForwardPiece(const AttentionForward<float>& call, const HeadIndex& head, int64_t last)
      : call_(call),
        s_(call.shape),
        head_(head),
        keys_(seen(s_, last - 1)),
        k_size_(packed_size(s_.dim, keys_)),
        v_size_(packed_size(keys_, s_.value_dim)),
        scratch_(k_size_ + v_size_ + 2 * kTileRows * kTileStride),
        k_transpose_(packed_transpose(s_.dim, keys_, {call.k, head}, scratch_)),
        v_(as_stored(keys_, s_.value_dim, {call.v, head}, scratch_ + k_size_)),
        scores_(scratch_ + k_size_ + v_size_),
        dropped_(scores_ + kTileRows * kTileStride) {}

  /// `rows` queries from i on.
  void run(int64_t i, int64_t rows) const {
    const int64_t limit = seen(s_, i + rows - 1);
    const HeadMatrix<float> out(call_.out.at(head_.batch, head_.head) + i * call_.out.row,
                                call_.out.row);
    OnlineSoftmax state;
    std::fill_n(state.largest, kTileRows, -kInf<float>);
    std::fill_n(state.sum, kTileRows, 0.0F);
    if (limit == 0) zero_rows(rows, s_.value_dim, out);
    for (int64_t j = 0; j < limit; j += kTileKeys) {
      const TilePart part{{head_, i, j}, rows, std::min(kTileKeys, limit - j)};
      tile(part, state, out);
    }
    float inverse[kTileRows];
    for (int64_t r = 0; r < rows; ++r) inverse[r] = state.sum[r] == 0 ? 0.0F : 1 / state.sum[r];
    scale_rows(rows, s_.value_dim, out, inverse);
    if (call_.stats) write_stats(i, rows, state, inverse);
    if (call_.weights) write_weights(i, rows, limit, inverse);
  }

 private:
  void tile(const TilePart& part, OnlineSoftmax& state, const HeadMatrix<float>& out) const {
    const int64_t i = part.first.query, j = part.first.key;
    const HeadMatrix<const float> q(call_.q, head_);
    multiply({part.rows, part.n, s_.dim}, {q.at(i), q.row}, k_transpose_.column(j),
             {scores_, kTileStride}, false);
    scale_and_mask(s_, part, scores_);
    online_softmax(part.rows, part.n, scores_, state);
    if (j > 0) scale_rows(part.rows, s_.value_dim, out, state.factor);
    const float* p = scores_;
    if (s_.dropout > 0) {
      drop(part);
      p = dropped_;
    }
    multiply({part.rows, s_.value_dim, part.n}, {p, kTileStride}, v_.row(j), out, j > 0);
  }

  /// dropped = scores times dropout's factors.
  void drop(const TilePart& part) const {
    for (int64_t r = 0; r < part.rows; ++r) {
      Score at = part.first;
      at.query += r;
      float* const to = dropped_ + r * kTileStride;
      const float* const from = scores_ + r * kTileStride;
      dropout_row(s_, at, part.n, to);
#pragma omp simd
      for (int64_t c = 0; c < part.n; ++c) to[c] *= from[c];
    }
  }

  void write_stats(int64_t i, int64_t rows, const OnlineSoftmax& state,
                   const float* inverse) const {
    for (int64_t r = 0; r < rows; ++r) {
      float* const own = call_.stats + 2 * (head_.number * s_.queries + i + r);
      own[0] = state.sum[r] == 0 ? 0 : state.largest[r];
      own[1] = inverse[r];
    }
  }

  /// The weights of queries whose keys fill one tile at most.
  void write_weights(int64_t i, int64_t rows, int64_t limit, const float* inverse) const {
    const int64_t keys = s_.keys;
    float* const to = call_.weights + (head_.number * s_.queries + i) * keys;
    simd([=, scores = scores_] {
      for (int64_t r = 0; r < rows; ++r) {
        float* const row = to + r * keys;
        scaled(limit, scores + r * kTileStride, inverse[r], row);
        std::fill(row + limit, row + keys, 0.0F);
      }
    });
  }

  const AttentionForward<float>& call_;
  const AttentionShape& s_;
  HeadIndex head_;
  int64_t keys_, k_size_, v_size_;
  Scratch<float> scratch_;
  RightOperand k_transpose_;  // (dim, keys)
  RightOperand v_;            // (keys, value_dim)
  float* scores_;             // (kTileRows, kTileStride)
  float* dropped_;            // the same
};

/// The queries [first, last) of one head.
void forward_queries(const AttentionForward<float>& call, const HeadIndex& head, int64_t first,
                     int64_t last) {
  if (first >= last) return;
  const AttentionShape& s = call.shape;
  if (leaves_keys_out(s) && any_far(seen(s, last - 1), s.value_dim, {call.v, head}))
    return plain::attention_queries(call, head, first, last);
  const ForwardPiece piece(call, head, last);
  for (int64_t i = first; i < last; i += kTileRows) piece.run(i, std::min(kTileRows, last - i));
}

}  // namespace

void flash::attention(const AttentionForward<float>& call) {
  const AttentionShape& s = call.shape;
  constexpr int64_t kBlock = kTileQueries;  // pieces are whole blocks of so many queries
  const int64_t blocks = (s.queries + kBlock - 1) / kBlock, shares = shares_of(s, blocks);
  const auto bound = [&](int64_t share) {
    return std::min(blocks * share / shares * kBlock, s.queries);
  };
  for_heads(s, shares, [&](const HeadIndex& head, int64_t share) {
    forward_queries(call, head, bound(share), bound(share + 1));
  });
}

}  // namespace loupe::kernels
