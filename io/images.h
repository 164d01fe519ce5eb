#pragma once
// Labelled image sets from their original files: Fashion-MNIST, MNIST, CIFAR-10.
#include <loupe/core/tensor.h>

#include <string>
#include <vector>

namespace loupe {

struct ImageSet {
  Tensor images;  // u8 (n, c, h, w)
  Tensor labels;  // i64 (n)
  std::vector<std::string> classes;
  std::vector<double> mean,
      std;  // per channel, of the training pixels / 255: what a network's input is normalised by

  int64_t size() const { return labels.size(0); }
  /// Images first <= i < last as views. IndexError outside.
  ImageSet part(int64_t first, int64_t last) const;
};

struct ImageData {
  std::string name, path;  // "fashion-mnist" and the folder
  std::string
      sha256;  // of the files, in the order train images, train labels, test images, test labels
  ImageSet train, test;
};

/// Where Debian's package dataset-fashion-mnist puts its files.
inline constexpr const char* kFashionMnistPath = "/usr/share/datasets/fashion-mnist";

/// `name` is fashion-mnist, mnist or cifar10; `folder` may be empty for fashion-mnist. Files may be
/// gzip-compressed or not. IoError if a file is missing (with how to get it), damaged,
/// of another image size, or if counts differ or a label is not below 10; ValueError for another
/// name.
ImageData load_images(const std::string& name, const std::string& folder = "");

}  // namespace loupe
