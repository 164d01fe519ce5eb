// Every public class and function of models called wrongly: the typed error, with a sentence that
// starts with the model, or with the layer or op it calls.
#include "misuse.h"

#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/models/bert.h>
#include <loupe/models/gpt.h>
#include <loupe/models/resnet_cifar.h>
#include <loupe/models/small_cnn.h>

#include <cmath>

using namespace loupe;
using misuse::refuses;

namespace {

const Tensor none, f23 = zeros({2, 3}), i23 = zeros({2, 3}, DType::i64);

const GptConfig kGpt{.vocab = 5, .context = 4, .layers = 1, .heads = 2, .width = 4};
const BertConfig kBert{.vocab = 5, .width = 4, .layers = 1, .heads = 2, .inner = 8, .context = 4};

// A configuration with one member changed.
template <class Config, class Value> Config with(Config c, Value Config::*member, Value value) {
  c.*member = value;
  return c;
}

}  // namespace

TEST_CASE("misuse: SmallCnn and ResNetCifar") {
  Rng rng(1);
  refuses<ValueError>("SmallCnn", [&] { SmallCnn(rng, {.image_size = 7}); });
  refuses<ValueError>("SmallCnn", [&] { SmallCnn(rng, {.image_size = -8}); });
  refuses<ValueError>("Conv2d", [&] { SmallCnn(rng, {.in_channels = 0}); });
  refuses<ValueError>("Conv2d", [&] { SmallCnn(rng, {.widths = {0, 8, 8, 8}}); });
  refuses<ValueError>("SmallCnn", [&] { SmallCnn(rng, {.classes = 0}); });
  refuses<ValueError>("SmallCnn", [&] { SmallCnn(rng, {.hidden = 0}); });
  refuses<ValueError>("norm", [&] { SmallCnn(rng, {.norm = NormKind::rms}); });
  refuses<ValueError>("GroupNorm", [&] {
    SmallCnn(rng, {.widths = {4, 8, 8, 8}, .norm = NormKind::group});
  });
  refuses<ValueError>("Dropout", [&] { SmallCnn(rng, {.dropouts = {0.1, 2, 0}}); });
  SmallCnn cnn(rng, {.image_size = 8, .widths = {4, 4, 4, 4}, .hidden = 4});
  refuses<ValueError>("tensor", [&] { cnn(none); });
  refuses<ShapeError>("SmallCnn", [&] { cnn(f23); });
  refuses<ShapeError>("SmallCnn", [&] { cnn(zeros({2, 1, 9, 8})); });
  refuses<ShapeError>("SmallCnn", [&] { cnn(zeros({2, 3, 8, 8})); });
  refuses<DtypeError>("conv2d", [&] { cnn(zeros({2, 1, 8, 8}, DType::f64)); });
  refuses<DtypeError>("conv2d", [&] { cnn(zeros({2, 1, 8, 8}, DType::u8)); });
  refuses<ValueError>("batch_norm", [&] {
    cnn(zeros({1, 1, 8, 8}));
  });  // fc1's norm sees one value a feature

  for (const int64_t depth : {0, 2, 21, -4})
    refuses<ValueError>("ResNetCifar", [&] { ResNetCifar(rng, {.depth = depth}); });
  refuses<ValueError>("Conv2d", [&] { ResNetCifar(rng, {.depth = 8, .width = 0}); });
  refuses<ValueError>("Conv2d", [&] { ResNetCifar(rng, {.depth = 8, .in_channels = -1}); });
  refuses<ValueError>("ResNetCifar", [&] { ResNetCifar(rng, {.depth = 8, .classes = 0}); });
  ResNetCifar net(rng, {.depth = 8, .width = 4});
  refuses<ValueError>("tensor", [&] { net(none); });
  refuses<ShapeError>("conv2d", [&] { net(f23); });
  refuses<ShapeError>("conv2d", [&] { net(zeros({2, 1, 8, 8})); });
  refuses<DtypeError>("conv2d", [&] { net(zeros({2, 3, 8, 8}, DType::u8)); });
  refuses<ValueError>("Conv2d", [&] { BasicBlock(rng, 4, 4, 0); });
  refuses<ShapeError>("conv2d", [&] { BasicBlock(rng, 4, 4, 1)(zeros({2, 3, 8, 8})); });
}

TEST_CASE("misuse: Gpt") {
  Rng rng(1);
  GptConfig without = kGpt, post = kGpt;
  without.norm = NormKind::none, without.qk_norm = true;
  post.pre_norm = false, post.peri_norm = true;
  refuses<ValueError>("Gpt", [&] { Gpt m(rng, without); });
  refuses<ValueError>("Gpt", [&] { Gpt m(rng, post); });
  for (const int64_t bad : {int64_t{0}, int64_t{-4}}) {
    for (auto member : {&GptConfig::vocab, &GptConfig::context, &GptConfig::heads,
                        &GptConfig::width, &GptConfig::layers})
      refuses<ValueError>("Gpt", [&] { Gpt(rng, with(kGpt, member, bad)); });
  }
  refuses<ValueError>("Gpt", [&] { Gpt(rng, with(kGpt, &GptConfig::inner, int64_t{-1})); });
  refuses<ValueError>("Gpt", [&] { Gpt(rng, with(kGpt, &GptConfig::heads, int64_t{3})); });
  refuses<ValueError>("Gpt", [&] { Gpt(rng, with(kGpt, &GptConfig::dropout, 1.5)); });
  refuses<ValueError>("Gpt", [&] { Gpt(rng, with(kGpt, &GptConfig::norm_eps, -1.0)); });
  refuses<ValueError>("Gpt", [&] { Gpt(rng, with(kGpt, &GptConfig::init_std, -1.0)); });
  refuses<OutOfMemory>("allocate",
                       [&] { Gpt(rng, with(kGpt, &GptConfig::vocab, int64_t{1} << 48)); });
  Gpt gpt(rng, kGpt);
  refuses<ValueError>("tensor", [&] { gpt(none); });
  refuses<ShapeError>("Gpt", [&] { gpt(zeros({3}, DType::i64)); });
  refuses<ShapeError>("Gpt", [&] { gpt(zeros({1, 5}, DType::i64)); });
  refuses<DtypeError>("embedding", [&] { gpt(f23); });
  refuses<IndexError>("embedding", [&] { gpt(full({1, 2}, 5, DType::i64)); });
  refuses<ShapeError>("addmm", [&] { Conv1D(rng, 3, 4, 0.1)(zeros({2, 4})); });
  refuses<ShapeError>("empty", [&] { Conv1D(rng, -1, 4, 0.1); });
  refuses<ShapeError>("empty", [&] { gpt.new_cache(-1); });
  KvCache cache = gpt.new_cache(1);
  gpt(zeros({1, 3}, DType::i64), &cache);
  refuses<ShapeError>("Gpt", [&] { gpt(zeros({1, 2}, DType::i64), &cache); });
  cache = gpt.new_cache(1);
  refuses<ShapeError>("Gpt", [&] {
    gpt(zeros({2, 2}, DType::i64), &cache);
  });  // made for a batch of one
  KvCache other;
  refuses<ShapeError>("Gpt", [&] { gpt(zeros({1, 2}, DType::i64), &other); });

  refuses<ValueError>("generate", [&] { gpt.generate({}, rng); });
  refuses<ValueError>("generate", [&] { gpt.generate({1}, rng, {.temperature = -1}); });
  refuses<ValueError>("generate", [&] { gpt.generate({1}, rng, {.temperature = std::nan("")}); });
  refuses<ValueError>("generate", [&] { gpt.generate({1}, rng, {.length = -1}); });
  refuses<ValueError>("generate", [&] { gpt.generate({1}, rng, {.top_k = -1}); });
  refuses<IndexError>("embedding", [&] { gpt.generate({5}, rng, {.length = 1}); });
  CHECK(gpt.is_training());  // as it was, however generate ended
  refuses<ValueError>("load_state_dict", [&] { load_gpt2(gpt, {}); });
  refuses<ValueError>("load_state_dict", [&] { load_gpt2(gpt, {{"wte.weight", none}}); });
  no_grad([&] { gpt.lm_head.weight.fill_(std::nan("")); });
  refuses<NumericError>("generate", [&] { gpt.generate({1}, rng, {.length = 1}); });

  CHECK(parameter_count(with(kGpt, &GptConfig::width, int64_t{1} << 40)) > 1e24);
}

TEST_CASE("misuse: BertEncoder") {
  Rng rng(1);
  for (const int64_t bad : {int64_t{0}, int64_t{-4}}) {
    for (auto member :
         {&BertConfig::vocab, &BertConfig::context, &BertConfig::heads, &BertConfig::width,
          &BertConfig::layers, &BertConfig::inner, &BertConfig::token_types})
      refuses<ValueError>("BertEncoder", [&] { BertEncoder(rng, with(kBert, member, bad)); });
  }
  refuses<ValueError>("BertEncoder",
                      [&] { BertEncoder(rng, with(kBert, &BertConfig::heads, int64_t{3})); });
  refuses<ValueError>("BertEncoder",
                      [&] { BertEncoder(rng, with(kBert, &BertConfig::dropout, -0.5)); });
  refuses<ValueError>("BertEncoder",
                      [&] { BertEncoder(rng, with(kBert, &BertConfig::norm_eps, std::nan(""))); });
  refuses<OutOfMemory>(
      "allocate", [&] { BertEncoder(rng, with(kBert, &BertConfig::vocab, int64_t{1} << 48)); });
  BertEncoder bert(rng, with(kBert, &BertConfig::pooler, false));
  const Tensor ids = zeros({2, 3}, DType::i64);
  refuses<ValueError>("tensor", [&] { bert(none); });
  refuses<ShapeError>("BertEncoder", [&] { bert(zeros({3}, DType::i64)); });
  refuses<ShapeError>("BertEncoder", [&] { bert(zeros({1, 5}, DType::i64)); });
  refuses<DtypeError>("embedding", [&] { bert(f23); });
  refuses<IndexError>("embedding", [&] { bert(full({1, 2}, 5, DType::i64)); });
  refuses<ShapeError>("BertEncoder", [&] { bert(ids, zeros({2, 2}, DType::i64)); });
  refuses<DtypeError>("embedding", [&] { bert(ids, f23); });
  refuses<IndexError>("embedding", [&] { bert(ids, full({2, 3}, 2, DType::i64)); });
  refuses<ShapeError>("BertEncoder", [&] { bert(ids, none, zeros({3, 2}, DType::i64)); });
  refuses<ValueError>("BertEncoder", [&] { bert.pooled(zeros({2, 3, 4})); });
  BertEncoder pooling(rng, kBert);
  refuses<ValueError>("tensor", [&] { pooling.pooled(none); });
  refuses<ShapeError>("BertEncoder", [&] { pooling.pooled(f23); });
  refuses<ShapeError>("linear", [&] { pooling.pooled(zeros({2, 3, 5})); });
  BertLayer layer(rng, kBert);
  refuses<ValueError>("tensor", [&] { layer(none); });
  refuses<ShapeError>("BertLayer", [&] { layer(f23); });
  refuses<ShapeError>("BertLayer", [&] { layer(zeros({2, 3, 5})); });
  refuses<DtypeError>("linear", [&] { layer(zeros({2, 3, 4}, DType::f64)); });
  refuses<ValueError>("tensor", [&] { sentence_embedding(none, ids); });
  refuses<ValueError>("tensor", [&] { sentence_embedding(zeros({2, 3, 4}), none); });
  refuses<ShapeError>("sentence_embedding", [&] { sentence_embedding(f23, ids); });
  for (const auto how : {SentencePooling::cls, SentencePooling::max, SentencePooling::last_token}) {
    refuses<ValueError>("tensor", [&] { pool_sentence(none, ids, how); });
    refuses<ShapeError>("pool_sentence", [&] { pool_sentence(f23, ids, how); });
    refuses<ShapeError>("pool_sentence", [&] {
      pool_sentence(zeros({2, 3, 4}), zeros({2, 4}, DType::i64), how);
    });
  }
  refuses<ShapeError>("sentence_embedding", [&] {
    sentence_embedding(zeros({2, 3, 4}), zeros({2, 4}, DType::i64));
  });
  CHECK(parameter_count(with(kBert, &BertConfig::width, int64_t{1} << 40)) > 1e24);
}

TEST_CASE("misuse: choosing a norm") {
  refuses<ValueError>("norm", [] { norm_kind("Layer"); });
  refuses<ValueError>("norm", [] { norm_kind(""); });
  CHECK(norm_kind(name(NormKind::rms)) == NormKind::rms);
  refuses<ValueError>("norm", [] { channel_norm(NormKind::rms, 8); });
  refuses<ValueError>("GroupNorm", [] { channel_norm(NormKind::group, 12); });
  refuses<ValueError>("BatchNorm2d", [] { channel_norm(NormKind::batch, 0); });
  refuses<ValueError>("LayerNorm", [] { feature_norm(NormKind::layer, -1); });
  refuses<ValueError>("RMSNorm", [] { feature_norm(NormKind::rms, 4, -1); });
  ChannelNorm channels = channel_norm(NormKind::batch, 4);
  FeatureNorm features = feature_norm(NormKind::batch, 4);
  refuses<ShapeError>("BatchNorm2d", [&] { normalize(channels, f23); });
  refuses<ShapeError>("batch_norm", [&] { normalize(features, f23); });
  refuses<ValueError>("tensor", [&] { normalize(features, none); });
  refuses<ShapeError>("batch_norm", [&] { normalize(features, zeros({2, 3, 5})); });
  refuses<ValueError>("tensor", [&] { norm_relu_pool(channels, none, 2); });
  refuses<ValueError>("max_pool2d", [&] { norm_relu_pool(channels, zeros({2, 4, 6, 6}), 0); });
}

TEST_CASE("parameter_count of a configuration is that of its model") {
  Rng rng(1);
  for (const NormKind norm : {NormKind::batch, NormKind::layer, NormKind::rms, NormKind::none})
    for (const bool tied : {true, false}) {
      GptConfig c{.vocab = 7,
                  .context = 5,
                  .layers = 3,
                  .heads = 2,
                  .width = 6,
                  .inner = 11,
                  .norm = norm,
                  .tied = tied};
      Gpt gpt(rng, c);
      CHECK(parameter_count(c) == static_cast<double>(parameter_count(gpt)));
    }
  for (const bool pooler : {true, false}) {
    BertConfig c{.vocab = 7,
                 .width = 6,
                 .layers = 3,
                 .heads = 2,
                 .inner = 11,
                 .context = 5,
                 .token_types = 2,
                 .pooler = pooler};
    BertEncoder bert(rng, c);
    CHECK(parameter_count(c) == static_cast<double>(parameter_count(bert)));
  }
}
