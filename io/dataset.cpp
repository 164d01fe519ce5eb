#include <loupe/core/raw.h>
#include <loupe/io/dataset.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace loupe {
namespace {

void check_indices(std::span<const int64_t> indices, int64_t size, const char* who) {
  for (const int64_t i : indices)
    if (i < 0 || i >= size) fail<IndexError>("{}: sample {} of {}", who, i, size);
}

int64_t count(std::span<const int64_t> indices) { return static_cast<int64_t>(indices.size()); }

/// The rows of a row-major tensor.
Tensor gather_rows(const Tensor& t, std::span<const int64_t> indices) {
  Shape shape = t.shape();
  shape[0] = count(indices);
  Tensor out = raw::empty(shape, t.dtype());
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    const size_t row = static_cast<size_t>(t.numel() / std::max<int64_t>(t.size(0), 1));
    for (size_t b = 0; b < indices.size(); ++b)
      std::memcpy(out.ptr<T>() + b * row, t.ptr<T>() + static_cast<size_t>(indices[b]) * row,
                  row * sizeof(T));
  });
  return out;
}

/// The generator of sample i: streams of one seed, 2^20 blocks apart.
Rng sample_rng(uint64_t seed, int64_t i) {
  Rng rng(seed);
  rng.set_state({seed, static_cast<uint64_t>(i) << 20});
  return rng;
}

uint64_t derived_key(uint64_t key, uint64_t what) {
  const auto words = philox(key, what);
  return uint64_t{words[1]} << 32 | words[0];
}

}  // namespace

// From the far end of the counters: the near one is where a loader draws its orders.
SampleStreams::SampleStreams(uint64_t seed, int64_t epoch)
    : key_(derived_key(seed, ~static_cast<uint64_t>(epoch))) {}

SampleStreams SampleStreams::inner() const {
  SampleStreams s;
  s.key_ = derived_key(key_, ~uint64_t{0});
  return s;
}

Rng SampleStreams::rng(int64_t index) const { return sample_rng(key_, index); }

ImageDataset::ImageDataset(ImageSet set) : set_(std::move(set)) {
  const Tensor& x = set_.images;
  if (x.dtype() != DType::u8 || x.dim() != 4 || set_.labels.dtype() != DType::i64 ||
      set_.labels.shape() != Shape{x.size(0)})
    fail<ShapeError>(
        "ImageDataset: expected u8 images (n, c, h, w) and n i64 labels, got {} {} and {} {}",
        x.dtype(), x.shape(), set_.labels.dtype(), set_.labels.shape());
  const auto c = static_cast<size_t>(x.size(1));
  if (set_.mean.size() != c || set_.std.size() != c)
    fail<ShapeError>("ImageDataset: {} means and {} deviations for {} channels", set_.mean.size(),
                     set_.std.size(), c);
  for (size_t i = 0; i < c; ++i)
    if (!std::isfinite(set_.mean[i]) || !(set_.std[i] > 0))
      fail<ValueError>(
          "ImageDataset: channel {} has mean {} and deviation {}; expected a number and one above "
          "0",
          i, set_.mean[i], set_.std[i]);
  set_.images = raw::row_major(x);
  set_.labels = raw::row_major(set_.labels);
  const int64_t classes = static_cast<int64_t>(set_.classes.size());
  for (const int64_t label : set_.labels.data<int64_t>())
    if (label < 0 || (classes > 0 && label >= classes))
      fail<IndexError>("ImageDataset: label {} among {} classes", label, classes);
  for (size_t channel = 0; channel < c; ++channel)
    for (int v = 0; v < 256; ++v)
      value_.push_back(static_cast<float>((v / 255.0 - set_.mean[channel]) / set_.std[channel]));
}

Batch ImageDataset::batch(std::span<const int64_t> indices) const {
  check_indices(indices, size(), "ImageDataset::batch");
  const int64_t c = set_.images.size(1), h = set_.images.size(2), w = set_.images.size(3),
                pixels = h * w;
  const Shape shape = {count(indices), c, h, w};
  Batch out{c > 1 ? raw::empty_channels_last(shape, DType::f32) : raw::empty(shape),
            gather_rows(set_.labels, indices),
            {}};
  const uint8_t* images = set_.images.ptr<uint8_t>();
  float* x = out.x.ptr<float>();
  for (const int64_t index : indices) {
    for (int64_t channel = 0; channel < c; ++channel) {
      const uint8_t* from = images + (index * c + channel) * pixels;
      const float* value = value_.data() + channel * 256;
      for (int64_t p = 0; p < pixels; ++p) x[p * c + channel] = value[from[p]];
    }
    x += c * pixels;
  }
  return out;
}

TensorDataset::TensorDataset(const Tensor& x, const Tensor& y)
    : x_(raw::row_major(x)), y_(raw::row_major(y)) {
  if (x.dim() < 1 || y.dim() < 1 || x.size(0) != y.size(0))
    fail<ShapeError>("TensorDataset: x {} and y {} need the same first size", x.shape(), y.shape());
  for (const auto& [t, which] : {std::pair<const Tensor&, const char*>{x_, "x"}, {y_, "y"}})
    if (is_floating(t.dtype()) && t.numel() > 0 && raw::has_nonfinite(t))
      for (int64_t i = 0; i < t.size(0); ++i)
        if (raw::has_nonfinite(raw::select(t, 0, i)))
          fail<ValueError>("TensorDataset: {} holds a NaN or an infinity in sample {}", which, i);
}

Batch TensorDataset::batch(std::span<const int64_t> indices) const {
  check_indices(indices, size(), "TensorDataset::batch");
  return {gather_rows(x_, indices), gather_rows(y_, indices), {}};
}

TextDataset::TextDataset(std::span<const int32_t> ids, const Options& o)
    : ids_(ids.begin(), ids.end()), options_(o) {
  if (o.context < 1 || o.stride < 1)
    fail<ValueError>("TextDataset: context {} and stride {} must be at least 1", o.context,
                     o.stride);
  const int64_t n = static_cast<int64_t>(ids_.size());
  const int64_t least = o.pad_last ? 2 : o.context < INT64_MAX ? o.context + 1 : o.context;
  if (n < least)
    fail<ValueError>(
        "TextDataset: a text of {} characters is too short for a context of {}: it takes at least "
        "{}",
        n, o.context, least);
  size_ = n > o.context ? (n - 1 - o.context) / o.stride + 1 : 0;
  // A further window, if it begins inside the text and something is left for it to predict.
  const int64_t reached = size_ == 0 ? 0 : (size_ - 1) * o.stride + o.context;
  if (o.pad_last && reached < n - 1 && (size_ == 0 || size_ - 1 < (n - 2) / o.stride)) ++size_;
}

Batch TextDataset::batch(std::span<const int64_t> indices) const {
  check_indices(indices, size(), "TextDataset::batch");
  const int64_t context = options_.context, n = static_cast<int64_t>(ids_.size());
  Batch out{raw::empty({count(indices), context}, DType::i64),
            raw::empty({count(indices), context}, DType::i64),
            {}};
  int64_t* x = out.x.ptr<int64_t>();
  int64_t* y = out.y.ptr<int64_t>();
  for (const int64_t index : indices) {
    const int64_t start = index * options_.stride, whole = std::min(context, n - 1 - start);
    const int32_t* from = ids_.data() + start;
    for (int64_t t = 0; t < whole; ++t) x[t] = from[t], y[t] = from[t + 1];
    for (int64_t t = whole; t < context; ++t) x[t] = 0, y[t] = -100;
    x += context, y += context;
  }
  return out;
}

CountTask::CountTask(uint64_t seed, int64_t size, int64_t shortest, int64_t longest)
    : seed_(seed), size_(size), shortest_(shortest), longest_(longest) {
  if (size < 1 || shortest < 1 || longest < shortest || longest > 1 << 20)
    fail<ValueError>("CountTask: {} samples of {} to {} bits", size, shortest, longest);
}

Batch CountTask::batch(std::span<const int64_t> indices) const {
  check_indices(indices, size_, "CountTask::batch");
  std::vector<std::vector<int64_t>> sequences;
  std::vector<int64_t> labels;
  for (const int64_t i : indices) {
    Rng rng = sample_rng(seed_, i);
    std::vector<int64_t>& bits = sequences.emplace_back(rng.integer(shortest_, longest_ + 1));
    std::vector<uint32_t> words(bits.size());
    philox_fill(seed_, rng.reserve(static_cast<int64_t>(bits.size())), words.data(),
                static_cast<int64_t>(bits.size()));
    int64_t ones = 0;
    for (size_t t = 0; t < bits.size(); ++t) ones += bits[t] = words[t] >> 31;
    labels.push_back(static_cast<int64_t>(bits.size()) - ones > ones);
  }
  Batch out = pad_sequences(sequences, 2);
  out.y = from_data(labels);
  return out;
}

RandomBits::RandomBits(uint64_t seed, int64_t size, int64_t length)
    : seed_(seed), size_(size), length_(length) {
  if (size < 1 || length < 1 || length > 1 << 20)
    fail<ValueError>("RandomBits: {} samples of {} bits", size, length);
}

Batch RandomBits::batch(std::span<const int64_t> indices) const {
  check_indices(indices, size_, "RandomBits::batch");
  const Shape shape = {count(indices), length_};
  Batch out{raw::empty(shape, DType::i64), raw::empty(shape, DType::i64), {}};
  std::vector<uint32_t> words(static_cast<size_t>(length_) + 1);
  for (int64_t b = 0; b < count(indices); ++b) {
    philox_fill(seed_, sample_rng(seed_, indices[static_cast<size_t>(b)]).reserve(length_ + 1),
                words.data(), length_ + 1);
    for (int64_t t = 0; t < length_; ++t) {
      out.x.ptr<int64_t>()[b * length_ + t] = words[static_cast<size_t>(t)] >> 31;
      out.y.ptr<int64_t>()[b * length_ + t] = words[static_cast<size_t>(t) + 1] >> 31;
    }
  }
  return out;
}

Batch pad_sequences(const std::vector<std::vector<int64_t>>& sequences, int64_t pad) {
  size_t longest = 0;
  for (const auto& s : sequences) longest = std::max(longest, s.size());
  const Shape shape = {static_cast<int64_t>(sequences.size()), static_cast<int64_t>(longest)};
  Batch out{raw::empty(shape, DType::i64), {}, raw::empty(shape, DType::boolean)};
  for (size_t b = 0; b < sequences.size(); ++b) {
    int64_t* x = out.x.ptr<int64_t>() + b * longest;
    bool* mask = out.mask.ptr<bool>() + b * longest;
    const size_t n = sequences[b].size();
    std::copy(sequences[b].begin(), sequences[b].end(), x);
    std::fill(x + n, x + longest, pad);
    std::fill(mask, mask + n, true);
    std::fill(mask + n, mask + longest, false);
  }
  return out;
}

}  // namespace loupe
