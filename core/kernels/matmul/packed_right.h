#pragma once
// The right operand of a product, ready to be multiplied by any rows of A: for f32 packed once into
// panels for the micro-kernel, for f64 as it is, for BLAS.
#include <loupe/core/blas.h>
#include <loupe/core/kernels/matmul/fast.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {

// Terms that one sweep over a piece covers: a panel of B and the rows of A lie in L2, from where
// they come as fast as a tile uses them; C is read and written once a sweep.
inline constexpr int64_t kSweepTerms = 896;

// Numbers that a piece of the packing copies.
inline constexpr int64_t kPackGrain = 8192;

template <> class PackedRight<double> {
 public:
  PackedRight(int64_t k, int64_t n, const Operand<double>& b) : k_(k), n_(n), b_(b) {}

  // The product of rows.m rows of rows.a; n, k and B are those of this operand.
  void multiply(const Gemm<double>& rows) const {
    if (rows.bias)
      for (int64_t i = 0; i < rows.m; ++i) std::copy_n(rows.bias, n_, rows.c + i * rows.c_stride);
    const double beta = rows.bias || rows.accumulate ? 1 : 0;
    blas::gemm(rows.a.transposed, b_.transposed, rows.m, n_, k_, 1.0, rows.a.data, rows.a.stride,
               b_.data, b_.stride, beta, rows.c, rows.c_stride);
    finish(rows);
  }

 private:
  int64_t k_, n_;
  Operand<double> b_;
};

template <> class PackedRight<float> {
 public:
  PackedRight(int64_t k, int64_t n, const Operand<float>& b) : k_(k), n_(n) {
    const RightMatrix right{k, n, b.data, b.stride, b.transposed};
    const int64_t grain = std::max<int64_t>(1, kPackGrain / (k * mu_.panel));
    parallel_ranges(ceil_div(n, mu_.panel), grain, [&](int64_t begin, int64_t end) {
      mu_.pack_right(right, begin, end, packed_);
    });
  }

  void multiply(const Gemm<float>& rows) const { multiply(rows, 0, n_); }

  // The columns [begin, end) of the product, of which rows.c is still the whole; begin is a
  // multiple of the panel.
  void multiply(const Gemm<float>& rows, int64_t begin, int64_t end) const {
    const float* const panels = packed_ + begin * k_;
    const float* const bias = rows.bias ? rows.bias + begin : nullptr;
    Product p{.m = rows.m,
              .n = end - begin,
              .a_row = rows.a.stride,
              .b_term = mu_.panel,
              .b_panel = k_ * mu_.panel,
              .c = rows.c + begin,
              .c_row = rows.c_stride};
    const int64_t sweeps = ceil_div(k_, kSweepTerms);
    const int64_t terms = round_up(ceil_div(k_, sweeps), 16);
    // The columns of A that a tile needs lie far apart, often in the same few sets of L1.
    const Scratch<float> left(rows.a.transposed ? terms * round_up(rows.m, mu_.rows) : 0);
    for (int64_t term = 0; term < k_; term += terms) {
      p.k = std::min(terms, k_ - term);
      p.a = rows.a.data + term;
      if (rows.a.transposed) {
        mu_.pack_left({p.k, rows.m, rows.a.data + term * rows.a.stride, rows.a.stride}, left);
        p.a = left;
        p.a_row = 1;
        p.a_term = mu_.rows;
        p.a_tile = p.k * mu_.rows;
      }
      p.b = panels + term * mu_.panel;
      p.bias = term == 0 ? bias : nullptr;
      p.accumulate = term > 0 || rows.accumulate;
      p.relu = rows.relu && term + terms >= k_;
      mu_.product(p);
    }
  }

 private:
  int64_t k_, n_;
  const Micro& mu_ = micro();
  Scratch<float> packed_{k_ * round_up(n_, mu_.panel)};
};

}  // namespace loupe::kernels
