#include <loupe/core/cpu.h>
#include <loupe/core/kernels/elementwise/recurrent.h>
#include <loupe/core/kernels/vmath.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 4096;  // hidden values of a piece

// Calls row(r, level) for each row, in pieces, compiled for the CPU level.
template <class T, class F> void for_rows(int64_t rows, int64_t n, const F& row) {
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(n, 1));
  parallel_ranges(rows, grain, [&row](int64_t begin, int64_t end) {
    const F* const f = &row;
    simd<T>([=](auto level) {
      for (int64_t r = begin; r < end; ++r) (*f)(r, level);
    });
  });
}

template <class T> LOUPE_INLINE void copy_row(const T* from, T* to, int64_t n) {
  for (int64_t j = 0; j < n; ++j) to[j] = from[j];
}

template <class T> LOUPE_INLINE void zero_row(T* to, int64_t n) {
  for (int64_t j = 0; j < n; ++j) to[j] = T(0);
}

template <class T> void lstm_step(const RecurrentStep<T>& s) {
  for_rows<T>(s.rows, s.n, [s](int64_t r, auto level) {
    const int64_t n = s.n;
    const T *x = s.x_gates + r * 4 * n, *u = s.h_gates + r * 4 * n, *c = s.c + r * n;
    T *h_next = s.h_next + r * n, *c_next = s.c_next + r * n, *kept = s.kept + r * 4 * n;
    if (s.active && !s.active[r]) {
      copy_row(s.h + r * n, h_next, n);
      copy_row(c, c_next, n);
      return;
    }
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      const T i = vsigmoid(x[j] + u[j], level);
      const T f = vsigmoid(x[n + j] + u[n + j], level);
      const T g = vtanh(x[2 * n + j] + u[2 * n + j], level);
      const T o = vsigmoid(x[3 * n + j] + u[3 * n + j], level);
      const T cell = level.multiply_add(f, c[j], i * g);
      kept[j] = i;
      kept[n + j] = f;
      kept[2 * n + j] = g;
      kept[3 * n + j] = o;
      c_next[j] = cell;
      h_next[j] = o * vtanh(cell, level);
    }
  });
}

template <class T> void gru_step(const RecurrentStep<T>& s) {
  for_rows<T>(s.rows, s.n, [s](int64_t row, auto level) {
    const int64_t n = s.n;
    const T *x = s.x_gates + row * 3 * n, *u = s.h_gates + row * 3 * n, *h = s.h + row * n;
    T *h_next = s.h_next + row * n, *kept = s.kept + row * 4 * n;
    if (s.active && !s.active[row]) return copy_row(h, h_next, n);
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      const T r = vsigmoid(x[j] + u[j], level);
      const T z = vsigmoid(x[n + j] + u[n + j], level);
      const T recurrent = u[2 * n + j];
      const T fresh = vtanh(level.multiply_add(r, recurrent, x[2 * n + j]), level);
      kept[j] = r;
      kept[n + j] = z;
      kept[2 * n + j] = fresh;
      kept[3 * n + j] = recurrent;
      h_next[j] = level.multiply_add(z, h[j] - fresh, fresh);
    }
  });
}

template <bool Relu, class T> void rnn_step(const RecurrentStep<T>& s) {
  for_rows<T>(s.rows, s.n, [s](int64_t r, auto level) {
    const int64_t n = s.n;
    const T *x = s.x_gates + r * n, *u = s.h_gates + r * n;
    T* h_next = s.h_next + r * n;
    if (s.active && !s.active[r]) return copy_row(s.h + r * n, h_next, n);
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      const T sum = x[j] + u[j];
      if constexpr (Relu) h_next[j] = sum < T(0) ? T(0) : sum;
      else h_next[j] = vtanh(sum, level);
    }
  });
}

template <class T> void lstm_backward(const RecurrentStepBackward<T>& s) {
  for_rows<T>(s.rows, s.n, [s](int64_t r, auto level) {
    const int64_t n = s.n;
    const T *kept = s.kept + r * 4 * n, *c = s.c + r * n, *c_next = s.c_next + r * n;
    const T *dh = s.dh + r * n, *dc = s.dc + r * n;
    T *d = s.d_x_gates + r * 4 * n, *dh_before = s.dh_before + r * n,
      *dc_before = s.dc_before + r * n;
    if (s.active && !s.active[r]) {
      copy_row(dh, dh_before, n);
      copy_row(dc, dc_before, n);
      zero_row(d, 4 * n);
      return;
    }
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      const T i = kept[j], f = kept[n + j], g = kept[2 * n + j], o = kept[3 * n + j];
      const T t = vtanh(c_next[j], level);
      const T d_cell = dc[j] + dh[j] * o * (T(1) - t * t);
      d[j] = d_cell * g * i * (T(1) - i);
      d[n + j] = d_cell * c[j] * f * (T(1) - f);
      d[2 * n + j] = d_cell * i * (T(1) - g * g);
      d[3 * n + j] = dh[j] * t * o * (T(1) - o);
      dc_before[j] = d_cell * f;
      dh_before[j] = T(0);
    }
  });
}

template <class T> void gru_backward(const RecurrentStepBackward<T>& s) {
  for_rows<T>(s.rows, s.n, [s](int64_t row, auto) {
    const int64_t n = s.n;
    const T *kept = s.kept + row * 4 * n, *h = s.h + row * n, *dh = s.dh + row * n;
    T *dx = s.d_x_gates + row * 3 * n, *du = s.d_h_gates + row * 3 * n;
    T* dh_before = s.dh_before + row * n;
    if (s.active && !s.active[row]) {
      copy_row(dh, dh_before, n);
      zero_row(dx, 3 * n);
      zero_row(du, 3 * n);
      return;
    }
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      const T r = kept[j], z = kept[n + j], fresh = kept[2 * n + j], recurrent = kept[3 * n + j];
      const T d_fresh = dh[j] * (T(1) - z) * (T(1) - fresh * fresh);
      const T d_r = d_fresh * recurrent * r * (T(1) - r);
      const T d_z = dh[j] * (h[j] - fresh) * z * (T(1) - z);
      dx[j] = d_r;
      dx[n + j] = d_z;
      dx[2 * n + j] = d_fresh;
      du[j] = d_r;
      du[n + j] = d_z;
      du[2 * n + j] = d_fresh * r;
      dh_before[j] = dh[j] * z;
    }
  });
}

template <bool Relu, class T> void rnn_backward(const RecurrentStepBackward<T>& s) {
  for_rows<T>(s.rows, s.n, [s](int64_t r, auto) {
    const int64_t n = s.n;
    const T *h_next = s.h_next + r * n, *dh = s.dh + r * n;
    T *d = s.d_x_gates + r * n, *dh_before = s.dh_before + r * n;
    if (s.active && !s.active[r]) {
      copy_row(dh, dh_before, n);
      zero_row(d, n);
      return;
    }
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) {
      const T y = h_next[j];
      const T slope = Relu ? T(y > T(0)) : T(1) - y * y;
      d[j] = dh[j] * slope;
      dh_before[j] = T(0);
    }
  });
}

}  // namespace

template <class T> void recurrent_step(Cell cell, const RecurrentStep<T>& step) {
  switch (cell) {
    case Cell::rnn_tanh: return rnn_step<false>(step);
    case Cell::rnn_relu: return rnn_step<true>(step);
    case Cell::lstm: return lstm_step(step);
    case Cell::gru: return gru_step(step);
  }
}

template <class T> void recurrent_step_backward(Cell cell, const RecurrentStepBackward<T>& step) {
  switch (cell) {
    case Cell::rnn_tanh: return rnn_backward<false>(step);
    case Cell::rnn_relu: return rnn_backward<true>(step);
    case Cell::lstm: return lstm_backward(step);
    case Cell::gru: return gru_backward(step);
  }
}

template void recurrent_step<float>(Cell, const RecurrentStep<float>&);
template void recurrent_step<double>(Cell, const RecurrentStep<double>&);
template void recurrent_step_backward<float>(Cell, const RecurrentStepBackward<float>&);
template void recurrent_step_backward<double>(Cell, const RecurrentStepBackward<double>&);

}  // namespace loupe::kernels
