// `loupe embed` obeys every file of a sentence model's folder, or refuses it by the member's name.
#include "program.h"
#include "worst.h"

#include <loupe/autograd/ops.h>
#include <loupe/io/model_folder.h>
#include <loupe/io/npy.h>
#include <loupe/io/wordpiece.h>
#include <loupe/layers/state.h>
#include <loupe/models/bert.h>

#include <algorithm>
#include <cmath>

using Catch::Matchers::Contains;

namespace {

const std::string kSentences = std::string(LOUPE_FIXTURES) + "/files/sentences";

/// A copy of the fixture's model, whose files a test changes.
struct ModelFolder : Folder {
  ModelFolder() {
    for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"})
      fs::copy_file(kSentences + "/" + file, *this / file);
  }
  void write(const std::string& file, const json& content) const {
    fs::create_directories(fs::path(*this / file).parent_path());
    std::ofstream(*this / file) << content.dump();
  }
  void pooling(const json& config, bool normalize = false) const {
    json modules = json::array({{{"idx", 0},
                                 {"name", "0"},
                                 {"path", ""},
                                 {"type", "sentence_transformers.models.Transformer"}},
                                {{"idx", 1},
                                 {"name", "1"},
                                 {"path", "1_Pooling"},
                                 {"type", "sentence_transformers.models.Pooling"}}});
    if (normalize)
      modules.push_back({{"idx", 2},
                         {"name", "2"},
                         {"path", "2_Normalize"},
                         {"type", "sentence_transformers.models.Normalize"}});
    write("modules.json", modules);
    write("1_Pooling/config.json", config);
  }
  Output run(const std::string& texts = "'Hello world' 'a longer text, with more words'") const {
    return loupe_program("embed --json --model " + path.string() + " " + texts);
  }
  std::vector<std::vector<double>> vectors() const {
    const Output o = run();
    INFO(o.err);
    REQUIRE(o.code == 0);
    std::vector<std::vector<double>> all;
    std::istringstream lines(o.out);
    for (std::string line; std::getline(lines, line);)
      all.push_back(json::parse(line)["vector"].get<std::vector<double>>());
    return all;
  }
};

using Rows = std::vector<std::vector<double>>;

/// The hidden states of each text, a row a token, by the library.
std::vector<Rows> hidden_states() {
  const json c = json::parse(loupe::read_file(kSentences + "/config.json"));
  loupe::Rng rng(0);
  loupe::BertEncoder model(rng, {.vocab = c["vocab_size"],
                                 .width = c["hidden_size"],
                                 .layers = c["num_hidden_layers"],
                                 .heads = c["num_attention_heads"],
                                 .inner = c["intermediate_size"],
                                 .context = c["max_position_embeddings"],
                                 .norm_eps = c["layer_norm_eps"],
                                 .pooler = false});
  loupe::StateDict state;
  for (const auto& [name, t] : loupe::load_model_folder(kSentences))
    if (!name.starts_with("pooler.")) state.push_back({name, t});
  loupe::load_state_dict(model, state);
  loupe::eval(model);
  const auto tokenizer = loupe::WordPiece::load(kSentences);
  std::vector<Rows> all;
  for (const char* text : {"Hello world", "a longer text, with more words"}) {
    const auto ids = tokenizer.encode(text);
    const loupe::Tensor h =
        loupe::no_grad([&] { return model(loupe::from_data(ids).unsqueeze(0)); });
    Rows rows;
    for (int64_t t = 0; t < h.size(1); ++t) rows.push_back(h[0][t].to_vector<double>());
    all.push_back(rows);
  }
  REQUIRE(all[0].size() < all[1].size());  // the shorter one is padded
  return all;
}

std::vector<double> pooled(const Rows& h, const std::string& how) {
  const size_t n = h.size();
  if (how == "cls") return h[0];
  if (how == "lasttoken") return h[n - 1];
  std::vector<double> out(h[0].size());
  for (size_t j = 0; j < out.size(); ++j) {
    double sum = 0, weighted = 0, largest = h[0][j], places = 0;
    for (size_t t = 0; t < n; ++t) {
      const double place = static_cast<double>(t + 1);
      sum += h[t][j];
      weighted += place * h[t][j];
      places += place;
      largest = std::max(largest, h[t][j]);
    }
    out[j] = how == "max"    ? largest
             : how == "mean" ? sum / static_cast<double>(n)
             : how == "sqrt" ? sum / std::sqrt(static_cast<double>(n))
                             : weighted / places;
  }
  return out;
}

void check_near(const std::vector<double>& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  double largest = 0;
  for (size_t i = 0; i < got.size(); ++i) largest = worst_of(largest, std::abs(got[i] - want[i]));
  CHECK(largest < 2e-5);
}

}  // namespace

TEST_CASE("embed pools as 1_Pooling says, and normalises where modules.json has a Normalize") {
  const ModelFolder f;
  const auto hidden = hidden_states();
  const std::pair<std::string, std::string> modes[] = {
      {"pooling_mode_cls_token", "cls"},
      {"pooling_mode_max_tokens", "max"},
      {"pooling_mode_mean_tokens", "mean"},
      {"pooling_mode_mean_sqrt_len_tokens", "sqrt"},
      {"pooling_mode_weightedmean_tokens", "weighted"},
      {"pooling_mode_lasttoken", "lasttoken"}};
  for (const auto& [flag, how] : modes) {
    INFO(flag);
    json config{{"word_embedding_dimension", 48}};
    for (const auto& [other, ignored] : modes) config[other] = other == flag;
    for (const bool normalize : {false, true}) {
      f.pooling(config, normalize);
      const auto got = f.vectors();
      REQUIRE(got.size() == 2);
      for (size_t i = 0; i < 2; ++i) {
        std::vector<double> want = pooled(hidden[i], how);
        double norm = 0;
        for (const double v : want) norm += v * v;
        for (double& v : want) v /= normalize ? std::sqrt(norm) : 1;
        check_near(got[i], want);
      }
    }
  }
  // Two at once stand side by side, in sentence-transformers' order; the newer word; no
  // modules.json.
  f.pooling({{"pooling_mode_mean_tokens", true}, {"pooling_mode_cls_token", true}});
  std::vector<double> both = pooled(hidden[1], "cls");
  for (const double v : pooled(hidden[1], "mean")) both.push_back(v);
  check_near(f.vectors()[1], both);
  f.pooling({{"pooling_mode", "max"}});
  check_near(f.vectors()[1], pooled(hidden[1], "max"));
  fs::remove(f / "modules.json");
  f.write("1_Pooling/config.json", {{"pooling_mode_cls_token", true}});
  const auto cls = f.vectors()[1];
  double norm = 0;
  for (const double v : cls) norm += v * v;
  CHECK(norm == Approx(1));
}

TEST_CASE("embed tokenizes as tokenizer_config.json and sentence_bert_config.json say") {
  const ModelFolder f;
  const auto tokens = [&](const std::string& text) {
    const Output o = f.run("'" + text + "'");
    INFO(o.err);
    REQUIRE(o.code == 0);
    return json::parse(o.out)["tokens"].get<int64_t>();
  };
  const auto vector = [&](const std::string& text) {
    return json::parse(f.run("'" + text + "'").out)["vector"].get<std::vector<double>>();
  };
  const auto upper = vector("HELLO WORLD"), accents = vector("h\u00e9llo");
  CHECK(upper == vector("hello world"));
  CHECK(accents == vector("hello"));
  f.write("tokenizer_config.json", {{"do_lower_case", false}});
  CHECK(vector("HELLO WORLD") != upper);
  CHECK(vector("hello world") == upper);
  CHECK(vector("h\u00e9llo") != accents);  // accents are stripped only with lower-casing
  f.write("tokenizer_config.json", {{"do_lower_case", false}, {"strip_accents", true}});
  CHECK(vector("h\u00e9llo") == accents);
  f.write("tokenizer_config.json", {{"strip_accents", false}});
  CHECK(vector("h\u00e9llo") != accents);
  CHECK(vector("HELLO WORLD") == upper);
  // The text is lowered before the tokenizer sees it.
  f.write("tokenizer_config.json", {{"do_lower_case", false}});
  f.write("sentence_bert_config.json", {{"do_lower_case", true}, {"max_seq_length", 6}});
  CHECK(vector("HELLO WORLD") == upper);
  CHECK(tokens("a longer text, with more words than six") == 6);
  f.write("sentence_bert_config.json", {{"max_seq_length", nullptr}, {"do_lower_case", false}});
  f.write("tokenizer_config.json", {{"model_max_length", 5}});
  CHECK(tokens("a longer text, with more words than six") == 5);
  f.write("tokenizer_config.json", {{"model_max_length", 1e30}});
  CHECK(tokens("a longer text, with more words than six") > 6);
}

TEST_CASE("embed refuses by name what it does not do or does not know") {
  const json config = json::parse(loupe::read_file(kSentences + "/config.json"));
  const auto refused = [](const ModelFolder& f, const std::string& file, const std::string& why) {
    const Output o = f.run();
    INFO(file << ": " << o.err);
    CHECK(o.code == 1);
    CHECK_THAT(o.err, Contains(file) && Contains(why));
    CHECK(o.out.empty());
  };
  const ModelFolder f;
  const std::tuple<const char*, json, const char*> members[] = {
      {"model_type", "roberta", "model_type \"roberta\""},
      {"model_type", "distilbert", "model_type \"distilbert\""},
      {"architectures", {"RobertaModel"}, "\"RobertaModel\""},
      {"is_decoder", true, "is_decoder = true"},
      {"add_cross_attention", true, "add_cross_attention = true"},
      {"position_embedding_type", "relative_key", "position_embedding_type \"relative_key\""},
      {"hidden_act", "gelu_new", "hidden_act \"gelu_new\""},
      {"hidden_act", 3, "\"hidden_act\" is not a text"},
      {"pruned_heads", {{"0", {1}}}, "\"pruned_heads\""},
      {"quantization_config", {{"bits", 8}}, "\"quantization_config\""},
      {"auto_map", {{"AutoModel", "own.py"}}, "\"auto_map\""},
      {"rotary_base", 10000, "\"rotary_base\""},
      {"embedding_size", 12, "\"embedding_size\""},
  };
  for (const auto& [key, value, why] : members) {
    json changed = config;
    changed[key] = value;
    f.write("config.json", changed);
    refused(f, "config.json", why);
  }
  f.write("config.json", config);
  const auto with_file = [&](const std::string& file, const json& content, const char* why) {
    f.write(file, content);
    refused(f, file, why);
    fs::remove(f / file);
  };
  with_file("tokenizer_config.json", {{"tokenizer_class", "RobertaTokenizer"}}, "RobertaTokenizer");
  with_file("tokenizer_config.json", {{"do_basic_tokenize", false}}, "do_basic_tokenize = false");
  with_file("tokenizer_config.json", {{"never_split", {"x"}}}, "never_split");
  with_file("tokenizer_config.json", {{"padding_side", "left"}}, "padding_side \"left\"");
  with_file("tokenizer_config.json", {{"word_order", "reversed"}}, "\"word_order\"");
  with_file("sentence_bert_config.json", {{"pool_first", true}}, "\"pool_first\"");
  with_file("sentence_bert_config.json", {{"max_seq_length", 1}}, "\"max_seq_length\" is 1");
  with_file("config_sentence_transformers.json",
            {{"prompts", {{"query", "query: "}}}, {"default_prompt_name", "query"}},
            "default prompt");
  with_file("modules.json",
            json::array({{{"path", ""}, {"type", "sentence_transformers.models.Transformer"}},
                         {{"path", "1_Dense"}, {"type", "sentence_transformers.models.Dense"}}}),
            "type Dense");
  with_file("modules.json",
            json::array({{{"path", ""}, {"type", "sentence_transformers.models.Transformer"}}}),
            "expected a Transformer, a Pooling");
  const auto with_pooling = [&](const json& pooling, const char* why) {
    f.pooling(pooling);
    refused(f, "1_Pooling/config.json", why);
  };
  with_pooling({{"pooling_mode_cls_token", false}}, "no way of pooling");
  with_pooling({{"pooling_mode", "attention"}}, "\"attention\"");
  with_pooling({{"pooling_mode_cls_token", true}, {"word_embedding_dimension", 49}}, "is 49");
  with_pooling({{"pooling_mode_cls_token", true}, {"pooling_power", 3}}, "\"pooling_power\"");
  with_pooling({{"pooling_mode_cls_token", true}, {"include_prompt", false}}, "include_prompt");
  fs::remove(f / "modules.json");
  fs::remove_all(f / "1_Pooling");
  // The tokenizer's own template and parts.
  const json tokenizer = json::parse(loupe::read_file(kSentences + "/tokenizer.json"));
  const auto with_tokenizer = [&](const char* part, const char* key, const json& value,
                                  const char* why) {
    json changed = tokenizer;
    changed[part][key] = value;
    f.write("tokenizer.json", changed);
    refused(f, "tokenizer.json", why);
  };
  with_tokenizer("normalizer", "left", "x", "\"left\" of the normalizer");
  with_tokenizer("model", "dropout", 0.1, "\"dropout\" of the model");
  json single = tokenizer["post_processor"]["single"];
  if (single.is_array()) {
    single.erase(0);
    with_tokenizer("post_processor", "single", single, "not [CLS] text [SEP]");
  }
}

TEST_CASE("a folder of shards is one model; other kinds of weights are named with the remedy") {
  const ModelFolder f;
  const auto want = f.vectors();
  const auto tensors = loupe::load_safetensors(f / "model.safetensors").tensors;
  loupe::TensorMap shards[2];
  json map;
  size_t i = 0;
  for (const auto& [name, t] : tensors) {
    shards[i % 2].emplace(name, t);
    map[name] = i++ % 2 ? "model-00002-of-00002.safetensors" : "model-00001-of-00002.safetensors";
  }
  loupe::save_safetensors(f / "model-00001-of-00002.safetensors", shards[0]);
  loupe::save_safetensors(f / "model-00002-of-00002.safetensors", shards[1]);
  fs::remove(f / "model.safetensors");
  f.write("model.safetensors.index.json", {{"metadata", {{"total_size", 1}}}, {"weight_map", map}});
  CHECK(f.vectors() == want);
  const auto error = [&] {
    const Output o = f.run();
    CHECK(o.code == 1);
    return o.err;
  };
  json wrong = map;
  wrong.begin().value() = "model-00002-of-00002.safetensors";
  f.write("model.safetensors.index.json", {{"weight_map", wrong}});
  CHECK_THAT(error(), Contains("where the index does not name it"));
  wrong = map;
  wrong["more"] = "model-00002-of-00002.safetensors";
  f.write("model.safetensors.index.json", {{"weight_map", wrong}});
  CHECK_THAT(error(), Contains("tensor 'more' is not in model-00002"));
  wrong["more"] = "../elsewhere";
  f.write("model.safetensors.index.json", {{"weight_map", wrong}});
  CHECK_THAT(error(), Contains("is no name of a file in this folder"));
  f.write("model.safetensors.index.json", {{"weight_map", map}});
  fs::remove(f / "model-00001-of-00002.safetensors");
  CHECK_THAT(error(), Contains("model-00001-of-00002.safetensors: cannot open"));
  fs::remove(f / "model.safetensors.index.json");
  CHECK_THAT(error(), Contains("holds no model.safetensors"));
  std::ofstream(f / "pytorch_model.bin") << "PK";
  CHECK_THAT(error(),
             Contains("pytorch_model.bin, a pickle of PyTorch's") && Contains("save_pretrained"));
  // GPT-2's folder takes the same way.
  const Output gpt = loupe_program("train gpt --steps 1 --init-from " + f.path.string());
  CHECK(gpt.code == 1);
  fs::copy_file(std::string(LOUPE_FIXTURES) + "/files/gpt2/config.json", f / "config.json",
                fs::copy_options::overwrite_existing);
  CHECK_THAT(loupe_program("train gpt --steps 1 --init-from " + f.path.string() + " --text " +
                           std::string(LOUPE_FIXTURES) + "/files/gpt2/text.txt --validation 0.5")
                 .err,
             Contains("pytorch_model.bin, a pickle"));
}
