#pragma once
// Matrix products over row-major memory, threaded inside. Instances for float and double.
//
// The pieces depend on m, n and k alone, and partial sums are added in a fixed order: the same bits
// at any thread limit. A row's bits may depend on how many rows are in the call.
//
// gemm() chooses among the ways of paths.cpp; gemm_plain() is the loop that they are tested
// against.
#include <loupe/core/kernels/paths.h>

#include <cstdint>
#include <memory>
#include <span>

namespace loupe::kernels {

/// A matrix in memory, `stride` elements between two rows as stored. `transposed`: what is stored
/// is the transpose of the matrix that is meant.
template <class T> struct Operand {
  const T* data = nullptr;
  int64_t stride = 0;
  bool transposed = false;
};

/// C = A B: each of m x n elements is a sum of k products, C[i, j] = sum over p of A[i, p] B[p, j].
///
///   A: m x k     B: k x n     C: m x n, rows c_stride apart; it overlaps neither A nor B
///
/// The sums start from bias (n values, one a column), from C if `accumulate`, else from 0; bias and
/// accumulate exclude each other. k = 0 leaves what the sums start from.
template <class T> struct Gemm {
  int64_t m = 0, n = 0, k = 0;
  Operand<T> a = {}, b = {};
  T* c = nullptr;
  int64_t c_stride = 0;
  const T* bias = nullptr;
  bool accumulate = false;
  bool relu = false;  // max(C, 0) is stored; a NaN stays
};

/// Computes a product in the way that is fast for its shape.
template <class T> void gemm(const Gemm<T>& g);

/// The same by the definition: one dot product for each element of C, its terms in order.
template <class T> void gemm_plain(const Gemm<T>& g);

/// The ways of gemm(), in the order in which they are asked.
template <class T> std::span<const Path<Gemm<T>>> gemm_paths();

template <class T> class PackedRight;

/// A right operand that many products share, as a recurrent layer's weight does in every step.
/// f32 packs it once, for all of them, unless there is only one product or LOUPE_CPU=reference; f64
/// leaves it as it is.
/// `b` must live as long as this.
///
///   SharedRight<float> weight(k, n, b, steps);
///   for (...) weight.multiply({.m = rows, .a = ..., .c = ...});
template <class T> class SharedRight {
 public:
  SharedRight(int64_t k, int64_t n, const Operand<T>& b, int64_t products);
  ~SharedRight();
  /// The product of g.a and this operand; gemm() may give other last bits. g's n, k and b are not
  /// read.
  void multiply(Gemm<T> g) const;

 private:
  int64_t k_, n_;
  Operand<T> b_;
  std::unique_ptr<const PackedRight<T>> packed_;  // null: gemm() computes the products
};

/// `count` products of one shape. Product i takes its matrices at a.data + a_offsets[i], b.data +
/// b_offsets[i] and c + c_offsets[i]; two of C's matrices never overlap.
template <class T> struct GemmBatch {
  Gemm<T> gemm;
  int64_t count = 0;
  const int64_t* a_offsets = nullptr;
  const int64_t* b_offsets = nullptr;
  const int64_t* c_offsets = nullptr;
};
template <class T> void gemm_batch(const GemmBatch<T>& batch);

/// out[j] = sum over i of x[i, j]: the gradient of a bias. x is rows x columns, `stride` elements
/// between two rows.
template <class T>
void column_sums(int64_t rows, int64_t columns, const T* x, int64_t stride, T* out);

}  // namespace loupe::kernels
