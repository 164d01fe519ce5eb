#include <loupe/autograd/ops.h>
#include <loupe/io/dataset.h>
#include <loupe/io/npy.h>
#include <loupe/io/safetensors.h>
#include <loupe/io/wordpiece.h>
#include <loupe/layers/state.h>
#include <loupe/models/bert.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "fixture.h"

using namespace loupe;
using Catch::Matchers::Contains;
using fixture::Fixture;
using fixture::same;

namespace {

std::string order_of(Module& m) {
  std::string order;
  for (const auto& [key, t] : state_dict(m)) {
    order += (order.empty() ? "" : ";") + key + "=";
    for (int i = 0; i < t.dim(); ++i) order += (i ? "," : "") + std::to_string(t.size(i));
  }
  return order;
}

BertEncoder loaded(const Fixture& f, BertConfig config, DType dtype) {
  Rng rng(1);
  BertEncoder m(rng, config);
  to(m, dtype);
  StateDict state;
  for (const auto& key : f.under("model/")) state.push_back({key, f.get("model/" + key, dtype)});
  load_state_dict(m, state);
  eval(m);
  return m;
}

const BertConfig kSmall{
    .vocab = 60, .width = 32, .layers = 2, .heads = 4, .inner = 64, .context = 24};
const BertConfig kMiniLm{
    .vocab = 80, .width = 48, .layers = 6, .heads = 12, .inner = 96, .context = 32};

// What a padded position holds means nothing: it is taken out on both sides.
Tensor unpadded(const Tensor& hidden, const Tensor& mask) {
  return hidden * mask.to(hidden.dtype()).unsqueeze(-1);
}

}  // namespace

TEST_CASE(
    "BertEncoder equals Transformers' BertModel: names, hidden states, pooled output, sentence "
    "embeddings") {
  for (const auto& [name, config] :
       std::map<std::string, BertConfig>{{"bert", kSmall}, {"minilm", kMiniLm}}) {
    const Fixture f(name + ".safetensors");
    for (const DType dtype : {DType::f64, DType::f32}) {
      BertEncoder m = loaded(f, config, dtype);
      REQUIRE(order_of(m) == f.meta("order"));
      NoGrad guard;
      const Tensor mask = f.get("mask"), y = m(f.get("ids"), f.get("types"), mask);
      const double bound = dtype == DType::f64 ? 1e-12 : 1e-5;
      const std::string group = name + " " + loupe::name(dtype);
      same(group, "hidden", unpadded(y, mask), f.get("hidden"), bound);
      same(group, "pooled", m.pooled(y), f.get("pooled"), bound);
      same(group, "embedding", sentence_embedding(y, mask), f.get("embedding"), bound);
      // A sentence alone, without padding, is what it was in the batch.
      const Tensor alone = m(f.get("ids").slice(0, 1, 2).slice(1, 0, config.context / 2),
                             f.get("types").slice(0, 1, 2).slice(1, 0, config.context / 2));
      same(group, "alone", alone, f.get("hidden").slice(0, 1, 2).slice(1, 0, config.context / 2),
           bound);
    }
  }
}

TEST_CASE(
    "389 sentences through Transformers' own files equal its embeddings: alone, and in batches "
    "with padding") {
  const std::string folder = std::string(LOUPE_FIXTURES) + "/files/sentences";
  std::ifstream in(folder + "/texts.json");
  const auto texts = nlohmann::json::parse(in).get<std::vector<std::string>>();
  REQUIRE(texts.size() == 389);
  const Tensor want = load_npy(folder + "/embeddings.npy");
  const WordPiece tokenizer = WordPiece::load(folder);
  Rng rng(1);
  BertEncoder m(
      rng, {.vocab = 415, .width = 48, .layers = 6, .heads = 12, .inner = 192, .context = 128});
  load_state_dict(
      m, to_state_dict(load_safetensors(folder + "/model.safetensors").tensors));  // float16
  eval(m);
  NoGrad guard;
  for (const size_t size : {size_t{1}, size_t{50}})
    for (size_t at = 0; at < texts.size(); at += size) {
      std::vector<std::vector<int64_t>> ids;
      for (size_t i = at; i < std::min(at + size, texts.size()); ++i)
        ids.push_back(tokenizer.encode(texts[i], 128));
      const Batch batch = pad_sequences(ids, tokenizer.pad_id());
      same(size == 1 ? "sentences alone f32" : "sentences in batches f32",
           "texts from " + std::to_string(at),
           sentence_embedding(m(batch.x, Tensor(), batch.mask), batch.mask),
           want.slice(0, static_cast<int64_t>(at), static_cast<int64_t>(at + ids.size())), 1e-5);
    }
}

TEST_CASE("BertEncoder's names and shapes at MiniLM's size") {
  Rng rng(1);
  BertEncoder m(rng, {.width = 384, .layers = 6, .heads = 12, .inner = 1536});
  REQUIRE(order_of(m) == Fixture("bert.safetensors").meta("order_full"));
  REQUIRE(parameter_count(m) == 22713216);
}

TEST_CASE(
    "BertEncoder learns, its dropout draws from streams of its own, and every parameter gets a "
    "gradient") {
  Rng rng(3);
  BertEncoder m(rng, {.vocab = 12,
                      .width = 16,
                      .layers = 1,
                      .heads = 2,
                      .inner = 32,
                      .context = 6,
                      .dropout = 0.1});
  REQUIRE(named_streams(m).size() == 4);
  const Tensor ids = randint(rng, 1, 12, {4, 6});
  const Tensor mask = from_data<int64_t>(
      {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0}, Shape{4, 6});
  const Tensor first = m(ids, Tensor(), mask), second = m(ids, Tensor(), mask);
  REQUIRE(!equal(first, second));
  Rng noise(4);
  (m.pooled(first) * randn(noise, {4, 16})).sum().backward();
  for (const auto& [name, p] : named_parameters(m)) {
    INFO(name);
    REQUIRE(p.grad().defined());
    // A bias added to every key shifts all scores of a query alike: softmax does not see it.
    if (!name.ends_with("key.bias")) REQUIRE(abs(p.grad()).sum().item() > 0);
  }
  eval(m);
  REQUIRE(equal(m(ids, Tensor(), mask), m(ids, Tensor(), mask)));
}

TEST_CASE("misuse of BertEncoder is a sentence") {
  Rng rng(3);
  REQUIRE_THROWS_WITH(BertEncoder(rng, {.vocab = 12, .width = 15, .layers = 1, .heads = 2}),
                      Contains("15") && Contains("2 heads"));
  BertEncoder m(rng, {.vocab = 12,
                      .width = 16,
                      .layers = 1,
                      .heads = 2,
                      .inner = 32,
                      .context = 6,
                      .pooler = false});
  REQUIRE_THROWS_WITH(m(zeros({1, 7}, DType::i64)), Contains("7 tokens"));
  REQUIRE_THROWS_AS(m(zeros({7}, DType::i64)), ShapeError);
  REQUIRE_THROWS_WITH(m(zeros({1, 3}, DType::i64), Tensor(), zeros({1, 4}, DType::i64)),
                      Contains("mask (1, 4)"));
  REQUIRE_THROWS_AS(m.pooled(zeros({1, 3, 16})), ValueError);
  REQUIRE_THROWS_AS(m(full({1, 3}, 12, DType::i64)), IndexError);
}

TEST_CASE("a sentence without a token: max gives -1e9, cls its state, the others zeros") {
  using P = SentencePooling;
  using V = std::vector<double>;
  const Tensor h = tensor({5, -6, 7, 8}, Shape{2, 2, 1});
  const Tensor mask = from_data<int64_t>({0, 0, 1, 0}, Shape{2, 2});
  CHECK(pool_sentence(h, mask, P::max).to_vector<double>() == V{-1e9, 7});
  CHECK(pool_sentence(h, mask, P::cls).to_vector<double>() == V{5, 7});
  for (const P how : {P::mean, P::mean_sqrt_len, P::weighted_mean, P::last_token})
    CHECK(pool_sentence(h, mask, how).to_vector<double>() == V{0, 7});
  CHECK(sentence_embedding(h, mask).to_vector<double>() == V{0, 1});
}

TEST_CASE("a mask that is not 0 counts, whatever its type") {
  const Tensor h = tensor({3, 5}, Shape{1, 2, 1});
  const Tensor mask = tensor({0.5, 0}, Shape{1, 2});
  CHECK(pool_sentence(h, mask, SentencePooling::mean).item() == 3);
}
