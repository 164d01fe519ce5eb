// What forward and backward tiles share.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/attention/tiles.h>

namespace loupe::kernels {

int64_t packed_size(int64_t k, int64_t n) { return k * round_up(n, micro().panel); }

namespace {

RightOperand packed(bool trans, int64_t k, int64_t n, const HeadMatrix<const float>& x, float* to) {
  const int64_t panel = micro().panel;
  micro().pack_right({k, n, x.data, x.row, trans}, 0, (n + panel - 1) / panel, to);
  return {to, panel, k * panel};
}

}  // namespace

RightOperand packed_transpose(int64_t k, int64_t n, const HeadMatrix<const float>& x, float* to) {
  return packed(true, k, n, x, to);
}

RightOperand as_stored(int64_t rows, int64_t width, const HeadMatrix<const float>& x, float* copy) {
  if (width % micro().lanes == 0) return {x.data, x.row, micro().panel};
  return packed(false, rows, width, x, copy);
}

void multiply(const ProductSize& size, const LeftOperand& a, const RightOperand& b,
              const HeadMatrix<float>& c, bool accumulate) {
  Product p;
  p.m = size.m;
  p.n = size.n;
  p.k = size.k;
  p.a = a.data;
  p.a_row = a.row;
  p.a_term = a.term;
  p.b = b.data;
  p.b_term = b.term;
  p.b_panel = b.panel;
  p.c = c.data;
  p.c_row = c.row;
  p.accumulate = accumulate;
  micro().product(p);
}

void scale_and_mask(const AttentionShape& s, const TilePart& part, float* scores) {
  const int64_t rows = part.rows, width = round_up(part.n, kVector);
  simd([=, scale = static_cast<float>(s.scale)] {
    for (int64_t r = 0; r < rows; ++r) {
      float* row = scores + r * kTileStride;
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) row[c] *= scale;
    }
  });
  const bool has_mask = s.mask.keep || s.mask.add;
  for (int64_t r = 0; r < rows; ++r) {
    float* const row = scores + r * kTileStride;
    Score at = part.first;
    at.query += r;
    const int64_t valid = std::clamp<int64_t>(seen(s, at.query) - at.key, 0, part.n);
    if (has_mask)
      for (int64_t c = 0; c < valid; ++c, ++at.key) row[c] = masked(s, at, row[c]);
    std::fill(row + valid, row + width, -kInf<float>);
  }
}

void zero_rows(int64_t rows, int64_t n, const HeadMatrix<float>& x) {
  for (int64_t r = 0; r < rows; ++r) std::fill_n(x.at(r), n, 0.0F);
}

bool leaves_keys_out(const AttentionShape& s) { return s.causal || s.mask.keep; }

bool any_far(int64_t rows, int64_t n, const HeadMatrix<const float>& x) {
  constexpr float kFar = 1e15F;
  return micro().largest(rows, n, x.data, x.row) > __builtin_bit_cast(int32_t, kFar);
}

int64_t shares_of(const AttentionShape& s, int64_t blocks) {
  constexpr int64_t kPieces = 8;  // that keep the threads of a small machine busy
  const int64_t heads = std::max<int64_t>(s.batch * s.heads, 1);
  return std::clamp<int64_t>((kPieces + heads - 1) / heads, 1, std::max<int64_t>(blocks, 1));
}

}  // namespace loupe::kernels
