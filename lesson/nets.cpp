#include <loupe/autograd/ops.h>
#include <loupe/layers/dynamic.h>
#include <loupe/layers/fused.h>
#include <loupe/layers/init.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/small_batch.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/nets.h>

#include <cmath>

namespace loupe::lesson {
namespace {

Linear linear_layer(Rng& rng, int64_t in, int64_t out, double std, bool bias) {
  Linear l(rng, in, out, {.bias = bias});
  init::normal_(l.weight, rng, 0, std);
  if (bias) init::uniform_(l.bias, rng, 0, 0);
  return l;
}

Conv2d conv_layer(Rng& rng, int64_t in, int64_t out, int64_t stride, double gain, bool bias) {
  Conv2d c(rng, in, out, {.kernel_size = 3, .stride = stride, .padding = 1, .bias = bias});
  init::normal_(c.weight, rng, 0, gain * std::sqrt(2.0 / static_cast<double>(9 * in)));
  if (bias) init::uniform_(c.bias, rng, 0, 0);
  return c;
}

double he(int64_t fan_in) { return std::sqrt(2.0 / static_cast<double>(fan_in)); }
double lecun(int64_t fan_in) { return std::sqrt(1.0 / static_cast<double>(fan_in)); }

template <class M> std::unique_ptr<Module> own(M m) { return std::make_unique<M>(std::move(m)); }

}  // namespace

Norm no_norm() { return {"none", {}}; }
Norm batch_norm() {
  return {"batch", [](int64_t c, Place p) {
            return p == Place::image ? own(BatchNorm2d(c)) : own(BatchNorm1d(c));
          }};
}
Norm masked_batch_norm() {
  Norm n = batch_norm();
  n.name = "masked batch";
  n.masked = true;
  return n;
}
Norm layer_norm() {
  return {"layer", [](int64_t c, Place p) {
            return p == Place::image ? own(GroupNorm(1, c)) : own(LayerNorm(Shape{c}));
          }};
}
Norm group_norm() {
  return {"group", [](int64_t c, Place) { return own(GroupNorm(4, c)); }};
}

Norm standardized_group_norm() {
  Norm n = group_norm();
  n.name = "group standardized";
  n.standardized = true;
  return n;
}
Norm batch_renorm() {
  return {"batch renorm", [](int64_t c, Place p) {
            return p == Place::image ? own(BatchRenorm2d(c)) : own(BatchRenorm1d(c));
          }};
}
Norm position_norm() {
  return {"position layer", [](int64_t c, Place p) {
            return own(p == Place::image ? LayerNorm(Shape{c}, {.axes = {1}}) : LayerNorm(c));
          }};
}
namespace {

// A layer of features at each position of an image: (N, C, H, W) as (N, H, W, C).
class AtPositions : public Layer<AtPositions> {
 public:
  explicit AtPositions(std::unique_ptr<Module> layer) : layer_(std::move(layer)) {}
  Tensor forward(In x) {
    return layer_->call(x->permute({0, 2, 3, 1}).contiguous()).permute({0, 3, 1, 2});
  }
  void visit(Visitor& v) override { v.child("layer", *layer_); }
  std::string type_name() const override { return "AtPositions"; }

 private:
  std::unique_ptr<Module> layer_;
};

std::unique_ptr<Module> placed(std::unique_ptr<Module> layer, Place place) {
  if (place != Place::image) return layer;
  return std::make_unique<AtPositions>(std::move(layer));
}

}  // namespace

Norm rms_norm() {
  return {"rms",
          [](int64_t c, Place p) { return placed(own(RMSNorm(Shape{c}, {.eps = 1e-5})), p); }};
}
Norm dynamic_tanh() {
  return {"dynamic tanh", [](int64_t c, Place p) { return placed(own(DynamicTanh(c)), p); }};
}
Norm dynamic_erf() {
  return {"dynamic erf", [](int64_t c, Place p) { return placed(own(DynamicErf(c)), p); }};
}

NormLayer::NormLayer(const Norm& norm, int64_t channels, Place place, int64_t group)
    : module_(norm ? norm.make(channels, place) : nullptr), place_(place), group_(group) {
  if (norm.masked) masked_ = dynamic_cast<BatchNorm1d*>(module_.get());
}

Tensor NormLayer::forward(In x, const Tensor& keep) {
  if (!module_) return x;
  if (group_ > 0 && is_training() && x->size(0) > group_) {
    std::vector<Tensor> pieces = split(x, group_);
    for (Tensor& piece : pieces) piece = one_batch(piece, Tensor());
    return cat(pieces);
  }
  return one_batch(x, keep);
}

Tensor NormLayer::one_batch(In x, const Tensor& keep) {
  const Tensor rows = x->dim() == 3 ? x->reshape({-1, x->size(-1)}) : Tensor(x);  // tokens
  const Tensor y =
      masked_ && keep.defined() ? (*masked_)(rows, keep.reshape({-1})) : module_->call(rows);
  return x->dim() == 3 ? y.reshape(x->shape()) : y;
}

void NormLayer::visit(Visitor& v) {
  if (module_) v.child("norm", *module_);
}

namespace {

WeightStandardizedConv2d with_standardized_weights(Rng& rng, const Conv2d& plain) {
  WeightStandardizedConv2d c(rng, plain.weight.size(1), plain.weight.size(0),
                             {.conv = plain.options});
  c.weight = plain.weight;
  return c;
}

// The image cut into patches of 4 x 4.
Conv2d patches(Rng& rng, int64_t channels, bool bias) {
  Conv2d c(rng, 1, channels, {.kernel_size = 4, .stride = 4, .bias = bias});
  init::normal_(c.weight, rng, 0, lecun(16));
  if (bias) init::zeros_(c.bias);
  return c;
}

Conv2d pointwise(Rng& rng, int64_t in, int64_t out, double std) {
  Conv2d c(rng, in, out, {.kernel_size = 1});
  init::normal_(c.weight, rng, 0, std);
  init::zeros_(c.bias);
  return c;
}

Conv2d depthwise_layer(Rng& rng, int64_t channels) {
  Conv2d c(rng, channels, channels,
           {.kernel_size = 7, .padding = 3, .groups = channels, .bias = false});
  init::normal_(c.weight, rng, 0, lecun(49));
  return c;
}

}  // namespace

ModernBlock::ModernBlock(Rng& rng, int64_t channels, const Norm& n)
    : depthwise(depthwise_layer(rng, channels)),
      norm(n, channels, Place::image),
      expand(pointwise(rng, channels, 4 * channels, he(channels))),
      project(pointwise(rng, 4 * channels, channels, he(4 * channels))) {}

Tensor ModernBlock::forward(In x) { return x + project(relu(expand(norm(depthwise(x))))); }

Classifier::Classifier(Rng& rng, const std::string& net, const Norm& norm, double gain,
                       int64_t group) {
  const int64_t depth = net.size() > 1 ? std::atoi(net.c_str() + 1) : 0;
  const bool bias = !norm;
  const auto conv = [&](int64_t in, int64_t channels, int64_t stride) {
    Conv2d plain = conv_layer(rng, in, channels, stride, gain, bias);
    if (norm.standardized) standardized.push_back(with_standardized_weights(rng, plain));
    else convs.push_back(std::move(plain));
    norms.push_back(NormLayer(norm, channels, Place::image, group));
  };
  const auto full = [&](int64_t in, int64_t features) {
    hidden.push_back(linear_layer(rng, in, features, gain * he(in), bias));
    norms.push_back(NormLayer(norm, features, Place::features, group));
  };
  int64_t features = 0;
  if (net[0] == 'D' && depth >= 2) {
    for (int64_t i = 0; i < depth; ++i) conv(i ? 16 : 1, 16, i < 2 ? 2 : 1);
    pool_ = true;
    features = 16;
  } else if (net == "F0" || net == "F1") {
    conv(1, 16, 2), conv(16, 32, 2), conv(32, 32, 1);
    features = 32 * 7 * 7;
    if (net == "F1") full(features, 64), features = 64;
  } else if (net == "S6") {
    conv(1, 16, 2), conv(16, 16, 1), conv(16, 32, 2), conv(32, 32, 1), conv(32, 32, 1),
        conv(32, 32, 1);
    pool_ = true;
    features = 32;
  } else if (net[0] == 'X' && depth >= 1) {
    convs.push_back(patches(rng, 32, bias));
    norms.push_back(NormLayer(norm, 32, Place::image, group));
    for (int64_t i = 0; i < depth; ++i) blocks.push_back(ModernBlock(rng, 32, norm));
    pool_ = true;
    features = 32;
  } else if (net[0] == 'M' && depth >= 2) {
    for (int64_t i = 1; i < depth; ++i) full(i == 1 ? 784 : 64, 64);
    features = 64;
  } else {
    fail<ValueError>("lesson: no network '{}'; there are D<depth>, F0, F1, S6, M<depth>, X<depth>",
                     net);
  }
  out.push_back(linear_layer(rng, features, 10, gain * lecun(features), true));
}

Tensor Classifier::forward(In x) {
  taps.clear();
  size_t n = 0;
  const auto activate = [&](const Tensor& z) {
    const Tensor a = norms[n++](z);
    if (keep_taps) taps.push_back(a);
    return relu(a);
  };
  Tensor y = x;
  if (blocks.size() > 0) y = norms[0](convs[0](y));
  else
    for (Conv2d& c : convs) y = activate(c(y));
  for (WeightStandardizedConv2d& c : standardized) y = activate(c(y));
  for (ModernBlock& b : blocks) y = b(y);
  y = pool_ ? y.mean({2, 3}) : y.flatten(1);
  for (Linear& l : hidden) y = activate(l(y));
  return out[0](y);
}

void Classifier::visit(Visitor& v) {
  v("convs", convs, "standardized", standardized, "blocks", blocks, "hidden", hidden, "norms",
    norms, "out", out[0]);
}

TransformerBlock::TransformerBlock(Rng& rng, const TransformerOptions& o, const Norm& norm)
    : norm1(norm, o.width, Place::tokens),
      qkv(linear_layer(rng, o.width, 3 * o.width, lecun(o.width), true)),
      proj(linear_layer(rng, o.width, o.width, lecun(o.width), true)),
      norm2(o.feed_norm.name.empty() ? norm : o.feed_norm, o.width, Place::tokens),
      fc1(linear_layer(rng, o.width, 4 * o.width, he(o.width), true)),
      fc2(linear_layer(rng, 4 * o.width, o.width, he(4 * o.width), true)),
      behind1(o.norm_at == NormAt::peri ? norm : no_norm(), o.width, Place::tokens),
      behind2(o.norm_at == NormAt::peri ? norm : no_norm(), o.width, Place::tokens),
      heads_(o.heads),
      causal_(o.causal),
      norm_at_(o.norm_at) {
  for (int i = 0; o.qk_norm && i < 2; ++i) qk.push_back(LayerNorm(o.width / o.heads));
  const double first = o.branches == Branches::skip_init ? 0 : 1;  // Fixup learns a factor, too
  for (int i = 0; o.branches != Branches::plain && i < 2; ++i) gains.push_back(SkipInit(first));
  if (o.branches == Branches::fixup) {
    init::fixup_({qkv.weight, proj.weight}, 2 * o.layers);
    init::fixup_({fc1.weight, fc2.weight}, 2 * o.layers);
  }
  if (!o.scaled) return;
  NoGrad guard;
  const double factor = 1 / std::sqrt(2.0 * static_cast<double>(o.layers));
  proj.weight.mul_(factor);
  fc2.weight.mul_(factor);
}

void TransformerBlock::visit(Visitor& v) {
  v("norm1", norm1, "qkv", qkv, "proj", proj, "norm2", norm2, "fc1", fc1, "fc2", fc2);
  v("behind1", behind1, "behind2", behind2);
  if (!qk.empty()) v("q_norm", qk[0], "k_norm", qk[1]);
  if (!gains.empty()) v("gain1", gains[0], "gain2", gains[1]);
}

// Queries (part 0) or keys (1), normalised if they are, or values (2): (B, heads, T, features).
Tensor TransformerBlock::heads_of(const Tensor& all, int64_t part) const {
  const int64_t b = all.size(0), t = all.size(1), width = all.size(2) / 3;
  const Tensor one = all.slice(2, part * width, (part + 1) * width)
                         .reshape({b, t, heads_, width / heads_})
                         .transpose(1, 2);
  return part < 2 && !qk.empty() ? qk[static_cast<size_t>(part)].forward(one) : one;
}

Tensor TransformerBlock::attend(In x, const Tensor& mask) {
  const Tensor all = qkv(x);
  if (watch_logits) {
    NoGrad guard;
    const Tensor q = heads_of(all, 0), k = heads_of(all, 1);
    const double root = std::sqrt(static_cast<double>(q.size(-1)));
    largest_logit = std::max(largest_logit, max(abs(matmul(q, k.transpose(2, 3)))).item() / root);
  }
  const AttentionOptions options{.attn_mask = mask, .is_causal = causal_};
  if (qk.empty()) return proj(self_attention(all, heads_, options));
  const Tensor heads =
      scaled_dot_product_attention(heads_of(all, 0), heads_of(all, 1), heads_of(all, 2), options);
  return proj(heads.transpose(1, 2).reshape(x->shape()));
}

// x and a branch of it.
Tensor TransformerBlock::added(In x, const Tensor& branch, NormLayer& norm, NormLayer& behind,
                               size_t which, const Tensor& keep) {
  const Tensor b = behind(branch, keep);
  const Tensor sum = x + (gains.empty() ? b : gains[which](b));
  return norm_at_ == NormAt::post ? norm(sum, keep) : sum;
}

Tensor TransformerBlock::feed_forward(In x) { return fc2(linear_relu(fc1, x)); }

Tensor TransformerBlock::forward(In x, const Tensor& keep) {
  const Tensor mask = keep.defined() ? keep.reshape({keep.size(0), 1, 1, keep.size(1)}) : Tensor();
  const bool post = norm_at_ == NormAt::post;
  const Tensor y =
      added(x, attend(post ? Tensor(x) : norm1(x, keep), mask), norm1, behind1, 0, keep);
  return added(y, feed_forward(post ? y : norm2(y, keep)), norm2, behind2, 1, keep);
}

Transformer::Transformer(Rng& rng, const TransformerOptions& o, const Norm& n)
    : options(o),
      embedding(rng, o.symbols, o.width),
      positions(randn(rng, {o.context, o.width})),
      norm(o.norm_at == NormAt::post ? no_norm() : n, o.width, Place::tokens),
      head(linear_layer(rng, o.width, o.outputs, lecun(o.width), true)) {
  positions.requires_grad_();
  for (int64_t i = 0; i < o.layers; ++i) blocks.push_back(TransformerBlock(rng, o, n));
}

Tensor Transformer::embed(In symbols) {
  return embedding(symbols) + positions.slice(0, 0, symbols->size(1));
}

Tensor Transformer::from_embeddings(In x, const Tensor& keep) {
  Tensor y = x;
  for (TransformerBlock& b : blocks) y = b(y, keep);
  y = norm(y, keep);
  if (options.pool) {
    if (keep.defined()) {
      const Tensor weight = keep.to(DType::f32).unsqueeze(2);
      y = (y * weight).sum({1}) / weight.sum({1});
    } else {
      y = y.mean({1});
    }
  }
  return head(y);
}

void scale_weights(Module& m, double factor) {
  for (const Named& p : named_parameters(m))
    if (p.tensor.dim() > 1) {
      NoGrad no_grad;
      p.tensor.mul_(factor);
    }
}

}  // namespace loupe::lesson
