#include <loupe/core/kernels/conv/lattice.h>

#include <algorithm>
#include <utility>

namespace loupe::kernels {

int64_t Correlation::most_rows() const {
  int64_t most = 0;
  for (const Lattice& lattice : lattices) most = std::max(most, lattice.rows);
  return most;
}

Correlation forward_correlation(const ConvShape& s) {
  Lattice lattice{.rows = s.oh(), .columns = s.ow()};
  for (int64_t a = 0; a < s.kh; ++a)
    for (int64_t b = 0; b < s.kw; ++b)
      lattice.taps.push_back({a * s.dh - s.ph, b * s.dw - s.pw, a * s.kw + b});
  return {.images = s.n,
          .h = s.h,
          .w = s.w,
          .channels = s.c,
          .step_y = s.sh,
          .step_x = s.sw,
          .out_image = s.oh() * s.ow() * s.o,
          .out_row = s.ow() * s.o,
          .out_column = s.o,
          .groups = s.groups,
          .k = s.c / s.groups,
          .n = s.o / s.groups,
          .taps = s.taps(),
          .lattices = {std::move(lattice)}};
}

namespace {

// The pixels of dx from (y, x) on, a stride apart.
Lattice gradient_lattice(const ConvShape& s, int64_t y, int64_t x) {
  Lattice lattice{.rows = ceil_div(s.h - y, s.sh),
                  .columns = ceil_div(s.w - x, s.sw),
                  .out = (y * s.w + x) * s.c};
  for (int64_t a = s.kh - 1; a >= 0; --a)  // downwards: the places in dy then go upwards
    for (int64_t b = s.kw - 1; b >= 0; --b) {
      const int64_t from_y = y + s.ph - a * s.dh, from_x = x + s.pw - b * s.dw;
      if (from_y % s.sh == 0 && from_x % s.sw == 0)
        lattice.taps.push_back({from_y / s.sh, from_x / s.sw, a * s.kw + b});
    }
  return lattice;
}

}  // namespace

Correlation gradient_correlation(const ConvShape& s) {
  Correlation p{.images = s.n,
                .h = s.oh(),
                .w = s.ow(),
                .channels = s.o,
                .out_image = s.h * s.w * s.c,
                .out_row = s.sh * s.w * s.c,
                .out_column = s.sw * s.c,
                .groups = s.groups,
                .k = s.o / s.groups,
                .n = s.c / s.groups,
                .taps = s.taps(),
                .gradient = true};
  for (int64_t y = 0; y < std::min(s.sh, s.h); ++y)
    for (int64_t x = 0; x < std::min(s.sw, s.w); ++x)
      p.lattices.push_back(gradient_lattice(s, y, x));
  return p;
}

int64_t bands(int64_t images, int64_t rows, int64_t floats_of_image) {
  constexpr int64_t kPieces = 16, kFloats = 65536;  // 256 KiB
  const int64_t wanted =
      std::max(ceil_div(kPieces, std::max<int64_t>(images, 1)), ceil_div(floats_of_image, kFloats));
  return std::clamp<int64_t>(wanted, 1, std::max<int64_t>(rows, 1));
}

}  // namespace loupe::kernels
