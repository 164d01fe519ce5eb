#include <loupe/core/raw.h>
#include <loupe/io/augment.h>

#include <algorithm>
#include <cmath>

namespace loupe {
namespace {

/// What one image goes through.
struct Change {
  int64_t down = 0, right = 0;  // how far the window moves
  bool flip = false;
  int64_t top = 0, bottom = 0, left = 0, first_right = 0;  // the square that is cut out
};

// Draws as many numbers whatever the options are, so that one of them changes nothing but its own.
Change draw(const AugmentOptions& o, Rng rng, int64_t height, int64_t width) {
  Change c;
  c.down = rng.integer(-o.crop_padding, o.crop_padding + 1);
  c.right = rng.integer(-o.crop_padding, o.crop_padding + 1);
  c.flip = rng.uniform() < o.flip;
  const int64_t y = rng.integer(0, height), x = rng.integer(0, width);
  c.top = std::max<int64_t>(0, y - o.cutout / 2);
  c.left = std::max<int64_t>(0, x - o.cutout / 2);
  c.bottom = std::min(height, y - o.cutout / 2 + o.cutout);
  c.first_right = std::min(width, x - o.cutout / 2 + o.cutout);
  return c;
}

/// One channel of one image: distances of rows and of pixels.
template <class T> struct Plane {
  const T* from;
  T* to;
  int64_t height, width, row, pixel;
};

template <class T> void apply(const Plane<T>& p, const Change& c, T fill, T mean, T std) {
  for (int64_t y = 0; y < p.height; ++y) {
    const int64_t source_y = y + c.down;
    const bool row_there = source_y >= 0 && source_y < p.height;
    const bool row_cut = y >= c.top && y < c.bottom;
    for (int64_t x = 0; x < p.width; ++x) {
      const int64_t source_x = (c.flip ? p.width - 1 - x : x) + c.right;
      const bool there = row_there && source_x >= 0 && source_x < p.width;
      const bool cut = row_cut && x >= c.left && x < c.first_right;
      const T value = there && !cut ? p.from[source_y * p.row + source_x * p.pixel] : fill;
      p.to[y * p.row + x * p.pixel] = (value - mean) / std;
    }
  }
}

void check_numbers(const char* what, const std::vector<double>& numbers) {
  for (const double v : numbers)
    if (!std::isfinite(v))
      fail<ValueError>("AugmentedDataset: a {} of {}, expected a number", what, v);
}

double of_channel(const std::vector<double>& numbers, int64_t channel, double otherwise) {
  if (numbers.empty()) return otherwise;
  return numbers[numbers.size() == 1 ? 0 : static_cast<size_t>(channel)];
}

void check_images(const char* who, const Tensor& x, const AugmentOptions& o) {
  if (x.dim() != 4) fail<ShapeError>("{}: expected images (B, C, H, W), got {}", who, x.shape());
  if (!is_floating(x.dtype()))
    fail<DtypeError>("{}: expected images of f32 or f64, got {}", who, x.dtype());
  for (const auto* numbers : {&o.fill, &o.mean})
    if (numbers->size() > 1 && static_cast<int64_t>(numbers->size()) != x.size(1))
      fail<ShapeError>("{}: {} numbers for {} channels", who, numbers->size(), x.size(1));
}

// The images, each after its change_of(image).
template <class ChangeOf>
Tensor changed_images(const Tensor& x, const AugmentOptions& o, const ChangeOf& change_of) {
  const int64_t images = x.size(0), channels = x.size(1), height = x.size(2), width = x.size(3);
  const bool channels_last = channels > 1 && raw::is_channels_last(x);
  const Tensor from = channels_last ? x : raw::row_major(x);
  const Tensor to = channels_last ? raw::empty_channels_last(from.shape(), from.dtype())
                                  : raw::empty(from.shape(), from.dtype());
  const int64_t image = channels * height * width;
  if (image == 0) return to;
  const int64_t pixel = channels_last ? channels : 1, channel = channels_last ? 1 : height * width;
  dispatch(from.dtype(), [&]<class T>(Type<T>) {
    if constexpr (std::is_floating_point_v<T>) {
      for (int64_t i = 0; i < images; ++i) {
        const Change change = change_of(i);
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t at = i * image + c * channel;
          const Plane<T> plane{
              from.ptr<T>() + at, to.ptr<T>() + at, height, width, width * pixel, pixel};
          apply(plane, change, static_cast<T>(of_channel(o.fill, c, 0)),
                static_cast<T>(of_channel(o.mean, c, 0)), static_cast<T>(of_channel(o.std, c, 1)));
        }
      }
    }
  });
  return to;
}

}  // namespace

AugmentedDataset::AugmentedDataset(std::shared_ptr<const Dataset> data, AugmentOptions options)
    : data_(std::move(data)), options_(std::move(options)) {
  const AugmentOptions& o = options_;
  if (!data_) fail<ValueError>("AugmentedDataset: no data set");
  constexpr int64_t kMost = 1 << 20;
  if (o.crop_padding < 0 || o.cutout < 0 || o.crop_padding > kMost || o.cutout > kMost)
    fail<ValueError>("AugmentedDataset: crop_padding {} and cutout {}, expected 0 to {} pixels",
                     o.crop_padding, o.cutout, kMost);
  if (!(o.flip >= 0 && o.flip <= 1))
    fail<ValueError>("AugmentedDataset: flip is {}, expected a probability from 0 to 1", o.flip);
  check_numbers("fill", o.fill);
  check_numbers("mean", o.mean);
  check_numbers("std", o.std);
  if (o.mean.size() != o.std.size())
    fail<ValueError>("AugmentedDataset: {} means and {} deviations", o.mean.size(), o.std.size());
  for (const double std : o.std)
    if (!(std > 0))
      fail<ValueError>("AugmentedDataset: a deviation of {}, expected one above 0", std);
}

Batch AugmentedDataset::batch(std::span<const int64_t> indices) const {
  if (options_.mean.empty()) return data_->batch(indices);
  return changed(indices, nullptr);
}

Batch AugmentedDataset::batch(std::span<const int64_t> indices,
                              const SampleStreams& streams) const {
  return changed(indices, &streams);
}

Batch AugmentedDataset::changed(std::span<const int64_t> indices,
                                const SampleStreams* streams) const {
  Batch b = streams ? data_->batch(indices, streams->inner()) : data_->batch(indices);
  check_images("AugmentedDataset", b.x, options_);
  const int64_t height = b.x.size(2), width = b.x.size(3);
  b.x = changed_images(b.x, options_, [&](int64_t image) {
    return streams
               ? draw(options_, streams->rng(indices[static_cast<size_t>(image)]), height, width)
               : Change{};
  });
  return b;
}

std::vector<Tensor> test_views(const Tensor& x, const AugmentOptions& options) {
  check_images("test_views", x, options);
  AugmentOptions o = options;
  o.mean.clear();
  o.std.clear();
  std::vector<Change> changes = {{}};
  if (o.crop_padding > 0) changes = {{}, {.down = -1}, {.down = 1}, {.right = -1}, {.right = 1}};
  std::vector<Tensor> views;
  for (const bool mirrored : {false, true}) {
    if (mirrored && o.flip == 0) break;
    for (Change change : changes) {
      change.flip = mirrored;
      views.push_back(changed_images(x, o, [&](int64_t) { return change; }));
    }
  }
  return views;
}

}  // namespace loupe
