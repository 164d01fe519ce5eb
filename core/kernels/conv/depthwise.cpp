// Depthwise convolution: one channel a group. Its arithmetic is small beside its memory, so it
// reads images in place.
#include <loupe/core/kernels/conv/lattice.h>
#include <loupe/core/kernels/conv/fast.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

// One image and a lattice of the other, without its rows.
Depthwise image_of(const Correlation& p, const Lattice& lattice, const float* x) {
  return {.columns = lattice.columns,
          .channels = p.channels,
          .taps = lattice.tap_count(),
          .tap = lattice.taps.data(),
          .x = x,
          .h = p.h,
          .w = p.w,
          .step_y = p.step_y,
          .step_x = p.step_x,
          .y_row = p.out_row,
          .y_column = p.out_column};
}

// The weights as [tap, c], one lattice after the other.
void order_by_tap(const Correlation& p, const float* w, float* ordered) {
  for (const Lattice& lattice : p.lattices)
    for (const Tap& tap : lattice.taps)
      for (int64_t c = 0; c < p.channels; ++c) *ordered++ = w[c * p.taps + tap.weight];
}

void correlate(const Correlation& p, const float* x, const float* w, const float* bias, float* y) {
  int64_t taps = 0;
  for (const Lattice& lattice : p.lattices) taps += lattice.tap_count();
  const Scratch<float> ordered(taps * p.channels);
  order_by_tap(p, w, ordered);
  const int64_t count = bands(p.images, p.most_rows(), 0);
  parallel_pieces(p.images * count, [&](int64_t piece) {
    const int64_t image = piece / count, band = piece % count;
    const float* weights = ordered;
    for (const Lattice& lattice : p.lattices) {
      Depthwise d = image_of(p, lattice, x + image * p.in_image());
      d.begin = lattice.rows * band / count;
      d.end = lattice.rows * (band + 1) / count;
      micro().depthwise(d, weights, bias, y + image * p.out_image + lattice.out);
      weights += lattice.tap_count() * p.channels;
    }
  });
}

}  // namespace

void depthwise_forward(const ConvForward<float>& call) {
  correlate(forward_correlation(call.shape), call.x, call.w, call.bias, call.y);
}

void depthwise_input_gradient(const ConvInputGradient<float>& call) {
  correlate(gradient_correlation(call.shape), call.dy, call.w, nullptr, call.dx);
}

void depthwise_weight_gradient(const ConvWeightGradient<float>& call) {
  const ConvShape& s = call.shape;
  const Correlation p = forward_correlation(s);
  const int64_t sums = std::min(s.n, kPartialSums), size = round_up(s.taps() * s.o, 16);
  const Scratch<float> partials(sums * size);
  parallel_pieces(sums, [&](int64_t sum) {
    std::fill_n(partials + sum * size, size, 0.0f);
    for (int64_t image = s.n * sum / sums; image < s.n * (sum + 1) / sums; ++image) {
      Depthwise d = image_of(p, p.lattices[0], call.x + image * p.in_image());
      d.end = s.oh();
      micro().depthwise_weights(d, call.dy + image * p.out_image, partials + sum * size);
    }
  });
  add_weight_sums(s, {partials, sums, size}, call.dw);
}

}  // namespace loupe::kernels
