#pragma once
// Pictures of a model: its filters, where its attention looks, and the images that one of its units
// answers to most. A picture is a u8 tensor (height, width, channels) with 1 channel (grey) or 3
// (RGB): io/png.h writes it to a file, and EventWriter::image shows it in TensorBoard.
#include <loupe/layers/module.h>

#include <functional>
#include <string>
#include <vector>

namespace loupe {

/// How pictures stand side by side.
struct TilesOptions {
  int64_t columns = 0;  // tiles a row; 0: about as many as rows
  int64_t zoom = 1;     // a pixel becomes a square of zoom x zoom
  int64_t gap = 2;      // pixels of grey between tiles, half of it around all
};

/// Images u8 (n, c, h, w) side by side, in rows. c is 1 or 3. ShapeError, DtypeError; ValueError
/// for an option that is out of range.
Tensor picture_of_images(const Tensor& images, const TilesOptions& options = {});

/// The filters of a convolution, weight (out, in, kh, kw) or (out, in, k). Where `in` is 3 a tile
/// is a filter in colours, grey for 0. Else a tile is one input channel of one filter, blue below
/// 0, white at 0, orange above, and a row of tiles is a filter (where `in` is 1, `columns` filters
/// a row). One scale holds for all: the largest |w| has the full colour. ShapeError for another
/// rank.
Tensor picture_of_filters(const Tensor& weight, const TilesOptions& options = {.zoom = 8});

/// What an attention looked at.
struct AttentionMap {
  std::string path;  // of the module
  Tensor weights;    // (batch, heads, queries, keys): softmax(scale q k^T + mask), before dropout
};

/// Runs `forward` without recording gradients and gives the weights of each
/// scaled_dot_product_attention and self_attention in it, in their order. Attention that a model
/// writes out of matmul and softmax is not found.
std::vector<AttentionMap> attention_maps(const std::function<void()>& forward);

/// The heads of one sample side by side: weights (heads, queries, keys), white for 0, dark blue for
/// the largest weight of its row. ShapeError for another rank.
Tensor picture_of_attention(const Tensor& weights, const TilesOptions& options = {.zoom = 4});

/// An image and a unit's answer to it.
struct LikedImage {
  int64_t index;  // of the input
  double value;
};

/// For each unit of the module at `path`, the `count` inputs to which it answers most, the
/// strongest first. The module's output is (n, units), or (n, units, ...), where the largest value
/// over the positions counts. x (n, ...) goes through the model in batches of `batch_size`, in eval
/// mode; every module's mode is as before afterwards. ValueError for a path that the model has not,
/// or a module that did not run once for each batch; ShapeError for another output.
std::vector<std::vector<LikedImage>> liked_images(Module& model, const std::string& path,
                                                  const Tensor& x, int64_t count,
                                                  int64_t batch_size = 256);

}  // namespace loupe
