#pragma once
// Activations and gradients over the depth of a model: what each layer gives forward, and what
// comes back to it. Where they shrink or grow from layer to layer, training is slow or dies (Glorot
// and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010).
#include <loupe/layers/module.h>

#include <functional>
#include <string>
#include <vector>

namespace loupe {

/// One call of a layer.
struct LayerValues {
  std::string path;  // "blocks.0.norm1"; the model itself is ""
  std::string type;  // "LayerNorm"
  Tensor output;
  Tensor gradient;  // of the loss by the output; undefined where none came back
};

/// Runs `loss` and its backward pass, and gives the values of every layer (a module that lists no
/// other), in the order of their calls. Parameters get gradients as from backward(). Layers that
/// are fused otherwise run one by one here. ValueError if `loss` gives an undefined tensor.
std::vector<LayerValues> values_over_depth(Module& model, const std::function<Tensor()>& loss);

/// How the elements of a tensor are spread. NaN and infinite elements count in `count` and in
/// `bad`, and nowhere else. Values from 1e8 on are in the last bin.
struct Spread {
  static constexpr int kBins = 96;          // of log10 |value|: four a decade
  static constexpr double kLowest = -16.0;  // the first bin begins there; smaller values are in it
  int64_t count = 0, zeros = 0, bad = 0;
  double mean = 0, deviation = 0;  // the square root of the mean squared distance
  std::vector<int64_t> bins;       // kBins; of the values that are neither 0 nor bad
};
Spread spread_of(const Tensor& values);

/// A picture (SVG) of all layers, the first on top: on the left the histograms of log10 |output|,
/// on the right those of log10 |gradient|, on two axes for all layers; beside each the mean, the
/// deviation and the share of zeros. One file, light and dark.
std::string depth_svg(const std::vector<LayerValues>& layers, const std::string& title);

}  // namespace loupe
