#pragma once
// Data sets: sample indices in, a batch of tensors out. The loader (io/loader.h) calls them from
// its own thread.
#include <loupe/core/random.h>
#include <loupe/core/tensor.h>
#include <loupe/io/images.h>

#include <cstdint>
#include <span>
#include <vector>

namespace loupe {

struct Batch {
  Tensor x, y;
  Tensor
      mask;  // bool, true where x is data and not padding; undefined where nothing is ever padded
  int64_t size() const { return x.size(0); }
};

/// The random streams of one pass over a data set. That of a sample is a function of (seed, epoch,
/// index) alone: not of the batch it is in, the thread that makes it or a resume of the training.
class SampleStreams {
 public:
  SampleStreams(uint64_t seed, int64_t epoch);
  /// The stream of sample `index`, from its start.
  Rng rng(int64_t index) const;
  /// Other streams. A data set that draws and wraps another one gives these to it, so that the two
  /// do not draw the same numbers.
  SampleStreams inner() const;

 private:
  SampleStreams() = default;
  uint64_t key_ = 0;  // of the seed and the epoch
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  /// Number of samples.
  virtual int64_t size() const = 0;
  /// The samples at `indices`, each in [0, size()), collated. Must be safe to call from several
  /// threads.
  virtual Batch batch(std::span<const int64_t> indices) const = 0;
  /// The same as a loader asks for them in training. A data set that draws at random (an
  /// augmentation: see io/augment.h) overrides this one and draws sample i from streams.rng(i); the
  /// others give what they always give.
  virtual Batch batch(std::span<const int64_t> indices, const SampleStreams& streams) const {
    (void)streams;
    return batch(indices);
  }
};

/// x: f32 (B, C, H, W), (pixel / 255 - mean) / std, channels-last memory where C > 1; y: i64 (B)
/// labels.
class ImageDataset : public Dataset {
 public:
  /// ShapeError unless images are u8 (n, c, h, w) with n labels and as many means and deviations as
  /// channels; IndexError for a negative label, or one beyond the classes where the set names them;
  /// ValueError for a mean that is not finite or a deviation that is not above 0.
  explicit ImageDataset(ImageSet set);
  int64_t size() const override { return set_.size(); }
  Batch batch(std::span<const int64_t> indices) const override;
  const ImageSet& set() const { return set_; }

 private:
  ImageSet set_;
  std::vector<float> value_;  // (c, 256): the input for each byte
};

/// Rows of tensors of any type: x (n, ...), y (n, ...).
class TensorDataset : public Dataset {
 public:
  /// ShapeError if the first sizes differ; ValueError if x or y holds a NaN or an infinity (named
  /// by sample).
  TensorDataset(const Tensor& x, const Tensor& y);
  int64_t size() const override { return x_.size(0); }
  Batch batch(std::span<const int64_t> indices) const override;

 private:
  Tensor x_, y_;
};

/// Windows of a text: x = ids[s, s + context), y = the same one further, both i64 (B, context), for
/// s = 0, stride, ... With pad_last a last window covers what a whole one does not reach: its x is
/// padded with 0 and its y with -100, the index that cross_entropy ignores, so that every id but
/// the first is predicted exactly once at stride = context. With a stride above context the ids
/// between two windows are not predicted.
class TextDataset : public Dataset {
 public:
  struct Options {
    int64_t context = 64;
    int64_t stride = 1;
    bool pad_last = false;
  };
  /// ValueError if context or stride is below 1 or the text has fewer than context + 1 ids (2 with
  /// pad_last).
  TextDataset(std::span<const int32_t> ids, const Options& options);
  int64_t size() const override { return size_; }
  Batch batch(std::span<const int64_t> indices) const override;

 private:
  std::vector<int32_t> ids_;
  Options options_;
  int64_t size_;
};

/// A generated task of variable length: n ~ U(shortest, longest) random bits; are there more zeros
/// than ones among them? x: i64 (B, T) with T the batch's longest, padded with 2; mask: bool (B,
/// T); y: i64 (B). Sample i is a function of (seed, i) alone.
class CountTask : public Dataset {
 public:
  CountTask(uint64_t seed, int64_t size, int64_t shortest = 4, int64_t longest = 32);
  int64_t size() const override { return size_; }
  Batch batch(std::span<const int64_t> indices) const override;

 private:
  uint64_t seed_;
  int64_t size_, shortest_, longest_;
};

/// Independent fair bits: x, y: i64 (B, T), y[t] = x[t + 1]. Nothing can be learned: the loss
/// cannot fall below ln 2 unless the network sees what it should predict. Sample i is a function of
/// (seed, i) alone.
class RandomBits : public Dataset {
 public:
  RandomBits(uint64_t seed, int64_t size, int64_t length);
  int64_t size() const override { return size_; }
  Batch batch(std::span<const int64_t> indices) const override;

 private:
  uint64_t seed_;
  int64_t size_, length_;
};

/// Sequences of different lengths as one tensor i64 (B, longest), the rest filled with `pad`; mask:
/// bool, true on data.
Batch pad_sequences(const std::vector<std::vector<int64_t>>& sequences, int64_t pad);

}  // namespace loupe
