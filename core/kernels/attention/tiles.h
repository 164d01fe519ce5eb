#pragma once
// Attention by tiles in f32: the scores of some queries and some keys, in the L1 and L2 caches.
//
// Forward: 16 queries walk along the keys, 128 at a time, and carry what the softmax needs.
//
//               keys 0..127      128..255        256..
//             +---------------+---------------+---------+
//   queries   |  S = q k^T    |               |         |    S: scale, mask, e^(S - largest)
//    0..15    |  16 x 128     | ->            | ->      |    out = out * factor + S v
//             +---------------+---------------+---------+    at the end: out / sum
//   16..31    |               |               |         |
//
//   factor = e^(largest before - largest now): what the tiles before computed, and their sums, were
//   taken about another largest score.
//
// Backward: 128 keys walk down the queries, 64 at a time, so that the products for dk and dv, which
// run over the queries, have some depth.
//
//               keys 0..127
//             +---------------+    of 16 queries at a time:
//   queries   |  P = softmax  |      P again, or as forward kept it
//    0..63    |  64 x 128     |      dS = P (dout v^T - delta) scale
//             |               |      dq += dS k
//             +---------------+    of all 64:
//   64..127   |  |            |      dv += P^T dout
//             |  v            |      dk += dS^T q
//
// Under a causal mask the tiles above the diagonal are not computed, and those on it only as far as
// some of their queries see.
#include <loupe/core/kernels/attention/rows.h>

namespace loupe::kernels {

inline constexpr int64_t kVector = 16;       // floats of the widest vector: tiles end on a multiple
inline constexpr int64_t kTileRows = 16;     // queries that go through the softmax together
inline constexpr int64_t kTileQueries = 64;  // of a backward tile
inline constexpr int64_t kTileKeys = 128;
// Distance of a tile's rows. No power of two: they would fall into the same few cache sets.
inline constexpr int64_t kTileStride = kTileKeys + kVector;

/// A right-hand side of a product: a matrix as it is stored, or a packed copy.
struct RightOperand {
  const float* data;
  int64_t term, panel;  // distances of rows, and of panels of columns
  RightOperand row(int64_t p) const { return {data + p * term, term, panel}; }
  RightOperand column(int64_t first) const {  // a panel's first
    return {data + first / micro().panel * panel, term, panel};
  }
};

/// Floats of a packed k x n matrix.
int64_t packed_size(int64_t k, int64_t n);
/// The k x n matrix whose transpose is given, (n, k), packed into `to`.
RightOperand packed_transpose(int64_t k, int64_t n, const HeadMatrix<const float>& x, float* to);
/// A (rows, width) matrix as it is stored. Products read whole vectors of a row: a width that is no
/// multiple of the lanes needs a copy, packed into `copy`.
RightOperand as_stored(int64_t rows, int64_t width, const HeadMatrix<const float>& x, float* copy);

/// The left-hand side of a product: its elements are `row` and `term` apart.
struct LeftOperand {
  const float* data;
  int64_t row, term = 1;
};
struct ProductSize {
  int64_t m, n, k;
};
/// c (m x n) = a b, or c += a b.
void multiply(const ProductSize& size, const LeftOperand& a, const RightOperand& b,
              const HeadMatrix<float>& c, bool accumulate);

/// What the softmax works on at a time: `rows` queries and n keys, from `first` on.
struct TilePart {
  Score first;
  int64_t rows, n;
};
/// Scales the scores, applies the mask, and fills what a query does not see with -Inf, up to a
/// multiple of kVector.
void scale_and_mask(const AttentionShape& s, const TilePart& part, float* scores);

/// x = 0, of rows x n numbers.
void zero_rows(int64_t rows, int64_t n, const HeadMatrix<float>& x);

/// Tiles multiply by the weight 0 of a key that a query does not see. That is right only if what it
/// meets is finite and so are the products: operands up to 1e15. Such checks are for calls that
/// leave keys out:
bool leaves_keys_out(const AttentionShape& s);
/// Whether a number lies beyond 1e15 or is a NaN.
bool any_far(int64_t rows, int64_t n, const HeadMatrix<const float>& x);

/// Pieces that each head's `blocks` blocks are cut into: one, or more where heads are few.
int64_t shares_of(const AttentionShape& s, int64_t blocks);

namespace flash {

void attention(const AttentionForward<float>& call);
void attention_backward(const AttentionBackward<float>& call);

}  // namespace flash
}  // namespace loupe::kernels
