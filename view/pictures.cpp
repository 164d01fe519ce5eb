#include <loupe/autograd/ops.h>
#include <loupe/autograd/watch.h>
#include <loupe/core/error.h>
#include <loupe/layers/state.h>
#include <loupe/view/pictures.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

namespace loupe {
namespace {

using Colour = std::array<uint8_t, 3>;
constexpr uint8_t kGrey = 128;  // between tiles
constexpr Colour kWhite{255, 255, 255}, kBlue{33, 102, 172}, kOrange{210, 105, 20},
    kDark{8, 48, 107};

// From `a` (share 0) to `b` (share 1).
Colour between(const Colour& a, const Colour& b, double share) {
  Colour c;
  for (size_t i = 0; i < c.size(); ++i)
    c[i] = static_cast<uint8_t>(std::lround(a[i] + share * (b[i] - a[i])));
  return c;
}

void check(const char* op, const TilesOptions& o) {
  if (o.columns < 0 || o.zoom < 1 || o.gap < 0)
    fail<ValueError>("{}: needs columns >= 0, zoom >= 1 and gap >= 0, got {}, {} and {}", op,
                     o.columns, o.zoom, o.gap);
}

int64_t rounded_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The grid of `count` tiles of h x w pixels, filled with grey.
class Tiles {
 public:
  Tiles(int64_t count, int64_t h, int64_t w, int64_t channels, const TilesOptions& o)
      : zoom_(o.zoom),
        gap_(o.gap),
        height_(h * o.zoom + o.gap),
        width_(w * o.zoom + o.gap),
        channels_(channels) {
    const int64_t square = std::llround(std::ceil(std::sqrt(static_cast<double>(count))));
    columns_ = std::max<int64_t>(1, o.columns > 0 ? o.columns : square);
    const int64_t rows = std::max<int64_t>(1, rounded_up(count, columns_));
    picture_ = full({rows * height_, columns_ * width_, channels}, kGrey, DType::u8);
    pixels_ = picture_.data<uint8_t>().data();
  }

  // The pixel (y, x) of a tile; `colour` has as many numbers as the picture has channels.
  void set(int64_t tile, int64_t y, int64_t x, const uint8_t* colour) {
    const int64_t top = tile / columns_ * height_ + gap_ / 2 + y * zoom_,
                  left = tile % columns_ * width_ + gap_ / 2 + x * zoom_;
    for (int64_t row = top; row < top + zoom_; ++row)
      for (int64_t column = left; column < left + zoom_; ++column)
        std::copy_n(colour, channels_, pixels_ + (row * columns_ * width_ + column) * channels_);
  }

  const Tensor& picture() const { return picture_; }

 private:
  int64_t zoom_, gap_, height_, width_, channels_, columns_ = 1;
  Tensor picture_;
  uint8_t* pixels_ = nullptr;
};

// Values of a tensor as a plain vector, in logical order.
std::vector<double> values_of(const Tensor& t) {
  return t.detach().to(DType::f64).to_vector<double>();
}

// The largest finite magnitude; 1 where there is none.
double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double v : values)
    if (std::isfinite(v)) most = std::max(most, std::abs(v));
  return most > 0 ? most : 1;
}

// Blue below 0, white at 0, orange above; NaN is black.
Colour signed_colour(double share) {
  if (std::isnan(share)) return {0, 0, 0};
  return between(kWhite, share < 0 ? kBlue : kOrange, std::min(1.0, std::abs(share)));
}

Tensor coloured_filters(const Tensor& w, const TilesOptions& o) {
  const std::vector<double> v = values_of(w);
  const double scale = largest(v);
  const int64_t out = w.size(0), h = w.size(2), width = w.size(3), plane = h * width;
  Tiles tiles(out, h, width, 3, o);
  for (int64_t i = 0; i < out; ++i)
    for (int64_t p = 0; p < plane; ++p) {
      Colour colour;
      for (int64_t c = 0; c < 3; ++c) {
        const double share = v[static_cast<size_t>((i * 3 + c) * plane + p)] / scale;
        colour[static_cast<size_t>(c)] = static_cast<uint8_t>(
            std::isnan(share) ? 0 : std::lround(127.5 + 127.5 * std::clamp(share, -1.0, 1.0)));
      }
      tiles.set(i, p / width, p % width, colour.data());
    }
  return tiles.picture();
}

// Keeps the records of all ops; which of them are attention is known once they have returned.
class OpsOf final : public Watch {
 public:
  void forward(const OpRun& run) override { nodes.push_back(run.node); }
  std::vector<std::shared_ptr<Node>> nodes;
};

// The weights of an attention, from what its op saved; nothing for another op.
std::optional<Tensor> weights_of(const Node& node) {
  const std::string_view name = node.name();
  if (name != "self_attention" && name != "scaled_dot_product_attention") return std::nullopt;
  AttentionOptions options;
  int64_t heads = 0;
  for (const auto& [key, value] : node.attributes()) {
    const std::string_view k = key;
    if (k == "scale") options.scale = std::get<double>(value);
    else if (k == "causal") options.is_causal = std::get<bool>(value);
    else if (k == "mask") options.attn_mask = std::get<Tensor>(value);
    else if (k == "heads") heads = std::get<int64_t>(value);
  }
  std::vector<Tensor> qkv;
  for (const SavedTensor* saved : node.saved()) {
    if (qkv.size() < 3 && saved->peek().defined()) qkv.push_back(saved->peek().detach());
    if (heads > 0) break;  // one tensor holds all three
  }
  if (heads > 0) {
    const Tensor packed = qkv.at(0);
    const int64_t b = packed.size(0), t = packed.size(1), e = packed.size(2) / 3;
    qkv.clear();
    for (int64_t i = 0; i < 3; ++i)
      qkv.push_back(
          packed.slice(2, i * e, (i + 1) * e).reshape({b, t, heads, e / heads}).transpose(1, 2));
  }
  Tensor w = attention_with_weights(qkv.at(0), qkv.at(1), qkv.at(2), options).weights;
  const int64_t queries = w.size(-2), keys = w.size(-1);
  if (w.dim() == 2) w = w.unsqueeze(0);
  if (w.dim() == 3) w = w.unsqueeze(0);
  return w.dim() == 4 ? w : w.reshape({-1, w.size(-3), queries, keys});
}

// A hook that is taken off again.
class HookOn : Pinned {
 public:
  HookOn(Module& module, const ForwardHook& hook) : handle_(module.add_forward_hook(hook)) {}
  ~HookOn() { handle_.remove(); }

 private:
  HookHandle handle_;
};

// The answers (n, units): the largest over the positions.
Tensor answers_of(const Tensor& output, const std::string& path) {
  if (output.dim() < 2)
    fail<ShapeError>("liked_images: the output of {} is {}; it needs (n, units, ...)", path,
                     output.shape());
  return max(output.reshape({output.size(0), output.size(1), -1}), {2});
}

// The `count` largest of column `unit` of the answers (n, units).
std::vector<LikedImage> strongest(const std::vector<double>& answers, size_t units, size_t unit,
                                  size_t count) {
  std::vector<LikedImage> all;
  for (size_t i = unit; i < answers.size(); i += units)
    all.push_back({static_cast<int64_t>(i / units), answers[i]});
  const size_t kept = std::min(count, all.size());
  const auto stronger = [](const LikedImage& a, const LikedImage& b) {
    return a.value > b.value || (a.value == b.value && a.index < b.index);
  };
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end(),
                    stronger);
  all.resize(kept);
  return all;
}

}  // namespace

Tensor picture_of_images(const Tensor& images, const TilesOptions& o) {
  check("picture_of_images", o);
  if (images.dtype() != DType::u8)
    fail<DtypeError>("picture_of_images: needs u8, got {}", images.dtype());
  if (images.dim() != 4 || (images.size(1) != 1 && images.size(1) != 3))
    fail<ShapeError>("picture_of_images: needs (n, 1 or 3, h, w), got {}", images.shape());
  const int64_t n = images.size(0), c = images.size(1), h = images.size(2), w = images.size(3);
  const Tensor by_pixel = contiguous(images.permute({0, 2, 3, 1}));
  const auto pixels = by_pixel.data<uint8_t>();
  Tiles tiles(n, h, w, c, o);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t p = 0; p < h * w; ++p)
      tiles.set(i, p / w, p % w, &pixels[static_cast<size_t>((i * h * w + p) * c)]);
  return tiles.picture();
}

Tensor picture_of_filters(const Tensor& weight, const TilesOptions& options) {
  check("picture_of_filters", options);
  if (weight.dim() != 3 && weight.dim() != 4)
    fail<ShapeError>("picture_of_filters: needs (out, in, kh, kw) or (out, in, k), got {}",
                     weight.shape());
  const Tensor w = weight.dim() == 4 ? weight.detach() : weight.detach().unsqueeze(2);
  const int64_t out = w.size(0), in = w.size(1), h = w.size(2), width = w.size(3);
  if (in == 3) return coloured_filters(w, options);
  TilesOptions o = options;
  if (in > 1) o.columns = in;
  const std::vector<double> v = values_of(w);
  const double scale = largest(v);
  Tiles tiles(out * in, h, width, 3, o);
  for (int64_t i = 0; i < out * in; ++i)
    for (int64_t p = 0; p < h * width; ++p) {
      const Colour c = signed_colour(v[static_cast<size_t>(i * h * width + p)] / scale);
      tiles.set(i, p / width, p % width, c.data());
    }
  return tiles.picture();
}

std::vector<AttentionMap> attention_maps(const std::function<void()>& forward) {
  if (!forward) fail<ValueError>("attention_maps: the function is empty");
  const NoGrad off;
  std::vector<std::shared_ptr<Node>> nodes;
  {
    OpsOf ops;
    forward();
    nodes = std::move(ops.nodes);
  }
  std::vector<AttentionMap> maps;
  for (const auto& node : nodes)
    if (std::optional<Tensor> weights = weights_of(*node))
      maps.push_back({node->module_path(), *std::move(weights)});
  return maps;
}

Tensor picture_of_attention(const Tensor& weights, const TilesOptions& options) {
  check("picture_of_attention", options);
  if (weights.dim() != 3)
    fail<ShapeError>(
        "picture_of_attention: needs (heads, queries, keys), got {}; one sample of "
        "(batch, heads, queries, keys) is weights[0]",
        weights.shape());
  const int64_t heads = weights.size(0), queries = weights.size(1), keys = weights.size(2);
  const std::vector<double> v = values_of(weights);
  Tiles tiles(heads, queries, keys, 3, options);
  for (int64_t row = 0; row < heads * queries; ++row) {
    const auto begin = v.begin() + row * keys;
    const double most = keys > 0 ? *std::max_element(begin, begin + keys) : 0;
    for (int64_t key = 0; key < keys; ++key) {
      const double share = most > 0 ? begin[key] / most : 0;
      tiles.set(row / queries, row % queries, key, between(kWhite, kDark, share).data());
    }
  }
  return tiles.picture();
}

std::vector<std::vector<LikedImage>> liked_images(Module& model, const std::string& path,
                                                  const Tensor& x, int64_t count,
                                                  int64_t batch_size) {
  if (count < 1 || batch_size < 1)
    fail<ValueError>("liked_images: needs count >= 1 and batch_size >= 1, got {} and {}", count,
                     batch_size);
  Module* part = nullptr;
  for (const auto& [name, module] : named_modules(model))
    if (name == path) part = module;
  if (!part) fail<ValueError>("liked_images: the model has no module \"{}\"", path);
  std::vector<Tensor> answers;
  const HookOn hook(*part, [&](Module&, const Tensor&, const Tensor& output) {
    answers.push_back(answers_of(output, path));
  });
  const NoGrad off;
  const EvalScope mode(model);
  for (int64_t i = 0; i < x.size(0); i += batch_size)
    model.call(x.slice(0, i, std::min(x.size(0), i + batch_size)));
  const Tensor all = answers.empty() ? Tensor() : cat(answers, 0);
  if (!all.defined() || all.size(0) != x.size(0))
    fail<ValueError>("liked_images: {} gave {} outputs for {} inputs; it must run once a batch",
                     path, all.defined() ? all.size(0) : 0, x.size(0));
  const std::vector<double> values = values_of(all);
  std::vector<std::vector<LikedImage>> liked;
  for (int64_t unit = 0; unit < all.size(1); ++unit)
    liked.push_back(strongest(values, static_cast<size_t>(all.size(1)), static_cast<size_t>(unit),
                              static_cast<size_t>(count)));
  return liked;
}

}  // namespace loupe
