#include <loupe/core/kernels/conv/conv.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

// Calls f(i, j, y, x) for each output pixel (i, j) and the input pixel (y, x) under tap (a, b), if
// inside the image.
template <class F> void each_pixel(const ConvShape& s, int64_t a, int64_t b, const F& f) {
  for (int64_t i = 0; i < s.oh(); ++i)
    for (int64_t j = 0; j < s.ow(); ++j) {
      const int64_t y = i * s.sh - s.ph + a * s.dh;
      const int64_t x = j * s.sw - s.pw + b * s.dw;
      if (y >= 0 && y < s.h && x >= 0 && x < s.w) f(i, j, y, x);
    }
}

// Calls f(o, c, index of the weight) for each pair of channels of one group; c counts within the
// input.
template <class F> void each_weight(const ConvShape& s, int64_t a, int64_t b, const F& f) {
  const int64_t cg = s.c / s.groups, og = s.o / s.groups;
  for (int64_t o = 0; o < s.o; ++o)
    for (int64_t c = 0; c < cg; ++c) f(o, o / og * cg + c, ((o * cg + c) * s.kh + a) * s.kw + b);
}

}  // namespace

template <class T> void conv_forward_plain(const ConvForward<T>& call) {
  const ConvShape& s = call.shape;
  const T *w = call.w, *bias = call.bias;
  parallel_pieces(s.n, [&](int64_t n) {
    const T* in = call.x + n * s.h * s.w * s.c;
    T* out = call.y + n * s.oh() * s.ow() * s.o;
    for (int64_t i = 0; i < s.oh() * s.ow() * s.o; ++i) out[i] = bias ? bias[i % s.o] : T(0);
    for (int64_t a = 0; a < s.kh; ++a)
      for (int64_t b = 0; b < s.kw; ++b)
        each_pixel(s, a, b, [&](int64_t i, int64_t j, int64_t row, int64_t column) {
          each_weight(s, a, b, [&](int64_t o, int64_t c, int64_t at) {
            out[(i * s.ow() + j) * s.o + o] += in[(row * s.w + column) * s.c + c] * w[at];
          });
        });
  });
}

template <class T> void conv_input_gradient_plain(const ConvInputGradient<T>& call) {
  const ConvShape& s = call.shape;
  const T* w = call.w;
  parallel_pieces(s.n, [&](int64_t n) {
    const T* out = call.dy + n * s.oh() * s.ow() * s.o;
    T* in = call.dx + n * s.h * s.w * s.c;
    std::fill_n(in, s.h * s.w * s.c, T(0));
    for (int64_t a = 0; a < s.kh; ++a)
      for (int64_t b = 0; b < s.kw; ++b)
        each_pixel(s, a, b, [&](int64_t i, int64_t j, int64_t row, int64_t column) {
          each_weight(s, a, b, [&](int64_t o, int64_t c, int64_t at) {
            in[(row * s.w + column) * s.c + c] += out[(i * s.ow() + j) * s.o + o] * w[at];
          });
        });
  });
}

template <class T> void conv_weight_gradient_plain(const ConvWeightGradient<T>& call) {
  const ConvShape& s = call.shape;
  T* const dw = call.dw;
  std::fill_n(dw, s.weight_size(), T(0));
  parallel_pieces(s.taps(), [&](int64_t tap) {
    const int64_t a = tap / s.kw, b = tap % s.kw;
    for (int64_t n = 0; n < s.n; ++n) {
      const T* in = call.x + n * s.h * s.w * s.c;
      const T* out = call.dy + n * s.oh() * s.ow() * s.o;
      each_pixel(s, a, b, [&](int64_t i, int64_t j, int64_t row, int64_t column) {
        each_weight(s, a, b, [&](int64_t o, int64_t c, int64_t at) {
          dw[at] += in[(row * s.w + column) * s.c + c] * out[(i * s.ow() + j) * s.o + o];
        });
      });
    }
  });
}

#define LOUPE_CONV(T)                                                      \
  template void conv_forward_plain<T>(const ConvForward<T>&);              \
  template void conv_input_gradient_plain<T>(const ConvInputGradient<T>&); \
  template void conv_weight_gradient_plain<T>(const ConvWeightGradient<T>&);
LOUPE_CONV(float)
LOUPE_CONV(double)

}  // namespace loupe::kernels
