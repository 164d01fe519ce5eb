// Chapter 6: one convolution in three ways.
#include <loupe/loupe.h>

#include <array>
#include <cmath>
#include <cstdio>

using namespace loupe;

double largest(const Tensor& t) { return max(abs(t)).item(); }

// [seven_loops]
// x (N, C, H, W), w (O, C, K, K), no padding, stride 1. Seven loops.
Tensor seven_loops(const Tensor& x, const Tensor& w) {
  const int64_t N = x.size(0), C = x.size(1), O = w.size(0), K = w.size(2);
  const int64_t H = x.size(2) - K + 1, W = x.size(3) - K + 1;
  const Tensor y = zeros({N, O, H, W}, x.dtype());
  const auto in = x.data<double>(), weight = w.data<double>(), out = y.data<double>();
  for (int64_t n = 0; n < N; ++n)
    for (int64_t o = 0; o < O; ++o)
      for (int64_t i = 0; i < H; ++i)
        for (int64_t j = 0; j < W; ++j) {
          double sum = 0;
          for (int64_t c = 0; c < C; ++c)
            for (int64_t a = 0; a < K; ++a)
              for (int64_t b = 0; b < K; ++b)
                sum += in[static_cast<size_t>(((n * C + c) * (H + K - 1) + i + a) * (W + K - 1) +
                                              j + b)] *
                       weight[static_cast<size_t>(((o * C + c) * K + a) * K + b)];
          out[static_cast<size_t>(((n * O + o) * H + i) * W + j)] = sum;
        }
  return y;
}
// [/seven_loops]

// [columns]
// Every window of the image becomes one row of a matrix: (N H W, C K K).
Tensor windows_as_rows(const Tensor& x, int64_t K) {
  const int64_t N = x.size(0), C = x.size(1), H = x.size(2) - K + 1, W = x.size(3) - K + 1;
  const Tensor rows = zeros({N * H * W, C * K * K}, x.dtype());
  for (int64_t n = 0; n < N; ++n)
    for (int64_t i = 0; i < H; ++i)
      for (int64_t j = 0; j < W; ++j)
        rows[(n * H + i) * W + j].copy_(x[n].slice(1, i, i + K).slice(2, j, j + K).reshape({-1}));
  return rows;
}
Tensor as_product(const Tensor& x, const Tensor& w) {
  const int64_t N = x.size(0), O = w.size(0), K = w.size(2);
  const Tensor y = matmul(windows_as_rows(x, K), w.reshape({O, -1}).t());  // (N H W, O)
  return y.reshape({N, x.size(2) - K + 1, x.size(3) - K + 1, O}).permute({0, 3, 1, 2});
}
// [/columns]

// [winograd_1d]
// Two outputs of a filter with three taps: 4 products instead of 6.
std::array<double, 2> two_outputs(const std::array<double, 4>& d, const std::array<double, 3>& g) {
  const double m1 = (d[0] - d[2]) * g[0];
  const double m2 = (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2;
  const double m3 = (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2;
  const double m4 = (d[1] - d[3]) * g[2];
  return {m1 + m2 + m3, m2 - m3 - m4};
}
// [/winograd_1d]

// [winograd_2d]
// A tile of 2 x 2 outputs from 4 x 4 inputs and a 3 x 3 filter: Y = A^T ((G g G^T) * (B^T d B)) A.
Tensor winograd_tile(const Tensor& d, const Tensor& g) {
  const DType t = d.dtype();
  const Tensor Bt = tensor({1, 0, -1, 0, 0, 1, 1, 0, 0, -1, 1, 0, 0, 1, 0, -1}, Shape{4, 4}, t);
  const Tensor G = tensor({1, 0, 0, .5, .5, .5, .5, -.5, .5, 0, 0, 1}, Shape{4, 3}, t);
  const Tensor At = tensor({1, 1, 1, 0, 0, 1, -1, -1}, Shape{2, 4}, t);
  const Tensor filter = matmul(matmul(G, g), G.t());   // (4, 4), once for each filter
  const Tensor input = matmul(matmul(Bt, d), Bt.t());  // (4, 4), additions only
  return matmul(matmul(At, filter * input), At.t());   // 16 products instead of 36
}
// [/winograd_2d]

// [four]
// Four outputs of three taps: 6 products instead of 12, with larger numbers on the way.
Tensor four_outputs(const Tensor& d, const Tensor& g) {
  const Tensor Bt = tensor({4, 0,  -5, 0, 1, 0, 0, -4, -4, 1,  1, 0, 0, 4, -4, -1, 1, 0,
                            0, -2, -1, 2, 1, 0, 0, 2,  -1, -2, 1, 0, 0, 4, 0,  -5, 0, 1},
                           Shape{6, 6});
  const Tensor G =
      tensor({6, 0, 0, -4, -4, -4, -4, 4, -4, 1, 2, 4, 1, -2, 4, 0, 0, 24}, Shape{6, 3}) / 24;
  const Tensor At = tensor(
      {1, 1, 1, 1, 1, 0, 0, 1, -1, 2, -2, 0, 0, 1, 1, 4, 4, 0, 0, 1, -1, 8, -8, 1}, Shape{4, 6});
  const auto times = [](const Tensor& m, const Tensor& v) {
    return matmul(m, v.unsqueeze(1)).squeeze(1);
  };
  return times(At, times(G, g) * times(Bt, d));
}
// [/four]

void three_ways() {
  std::printf("== ways\n");
  // [ways]
  Rng rng(0);
  const Tensor x = randn(rng, {2, 3, 8, 8}, DType::f64);
  const Tensor w = randn(rng, {4, 3, 3, 3}, DType::f64);
  const Tensor y = conv2d(x, w);
  std::printf("conv2d gives a tensor of shape %s\n", to_string(y.shape()).c_str());
  std::printf("seven loops differ by %.0e\n", largest(y - seven_loops(x, w)));
  std::printf("a matrix product differs by %.0e\n", largest(y - as_product(x, w)));
  // [/ways]

  std::printf("== memory\n");
  // [memory]
  const Tensor image = zeros({1, 64, 32, 32});
  const Tensor rows = windows_as_rows(image, 3);
  std::printf("the image has %lld numbers, the rows of its windows %lld: %.1f times as many\n",
              static_cast<long long>(image.numel()), static_cast<long long>(rows.numel()),
              static_cast<double>(rows.numel()) / static_cast<double>(image.numel()));
  // [/memory]
}

void winograd() {
  std::printf("== winograd_1d\n");
  // [use_1d]
  const std::array<double, 2> y = two_outputs({1, 2, 3, 4}, {10, 20, 30});
  std::printf("%g %g\n", y[0], y[1]);  // 1*10 + 2*20 + 3*30 and 2*10 + 3*20 + 4*30
  // [/use_1d]

  std::printf("== winograd_2d\n");
  // [use_2d]
  Rng rng(1);
  const Tensor d = randn(rng, {4, 4}, DType::f64), g = randn(rng, {3, 3}, DType::f64);
  const Tensor direct = conv2d(d.reshape({1, 1, 4, 4}), g.reshape({1, 1, 3, 3})).reshape({2, 2});
  std::printf("a tile differs from conv2d by %.0e\n", largest(winograd_tile(d, g) - direct));
  // [/use_2d]

  std::printf("== products\n");
  std::printf("tile    plain products   Winograd's   ratio\n");
  for (int m : {2, 4}) {
    const int plain = m * m * 9, fast = (m + 2) * (m + 2);
    std::printf("%d x %d  %14d   %10d   %5.2f\n", m, m, plain, fast,
                static_cast<double>(plain) / fast);
  }
  const int64_t products = 3 * 3 * 64 * 64;
  std::printf("one pixel, 64 channels to 64: %lld products, with tiles of 4 x 4: %lld\n",
              static_cast<long long>(products), static_cast<long long>(products / 4));

  std::printf("== spread\n");
  // [spread]
  const Tensor taps = tensor({1, -2, 3});
  for (double pixel : {2.0, 1e6, 1e9}) {
    const Tensor row =
        tensor({1, pixel, 3, 4, 5, 6});  // outputs 2 and 3 do not see the second pixel
    const Tensor y4 = four_outputs(row, taps);
    std::printf("pixel %.0e: output 2 is %g, output 3 is %g\n", pixel, y4[2].item(), y4[3].item());
  }
  // [/spread]
}

void backward() {
  std::printf("== backward\n");
  // [backward]
  Rng rng(2);
  const Tensor x = randn(rng, {2, 3, 8, 8}, DType::f64).requires_grad_();
  const Tensor w = randn(rng, {4, 3, 3, 3}, DType::f64).requires_grad_();
  const Tensor dy = randn(rng, {2, 4, 6, 6}, DType::f64);
  const Tensors g = grad({conv2d(x, w)}, {x, w}, {}, {dy});

  // dx: a convolution of dy with the filters turned by 180 degrees, input and output channels swapped.
  const Tensor turned = flip(w.detach(), {2, 3}).transpose(0, 1);
  const Tensor dx = conv2d(dy, turned, Tensor(), {.padding = 2});
  // dw: a matrix product of the windows with dy.
  const Tensor rows = windows_as_rows(x.detach(), 3);
  const Tensor dy_rows = dy.permute({0, 2, 3, 1}).reshape({-1, 4});
  const Tensor dw = matmul(dy_rows.t(), rows).reshape({4, 3, 3, 3});
  std::printf("dx differs by %.0e, dw by %.0e\n", largest(g[0] - dx), largest(g[1] - dw));
  // [/backward]
}

void flipped() {
  std::printf("== flip\n");
  // [flip]
  const Tensor signal = tensor({0, 0, 1, 0, 0}, Shape{1, 1, 5});
  const Tensor filter = tensor({1, 2, 3}, Shape{1, 1, 3});
  const Tensor y = conv1d(signal, filter);
  std::printf("conv1d of a single 1: %g %g %g\n", y[0][0][0].item(), y[0][0][1].item(),
              y[0][0][2].item());
  // [/flip]

  std::printf("== sizes\n");
  // [sizes]
  for (int64_t size : {28, 29, 30, 31}) {
    const Tensor out = conv2d(zeros({1, 1, size, size}), zeros({1, 1, 3, 3}), Tensor(),
                              {.stride = 2, .padding = 1});
    std::printf("size %lld -> %lld  ", static_cast<long long>(size),
                static_cast<long long>(out.size(2)));
  }
  std::printf("\n");
  // [/sizes]
}

int main() {
  three_ways();
  winograd();
  backward();
  flipped();
}
