// Augmentation: what is done to an image, how often, and that it is repeated by a resume.
#include <loupe/core/raw.h>
#include <loupe/core/threads.h>
#include <loupe/io/augment.h>
#include <loupe/io/loader.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

/// Images (n, c, h, w) whose pixels are all different and above 0; the label is the index.
ImageSet images(int64_t n, int64_t c, int64_t h, int64_t w) {
  ImageSet set;
  std::vector<uint8_t> pixels(static_cast<size_t>(n * c * h * w));
  const size_t image = static_cast<size_t>(c * h * w);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(1 + i % image);
  std::vector<int64_t> labels(static_cast<size_t>(n));
  std::iota(labels.begin(), labels.end(), 0);
  set.images = from_data(pixels, Shape{n, c, h, w});
  set.labels = from_data(labels);
  set.mean.assign(static_cast<size_t>(c), 0);
  set.std.assign(static_cast<size_t>(c), 1);
  return set;
}

std::vector<int64_t> all_of(int64_t n) {
  std::vector<int64_t> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

/// The byte that a pixel was; 0 where it was filled.
int byte_of(const Tensor& x, int64_t i, int64_t c, int64_t y, int64_t column) {
  return static_cast<int>(std::lround(x[i][c][y][column].item() * 255));
}

}  // namespace

TEST_CASE("a random crop is a window of the padded image, each one as often") {
  constexpr int64_t n = 600, c = 2, size = 5, padding = 2;
  const AugmentedDataset data(ImageDataset(images(n, c, size, size)),
                              {.crop_padding = padding, .flip = 0.5});
  const Batch b = data.batch(all_of(n), SampleStreams(1, 0));
  CHECK(raw::is_channels_last(b.x));
  std::map<std::tuple<int64_t, int64_t, bool>, int> windows;
  for (int64_t i = 0; i < n; ++i) {
    // The window is read off the centre; then every pixel is known.
    const int centre = byte_of(b.x, i, 0, 2, 2) - 1, beside = byte_of(b.x, i, 0, 2, 1) - 1;
    REQUIRE(centre >= 0);
    const int64_t down = centre / size - 2, right = centre % size - 2;
    bool flip = false, matches = false;
    for (const bool tried : {false, true}) {
      const int64_t column = 2 + right + (tried ? 1 : -1);
      const int want = column < 0 || column >= size ? -1 : centre + (tried ? 1 : -1);
      if (beside == want) flip = tried, matches = true;
    }
    REQUIRE(matches);
    for (int64_t channel = 0; channel < c; ++channel)
      for (int64_t y = 0; y < size; ++y)
        for (int64_t x = 0; x < size; ++x) {
          const int64_t from_y = y + down, from_x = (flip ? size - 1 - x : x) + right;
          const bool there = from_y >= 0 && from_y < size && from_x >= 0 && from_x < size;
          const int64_t want = there ? 1 + (channel * size + from_y) * size + from_x : 0;
          if (byte_of(b.x, i, channel, y, x) != want) FAIL("image " << i);
        }
    ++windows[{down, right, flip}];
  }
  CHECK(windows.size() == 50);  // 600 draws of 50: 12 each
  for (const auto& [window, count] : windows) CHECK(count < 30);
  CHECK(b.y.to_vector<int64_t>() == all_of(n));
}

TEST_CASE("flips come as often as asked; cutout clears a square that may reach over the edge") {
  constexpr int64_t n = 1000, size = 6;
  const ImageDataset plain(images(n, 1, size, size));
  for (const double p : {0.0, 0.25, 1.0}) {
    const Batch b = AugmentedDataset(plain, {.flip = p}).batch(all_of(n), SampleStreams(2, 0));
    int flips = 0;
    for (int64_t i = 0; i < n; ++i) flips += byte_of(b.x, i, 0, 0, 0) == size;
    CHECK(std::abs(flips - p * static_cast<double>(n)) <= (p == 0 || p == 1 ? 0 : 60));
  }
  const Batch b =
      AugmentedDataset(plain, {.cutout = 3, .fill = {-1}}).batch(all_of(n), SampleStreams(2, 0));
  std::map<int64_t, int> areas;
  for (int64_t i = 0; i < n; ++i) {
    int64_t rows = 0, columns = 0, area = 0;
    for (int64_t y = 0; y < size; ++y) {
      int64_t in_row = 0;
      for (int64_t x = 0; x < size; ++x) {
        const float v = static_cast<float>(b.x[i][0][y][x].item());
        in_row += v == -1;
        if (v != -1)
          REQUIRE(v == static_cast<float>(static_cast<double>(1 + y * size + x) / 255.0));
      }
      rows += in_row > 0;
      columns = std::max(columns, in_row);
      area += in_row;
    }
    REQUIRE(area == rows * columns);  // a rectangle, of the square but for what lies outside
    ++areas[area];
  }
  // Centres in the inside: 16 of 36 give 9, the 16 at the sides 6, the four corners 4.
  CHECK(areas.size() == 3);
  CHECK(std::abs(areas[9] - n * 16 / 36) < 70);
  CHECK(std::abs(areas[6] - n * 16 / 36) < 70);
  CHECK(std::abs(areas[4] - n * 4 / 36) < 50);
}

TEST_CASE("normalising last is what ImageDataset does, to rounding; f64 too") {
  ImageSet set = images(4, 3, 4, 4);
  const AugmentedDataset mine(ImageDataset(set), {.mean = {0.1, 0.2, 0.3}, .std = {0.5, 0.25, 2}});
  set.mean = {0.1, 0.2, 0.3};
  set.std = {0.5, 0.25, 2};
  const ImageDataset theirs(set);
  const auto want = theirs.batch(all_of(4)).x.to_vector<double>();
  for (const Tensor& x : {mine.batch(all_of(4)).x, mine.batch(all_of(4), SampleStreams(1, 1)).x}) {
    const auto got = x.to_vector<double>();
    for (size_t i = 0; i < want.size(); ++i) CHECK(got[i] == Approx(want[i]).margin(1e-6));
  }
  const AugmentedDataset wide(TensorDataset(ones({3, 1, 2, 2}, DType::f64), zeros({3})),
                              {.crop_padding = 1, .fill = {3}, .mean = {1}, .std = {2}});
  const Batch b = wide.batch(all_of(3), SampleStreams(1, 1));
  CHECK(b.x.dtype() == DType::f64);
  for (const double v : b.x.to_vector<double>()) CHECK((v == 0 || v == 1));
}

TEST_CASE("test views are the image, its moves by a pixel, and their mirrors") {
  const Tensor x = ImageDataset(images(2, 2, 4, 5)).batch(all_of(2)).x;
  const std::vector<Tensor> views =
      test_views(x, {.crop_padding = 2, .flip = 0.5, .fill = {-1, -2}, .mean = {9}, .std = {7}});
  REQUIRE(views.size() == 10);
  const std::vector<std::pair<int64_t, int64_t>> moves = {{0, 0}, {-1, 0}, {1, 0}, {0, -1}, {0, 1}};
  for (size_t v = 0; v < views.size(); ++v) {
    const auto [down, right] = moves[v % 5];
    for (int64_t c = 0; c < 2; ++c)
      for (int64_t y = 0; y < 4; ++y)
        for (int64_t column = 0; column < 5; ++column) {
          const int64_t from_y = y + down, from_x = (v < 5 ? column : 4 - column) + right;
          const bool there = from_y >= 0 && from_y < 4 && from_x >= 0 && from_x < 5;
          const double pixel =
              there ? x[1][c][from_y][from_x].item() : -1.0 - static_cast<double>(c);
          REQUIRE(views[v][1][c][y][column].item() == pixel);
        }
  }
  CHECK(test_views(x, {.flip = 0.5}).size() == 2);
  CHECK(test_views(x, {.crop_padding = 1}).size() == 5);
  const std::vector<Tensor> one = test_views(x, {});
  REQUIRE(one.size() == 1);
  CHECK(one[0].to_vector<float>() == x.to_vector<float>());
}

TEST_CASE("an image's changes are the same in any batch, and others in another epoch") {
  const AugmentedDataset data(ImageDataset(images(8, 1, 9, 9)),
                              {.crop_padding = 3, .flip = 0.5, .cutout = 3});
  const SampleStreams streams(4, 2);
  const auto together = data.batch(all_of(8), streams).x.to_vector<float>();
  for (int64_t i = 0; i < 8; ++i) {
    const int64_t one[] = {7, i};
    const auto alone = data.batch(one, streams).x.to_vector<float>();
    CHECK(std::equal(alone.begin() + 81, alone.end(), together.begin() + 81 * i));
  }
  CHECK(data.batch(all_of(8), SampleStreams(4, 3)).x.to_vector<float>() != together);
  CHECK(data.batch(all_of(8), SampleStreams(5, 2)).x.to_vector<float>() != together);
  const ImageDataset plain(images(8, 1, 9, 9));
  CHECK(data.batch(all_of(8)).x.to_vector<float>() == plain.batch(all_of(8)).x.to_vector<float>());
  // The data set's own tensors stay as they are.
  const Tensor x = ones({2, 1, 3, 3}), y = zeros({2});
  AugmentedDataset(TensorDataset(x, y), {.cutout = 3}).batch(all_of(2), streams);
  CHECK(x.to_vector<float>() == std::vector<float>(18, 1));
  // One inside another draws on its own: two crops by one pixel reach two.
  const AugmentedDataset twice(
      AugmentedDataset(ImageDataset(images(300, 1, 7, 7)), {.crop_padding = 1}),
      {.crop_padding = 1});
  std::set<int> centres;
  const Batch b = twice.batch(all_of(300), streams);
  for (int64_t i = 0; i < 300; ++i) centres.insert(byte_of(b.x, i, 0, 3, 3));
  CHECK(centres.size() == 25);
}

TEST_CASE("a loader repeats the augmentation at any thread count and after a resume") {
  const auto data = std::make_shared<const AugmentedDataset>(
      ImageDataset(images(10, 1, 6, 6)),
      AugmentOptions{.crop_padding = 2, .flip = 0.5, .cutout = 2});
  using Seen = std::pair<std::vector<int64_t>, std::vector<float>>;
  const auto seen = [](const Batch& b) {
    return Seen{b.y.to_vector<int64_t>(), b.x.to_vector<float>()};
  };
  std::vector<std::vector<Seen>> runs;
  for (const int prefetch : {0, 3}) {
    const ThreadLimit threads(prefetch + 1);
    Rng rng(6);
    DataLoader loader(data, rng, {.batch_size = 4, .prefetch = prefetch});
    std::vector<Seen>& run = runs.emplace_back();
    std::vector<DataLoader::State> states{loader.state()};
    for (int e = 0; e < 3; ++e)
      for (const Batch& b : loader) {
        run.push_back(seen(b));
        states.push_back(loader.state());
      }
    CHECK(run == runs[0]);
    for (size_t stop = 0; stop < run.size(); ++stop) {
      Rng other(1);
      DataLoader resumed(data, other, {.batch_size = 4, .prefetch = 3 - prefetch});
      resumed.set_state(states[stop]);
      size_t at = stop;
      for (int64_t e = states[stop].epoch; e < 3; ++e)
        for (const Batch& b : resumed) REQUIRE(seen(b) == run.at(at++));
      CHECK(at == run.size());
    }
  }
}

TEST_CASE("an augmentation hands the mask on") {
  struct Masked : Dataset {
    int64_t size() const override { return 2; }
    Batch batch(std::span<const int64_t> i) const override {
      const int64_t n = static_cast<int64_t>(i.size());
      return {ones({n, 1, 2, 2}), zeros({n}), ones({n, 2}, DType::boolean)};
    }
  };
  const Batch b = AugmentedDataset(Masked(), {.flip = 1}).batch(all_of(2), SampleStreams(1, 0));
  REQUIRE(b.mask.defined());
  CHECK(b.mask.shape() == Shape{2, 2});
}
