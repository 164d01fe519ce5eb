#include <loupe/core/cpu.h>
#include <loupe/core/dmath.h>
#include <loupe/core/kernels/elementwise/optim.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace loupe::kernels {
namespace {

constexpr int64_t kPiece = 1 << 14;  // values of a piece; a piece lies in one array

int64_t pieces_of(int64_t n) { return (n + kPiece - 1) / kPiece; }
template <class Slot> int64_t pieces_of(std::span<const Slot> slots) {
  int64_t total = 0;
  for (const Slot& s : slots) total += pieces_of(s.n);
  return total;
}

/// Calls f(slot, begin, end, piece) over all arrays cut into pieces, on all threads.
template <class Slot, class F> void for_pieces(std::span<const Slot> slots, const F& f) {
  parallel_pieces(pieces_of(slots), [&](int64_t piece) {
    int64_t k = piece;  // within its array: walking the list is cheap next to a piece
    size_t i = 0;
    for (; k >= pieces_of(slots[i].n); ++i) k -= pieces_of(slots[i].n);
    f(slots[i], k * kPiece, std::min(slots[i].n, (k + 1) * kPiece), piece);
  });
}

}  // namespace

template <class T> void sgd_step(std::span<const ParamSlot<T>> slots, const SgdStep& o) {
  const T lr = T(o.lr), momentum = T(o.momentum), decay = T(o.weight_decay);
  const T sign = o.maximize ? T(-1) : T(1);
  // buf = before * buf + keep * g, then g = ahead * g + carry * buf.
  const T before = o.first ? T(0) : momentum;
  const T keep = o.first ? T(1) : T(1 - o.dampening);
  const T ahead = o.nesterov ? T(1) : T(0);
  const T carry = o.nesterov ? momentum : T(1);
  const auto piece = [=, first = o.first](const ParamSlot<T>& s, int64_t begin, int64_t end,
                                          int64_t) {
    T *p = s.p, *buf = s.s0;
    const T* g = s.g;
    simd<T>([=] {
      if (momentum == 0) {
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) p[i] -= lr * (sign * g[i] + decay * p[i]);
        return;
      }
      if (first) std::fill(buf + begin, buf + end, T(0));  // whatever was there, NaN included
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        const T d = sign * g[i] + decay * p[i];
        const T b = before * buf[i] + keep * d;
        buf[i] = b;
        p[i] -= lr * (ahead * d + carry * b);
      }
    });
  };
  for_pieces(slots, piece);
}

template <class T> void adam_step(std::span<const ParamSlot<T>> slots, const AdamStep& o) {
  const auto t = static_cast<double>(o.step);
  const T step_size = T(o.lr / (1 - dmath::pow(o.beta1, t)));
  const T inv_root = T(1 / std::sqrt(1 - dmath::pow(o.beta2, t)));
  const T one_beta1 = T(1 - o.beta1), beta2 = T(o.beta2), one_beta2 = T(1 - o.beta2);
  const T eps = T(o.eps);
  const T shrink = o.decoupled ? T(1 - o.lr * o.weight_decay) : T(1);
  const T decay = o.decoupled ? T(0) : T(o.weight_decay);
  const T sign = o.maximize ? T(-1) : T(1);
  // Then three products by 1 and 0 fall away.
  const bool as_it_is = shrink == 1 && sign == 1 && decay == 0;
  for_pieces(slots, [=](const ParamSlot<T>& s, int64_t begin, int64_t end, int64_t) {
    T *p = s.p, *m = s.s0, *v = s.s1, *top = s.s2;
    const T* g = s.g;
    const auto run = [=](auto kAsItIs, auto kAmsgrad) {
      simd<T>([=](auto level) {
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) {
          const T q = kAsItIs ? p[i] : p[i] * shrink;
          const T d = kAsItIs ? g[i] : sign * g[i] + decay * q;
          const T mean = level.multiply_add(one_beta1, d - m[i], m[i]);
          const T square = level.multiply_add(beta2, v[i], one_beta2 * d * d);
          T most = square;
          if constexpr (kAmsgrad) {
            most = square > top[i] ? square : top[i];
            top[i] = most;
          }
          m[i] = mean;
          v[i] = square;
          p[i] = q - step_size * mean / level.multiply_add(std::sqrt(most), inv_root, eps);
        }
      });
    };
    constexpr std::true_type kYes;
    constexpr std::false_type kNo;
    if (top) run(kNo, kYes);
    else if (as_it_is) run(kYes, kNo);
    else run(kNo, kNo);
  });
}

template <class T> void rmsprop_step(std::span<const ParamSlot<T>> slots, const RmspropStep& o) {
  const T lr = T(o.lr), alpha = T(o.alpha), rest = T(1 - o.alpha), eps = T(o.eps);
  const T decay = T(o.weight_decay), momentum = T(o.momentum);
  const T sign = o.maximize ? T(-1) : T(1);
  for_pieces(slots, [=](const ParamSlot<T>& s, int64_t begin, int64_t end, int64_t) {
    T *p = s.p, *sq = s.s0, *mean = s.s2;
    T* buf = momentum > 0 ? s.s1 : nullptr;
    const T* g = s.g;
    simd<T>([=] {
      for (int64_t i = begin; i < end; ++i) {
        const T d = sign * g[i] + decay * p[i];
        sq[i] = alpha * sq[i] + rest * d * d;
        T square = sq[i];
        if (mean) {
          mean[i] += rest * (d - mean[i]);
          square -= mean[i] * mean[i];
        }
        T step = d / (std::sqrt(square) + eps);
        if (buf) {
          step = momentum * buf[i] + step;
          buf[i] = step;
        }
        p[i] -= lr * step;
      }
    });
  });
}

template <class T> void adagrad_step(std::span<const ParamSlot<T>> slots, const AdagradStep& o) {
  const T lr = T(o.lr), eps = T(o.eps), decay = T(o.weight_decay);
  const T sign = o.maximize ? T(-1) : T(1);
  for_pieces(slots, [=](const ParamSlot<T>& s, int64_t begin, int64_t end, int64_t) {
    T *p = s.p, *sum = s.s0;
    const T* g = s.g;
    simd<T>([=] {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        const T d = sign * g[i] + decay * p[i];
        const T squares = sum[i] + d * d;
        sum[i] = squares;
        p[i] -= lr * d / (std::sqrt(squares) + eps);
      }
    });
  });
}

template <class T> void lion_step(std::span<const ParamSlot<T>> slots, const LionStep& o) {
  const T lr = T(o.lr), beta1 = T(o.beta1), beta2 = T(o.beta2);
  const T shrink = T(1 - o.lr * o.weight_decay), sign = o.maximize ? T(-1) : T(1);
  for_pieces(slots, [=](const ParamSlot<T>& s, int64_t begin, int64_t end, int64_t) {
    T *p = s.p, *m = s.s0;
    const T* g = s.g;
    simd<T>([=] {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        const T d = sign * g[i];
        const T update = m[i] + (T(1) - beta1) * (d - m[i]);
        const T direction = T(update > T(0)) - T(update < T(0));
        const T other = update != update ? update : direction;  // NaN stays
        p[i] = p[i] * shrink - lr * other;
        m[i] += (T(1) - beta2) * (d - m[i]);
      }
    });
  });
}

template <class T> int64_t sum_squares_scratch(std::span<const ArraySlot<T>> slots) {
  return pieces_of(slots);
}

template <class T> double sum_squares(std::span<const ArraySlot<T>> slots, double* scratch) {
  for_pieces(slots, [=](const ArraySlot<T>& s, int64_t begin, int64_t end, int64_t piece) {
    const T* data = s.data;
    simd<T>([=] {
      constexpr int64_t kLanes = 32;  // four vectors of doubles of the widest set
      double acc[kLanes] = {};
      int64_t i = begin;
      for (; i + kLanes <= end; i += kLanes) {
#pragma omp simd
        for (int64_t j = 0; j < kLanes; ++j) acc[j] += double(data[i + j]) * double(data[i + j]);
      }
      for (; i < end; ++i) acc[(i - begin) & (kLanes - 1)] += double(data[i]) * double(data[i]);
      double sum = 0;
      for (double a : acc) sum += a;
      scratch[piece] = sum;
    });
  });
  double sum = 0;
  for (int64_t i = 0, n = sum_squares_scratch(slots); i < n; ++i) sum += scratch[i];
  return sum;
}

template <class T> void scale_all(std::span<const ArraySlot<T>> slots, double factor) {
  for_pieces(slots, [=](const ArraySlot<T>& s, int64_t begin, int64_t end, int64_t) {
    T* data = s.data;
    simd<T>([=, f = T(factor)] {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) data[i] *= f;
    });
  });
}

#define LOUPE_INSTANTIATE(T)                                                     \
  template void sgd_step(std::span<const ParamSlot<T>>, const SgdStep&);         \
  template void adam_step(std::span<const ParamSlot<T>>, const AdamStep&);       \
  template void rmsprop_step(std::span<const ParamSlot<T>>, const RmspropStep&); \
  template void adagrad_step(std::span<const ParamSlot<T>>, const AdagradStep&); \
  template void lion_step(std::span<const ParamSlot<T>>, const LionStep&);       \
  template int64_t sum_squares_scratch(std::span<const ArraySlot<T>>);           \
  template double sum_squares(std::span<const ArraySlot<T>>, double*);           \
  template void scale_all(std::span<const ArraySlot<T>>, double);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
