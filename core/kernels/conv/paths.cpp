// Which way a convolution and its gradients take.
#include <loupe/core/cpu.h>
#include <loupe/core/error.h>
#include <loupe/core/kernels/conv/conv.h>
#include <loupe/core/kernels/conv/fast.h>
#include <loupe/core/kernels/conv/winograd.h>
#include <loupe/core/kernels/matmul/gemm.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace loupe::kernels {
namespace {

using Forward = ConvForward<float>;
using InputGradient = ConvInputGradient<float>;
using WeightGradient = ConvWeightGradient<float>;

// Questions about the shape.

bool no_terms(const Forward& call) { return call.shape.c == 0; }
bool no_terms(const InputGradient& call) { return call.shape.o == 0; }
bool no_terms(const WeightGradient& call) { return call.shape.n == 0; }

template <int64_t Tile, class Call> bool tiles_of(const Call& call) {
  return winograd_tile(call.shape) == Tile;
}

// A 1x1 convolution of every pixel is a matrix product over all pixels of the batch.
template <class Call> bool one_by_one(const Call& call) {
  const ConvShape& s = call.shape;
  return s.taps() == 1 && s.groups == 1 && s.sh == 1 && s.sw == 1 && s.ph == 0 && s.pw == 0;
}

template <class Call> bool channel_by_channel(const Call& call) {
  const ConvShape& s = call.shape;
  return s.groups > 1 && s.c == s.groups && s.o == s.groups;
}

// Questions about the weights. The fast ways see zeros around an image, and 0 times an infinite
// weight is a NaN where the plain loops have nothing. So weights (or, of the weight gradient,
// results) of which some are not finite are left to those. If none is, nothing can be saved: a
// training that has diverged does not become slow.
bool partly_finite(int64_t n, const float* x) {
  constexpr int64_t kSums = 16;
  float sums[kSums] = {};  // of a number less itself: 0, or a NaN
  float* const rest = sums;
  simd([=] {
    int64_t i = 0;
    for (; i + kSums <= n; i += kSums) {
#pragma omp simd
      for (int64_t l = 0; l < kSums; ++l) rest[l] += x[i + l] - x[i + l];
    }
    for (; i < n; ++i) rest[0] += x[i] - x[i];
  });
  if (std::all_of(sums, sums + kSums, [](float e) { return e == 0; })) return false;
  return std::any_of(x, x + n, [](float e) { return std::isfinite(e); });
}
template <class Call> bool padding_is_safe(const Call& call) {
  return !partly_finite(call.shape.weight_size(), call.w);
}
template <class Call> bool safe_channel_by_channel(const Call& call) {
  return channel_by_channel(call) && padding_is_safe(call);
}

// The ways. They return false if the numbers are not for them.

template <class Call, void (*Run)(const Call&)> bool whatever_comes(const Call& call) {
  Run(call);
  return true;
}
template <void (*Run)(const WeightGradient&)>
bool unless_partly_finite(const WeightGradient& call) {
  Run(call);
  return !partly_finite(call.shape.weight_size(), call.dw);
}

template <int64_t Tile> bool winograd(const Forward& call) { return winograd_forward(Tile, call); }
template <int64_t Tile> bool winograd(const InputGradient& call) {
  return winograd_input_gradient(Tile, call);
}
template <int64_t Tile> bool winograd(const WeightGradient& call) {
  return winograd_weight_gradient(Tile, call);
}

int64_t pixels(const ConvShape& s) { return s.n * s.h * s.w; }

// y = x W^T + bias; dx = dy W; dW = dy^T x.
bool product(const Forward& call) {
  const ConvShape& s = call.shape;
  gemm<float>({.m = pixels(s),
               .n = s.o,
               .k = s.c,
               .a = {call.x, s.c},
               .b = {call.w, s.c, true},
               .c = call.y,
               .c_stride = s.o,
               .bias = call.bias});
  return true;
}
bool product(const InputGradient& call) {
  const ConvShape& s = call.shape;
  gemm<float>({.m = pixels(s),
               .n = s.c,
               .k = s.o,
               .a = {call.dy, s.o},
               .b = {call.w, s.c},
               .c = call.dx,
               .c_stride = s.c});
  return true;
}
bool product(const WeightGradient& call) {
  const ConvShape& s = call.shape;
  gemm<float>({.m = s.o,
               .n = s.c,
               .k = pixels(s),
               .a = {call.dy, s.o, true},
               .b = {call.x, s.c},
               .c = call.dw,
               .c_stride = s.c});
  return true;
}

template <class T> bool plain(const ConvForward<T>& call) {
  conv_forward_plain(call);
  return true;
}
template <class T> bool plain(const ConvInputGradient<T>& call) {
  conv_input_gradient_plain(call);
  return true;
}
template <class T> bool plain(const ConvWeightGradient<T>& call) {
  conv_weight_gradient_plain(call);
  return true;
}

constexpr ConvForwardPath<float> kForwardPaths[] = {
    {"no_terms", no_terms, plain},
    {"plain", reference_mode, plain},
    {"winograd4", tiles_of<4>, winograd<4>},
    {"winograd2", tiles_of<2>, winograd<2>},
    {"matmul", one_by_one, product},
    {"depthwise", safe_channel_by_channel, whatever_comes<Forward, depthwise_forward>},
    {"direct", padding_is_safe, whatever_comes<Forward, direct_forward>},
    {"plain_not_finite", always, plain},
};

constexpr ConvInputGradientPath<float> kInputGradientPaths[] = {
    {"no_terms", no_terms, plain},
    {"plain", reference_mode, plain},
    {"winograd4", tiles_of<4>, winograd<4>},
    {"winograd2", tiles_of<2>, winograd<2>},
    {"matmul", one_by_one, product},
    {"depthwise", safe_channel_by_channel, whatever_comes<InputGradient, depthwise_input_gradient>},
    {"direct", padding_is_safe, whatever_comes<InputGradient, direct_input_gradient>},
    {"plain_not_finite", always, plain},
};

constexpr ConvWeightGradientPath<float> kWeightGradientPaths[] = {
    {"no_terms", no_terms, plain},
    {"plain", reference_mode, plain},
    {"winograd4", tiles_of<4>, winograd<4>},
    {"winograd2", tiles_of<2>, winograd<2>},
    {"matmul", one_by_one, product},
    {"depthwise", channel_by_channel, unless_partly_finite<depthwise_weight_gradient>},
    {"direct", always, unless_partly_finite<direct_weight_gradient>},
    {"plain_not_finite", always, plain},
};

// f64 is the truth that f32 is held against.
constexpr ConvForwardPath<double> kForwardPaths64[] = {{"plain", always, plain}};
constexpr ConvInputGradientPath<double> kInputGradientPaths64[] = {{"plain", always, plain}};
constexpr ConvWeightGradientPath<double> kWeightGradientPaths64[] = {{"plain", always, plain}};

std::atomic<bool>& winograd_switch() {
  static std::atomic<bool> value = [] {
    const char* text = std::getenv("LOUPE_WINOGRAD");
    if (!text || !*text || std::strcmp(text, "1") == 0) return true;
    if (std::strcmp(text, "0") != 0) fail<ValueError>("LOUPE_WINOGRAD={}: expected 0 or 1", text);
    return false;
  }();
  return value;
}

}  // namespace

template <> std::span<const ConvForwardPath<float>> conv_forward_paths() { return kForwardPaths; }
template <> std::span<const ConvForwardPath<double>> conv_forward_paths() {
  return kForwardPaths64;
}
template <> std::span<const ConvInputGradientPath<float>> conv_input_gradient_paths() {
  return kInputGradientPaths;
}
template <> std::span<const ConvInputGradientPath<double>> conv_input_gradient_paths() {
  return kInputGradientPaths64;
}
template <> std::span<const ConvWeightGradientPath<float>> conv_weight_gradient_paths() {
  return kWeightGradientPaths;
}
template <> std::span<const ConvWeightGradientPath<double>> conv_weight_gradient_paths() {
  return kWeightGradientPaths64;
}

template <class T> void conv_forward(const ConvForward<T>& call) {
  if (call.shape.output_size() > 0) run_first(conv_forward_paths<T>(), call);
}
template <class T> void conv_input_gradient(const ConvInputGradient<T>& call) {
  if (call.shape.input_size() > 0) run_first(conv_input_gradient_paths<T>(), call);
}
template <class T> void conv_weight_gradient(const ConvWeightGradient<T>& call) {
  const ConvShape& s = call.shape;
  if (s.o * s.c * s.taps() > 0) run_first(conv_weight_gradient_paths<T>(), call);
}

bool winograd_enabled() { return winograd_switch(); }
void set_winograd_enabled(bool enabled) { winograd_switch() = enabled; }

#define LOUPE_CONV(T)                                                \
  template void conv_forward<T>(const ConvForward<T>&);              \
  template void conv_input_gradient<T>(const ConvInputGradient<T>&); \
  template void conv_weight_gradient<T>(const ConvWeightGradient<T>&);
LOUPE_CONV(float)
LOUPE_CONV(double)

}  // namespace loupe::kernels
