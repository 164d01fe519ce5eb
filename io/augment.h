#pragma once
// Augmentation: a data set of images whose every pass shows them changed a little.
#include <loupe/io/dataset.h>

#include <concepts>
#include <memory>
#include <vector>

namespace loupe {

/// What is done to an image, in this order. Everything is off by default.
struct AugmentOptions {
  /// torchvision's RandomCrop(size, padding): so many pixels of `fill` on every side, then a window
  /// of the image's size at a random place.
  int64_t crop_padding = 0;
  /// Probability that left and right are swapped: torchvision's RandomHorizontalFlip.
  double flip = 0;
  /// Side of a square that becomes `fill`, its centre anywhere in the image, so that a part of it
  /// may lie outside (DeVries & Taylor, "Improved regularization of convolutional neural networks
  /// with cutout", 2017).
  int64_t cutout = 0;
  /// The value of a pixel that is not there, in each channel: one number, or one a channel.
  std::vector<double> fill = {0};
  /// (pixel - mean) / std by channel, last: torchvision's Normalize. Empty: not done.
  std::vector<double> mean = {}, std = {};
};

/// Test-time augmentation: the images x (B, C, H, W) as they are and moved by one pixel down, up,
/// right and left, in this order (pixels that come in are `fill`), then the same mirrored where
/// flip > 0: 10 views, or 5. With crop_padding 0 they are not moved: 2 views, or 1. mean and std
/// are not used. The mean of a model's probabilities over the views of an image errs less than one
/// view (Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
/// networks", 2012, section 4.1). ShapeError and DtypeError as AugmentedDataset's.
std::vector<Tensor> test_views(const Tensor& x, const AugmentOptions& options);

/// Another data set's images x (B, C, H, W), f32 or f64, changed at random. A sample's changes are
/// a function of (seed, epoch, index): the same at any batch size and thread count, and after a
/// resume. Labels and mask stay.
///
///   DataLoader loader(AugmentedDataset(ImageDataset(set), {.crop_padding = 2, .flip = 0.5}), rng);
class AugmentedDataset : public Dataset {
 public:
  /// ValueError for a negative size, a probability outside [0, 1], a deviation that is not above 0,
  /// a number that is not finite, and if mean and std have different lengths.
  AugmentedDataset(std::shared_ptr<const Dataset> data, AugmentOptions options);
  /// The same with a data set by value.
  template <std::derived_from<Dataset> Data>
  AugmentedDataset(Data data, AugmentOptions options)
      : AugmentedDataset(std::make_shared<const Data>(std::move(data)), std::move(options)) {}

  int64_t size() const override { return data_->size(); }
  /// The images as they are, only normalised.
  Batch batch(std::span<const int64_t> indices) const override;
  /// The images changed. ShapeError unless x is (B, C, H, W) with as many channels as numbers were
  /// given; DtypeError unless it is f32 or f64.
  Batch batch(std::span<const int64_t> indices, const SampleStreams& streams) const override;
  const AugmentOptions& options() const { return options_; }

 private:
  Batch changed(std::span<const int64_t> indices, const SampleStreams* streams) const;

  std::shared_ptr<const Dataset> data_;
  AugmentOptions options_;
};

}  // namespace loupe
