#pragma once
// Matrix products over row-major memory, threaded inside. Instances for float and double.
//
// The pieces depend on m, n and k alone, and partial sums are added in a fixed order: the same bits
// at any thread limit. A row's bits may depend on how many rows are in the call.
#include <cstdint>

namespace loupe::kernels {

/// C = op(A) op(B), or C += when `accumulate`: op(A) is m x k, op(B) k x n, C m x n; op transposes
/// if the flag is set. lda, ldb, ldc: elements between rows as stored. k = 0 gives zeros (or leaves
/// C alone).
template <class T>
void matmul(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
            const T* b, int64_t ldb, T* c, int64_t ldc, bool accumulate);

/// One operand of a batched product: matrix i begins at data + offsets[i], `ld` elements between
/// rows as stored.
template <class T> struct Matrices {
  T* data;
  const int64_t* offsets;
  int64_t ld;
  bool trans = false;
};

/// C[i] = op(A[i]) op(B[i]) for i in [0, batch), or += when `accumulate`. C's matrices must not
/// overlap.
template <class T>
void matmul_batched(int64_t batch, int64_t m, int64_t n, int64_t k, Matrices<const T> a,
                    Matrices<const T> b, Matrices<T> c, bool accumulate);

/// y = x op(W) + bias, or max(that, 0) if `relu`: x is rows x in, op(W) in x out, y rows x out,
/// bias out or null; all dense. W is stored as out x in (a linear layer) or, if `turned`, as in x
/// out.
template <class T>
void linear(int64_t rows, int64_t in, int64_t out, const T* x, const T* w, bool turned,
            const T* bias, bool relu, T* y);
/// dx = dy W.
template <class T>
void linear_dx(int64_t rows, int64_t in, int64_t out, const T* dy, const T* w, T* dx);
/// dW = dy^T x.
template <class T>
void linear_dw(int64_t rows, int64_t in, int64_t out, const T* dy, const T* x, T* dw);

/// out[j] = sum over i of x[i, j], x rows x cols with `ld` elements between rows; or += when
/// `accumulate`.
template <class T>
void column_sums(int64_t rows, int64_t cols, const T* x, int64_t ld, T* out, bool accumulate);

}  // namespace loupe::kernels
