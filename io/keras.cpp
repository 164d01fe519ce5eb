#include <loupe/core/raw.h>
#include <loupe/io/keras.h>

#include <algorithm>
#include <set>

namespace loupe {
namespace {

/// (H W C, out) -> (out, C H W).
Tensor dense_behind_flatten(const Tensor& kernel, const Shape& image, const std::string& name) {
  if (image.rank() != 3 || image.numel() != kernel.size(0))
    fail<ValueError>("from_keras: {} is {}, but an image (C, H, W) of {} was flattened before it",
                     name, kernel.shape(), image);
  const Tensor rows = raw::reshape(kernel, {image[1], image[2], image[0], kernel.size(1)});
  return raw::reshape(raw::permute(rows, {3, 2, 0, 1}), {kernel.size(1), kernel.size(0)});
}

Tensor kernel_of(const Tensor& t, const Shape* flattened, const std::string& name) {
  if (flattened && t.dim() != 2)
    fail<ValueError>("from_keras: a flattened shape is given for {} of shape {}, which is no Dense",
                     name, t.shape());
  switch (t.dim()) {
    case 2: return flattened ? dense_behind_flatten(t, *flattened, name) : raw::transpose(t, 0, 1);
    case 3: return raw::permute(t, {2, 1, 0});
    case 4: return raw::permute(t, {3, 2, 0, 1});
    default:
      fail<ValueError>(
          "from_keras: {} has shape {}; kernels of Dense, Conv1D and Conv2D have 2, 3 and 4 "
          "dimensions",
          name, t.shape());
  }
}

}  // namespace

StateDict from_keras(const std::map<std::string, Tensor>& arrays,
                     const std::map<std::string, Shape>& flattened) {
  static const std::map<std::string, std::string> kNames{{"kernel", "weight"},
                                                         {"bias", "bias"},
                                                         {"embeddings", "weight"},
                                                         {"gamma", "weight"},
                                                         {"scale", "weight"},
                                                         {"beta", "bias"},
                                                         {"moving_mean", "running_mean"},
                                                         {"moving_variance", "running_var"}};
  StateDict state;
  std::set<std::string> names, used;
  const auto add = [&](const std::string& name, const Tensor& t) {
    if (!names.insert(name).second) fail<ValueError>("from_keras: two variables become {}", name);
    state.push_back({name, t});
  };
  for (const auto& [path, array] : arrays) {
    const size_t slash = path.rfind('/');
    const std::string layer = slash == path.npos ? "" : path.substr(0, slash),
                      variable = slash == path.npos ? path : path.substr(slash + 1);
    const auto known = kNames.find(variable);
    if (known == kNames.end() || layer.empty())
      fail<ValueError>(
          "from_keras: no layout is known for \"{}\"; expected LAYER/ and kernel, bias, "
          "embeddings, gamma, beta, scale, "
          "moving_mean or "
          "moving_variance",
          path);
    std::string prefix = layer + ".";
    std::replace(prefix.begin(), prefix.end(), '/', '.');
    const auto shape = flattened.find(layer);
    Tensor t = array;
    if (variable == "kernel") {
      if (shape != flattened.end()) used.insert(layer);
      t = raw::row_major(
          kernel_of(array, shape == flattened.end() ? nullptr : &shape->second, path));
    }
    add(prefix + known->second, t);
    if (variable == "moving_mean") add(prefix + "num_batches_tracked", zeros({}, DType::i64));
  }
  for (const auto& [layer, image] : flattened)
    if (!used.contains(layer))
      fail<ValueError>("from_keras: no kernel of a layer \"{}\", which was to be flattened from {}",
                       layer, image);
  return state;
}

}  // namespace loupe
