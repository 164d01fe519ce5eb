#include <loupe/cli/sentence_model.h>
#include <loupe/cli/transformers_config.h>

#include <loupe/autograd/ops.h>
#include <loupe/io/checkpoint.h>
#include <loupe/io/json.h>
#include <loupe/io/model_folder.h>
#include <loupe/io/unicode.h>
#include <loupe/io/utf8.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

namespace loupe::cli {

BertConfig bert_config(const Json& c, const std::string& name) {
  const double eps = c.has("layer_norm_eps") ? c.get_number("layer_norm_eps") : 1e-12;
  if (!(eps >= 0 && eps <= 1))
    fail<IoError>("{}: \"layer_norm_eps\" is {}, expected 0 to 1", name, eps);
  const BertConfig config{.vocab = size_member(c, name, "vocab_size"),
                          .width = size_member(c, name, "hidden_size"),
                          .layers = size_member(c, name, "num_hidden_layers"),
                          .heads = size_member(c, name, "num_attention_heads"),
                          .inner = size_member(c, name, "intermediate_size"),
                          .context = size_member(c, name, "max_position_embeddings", 512),
                          .token_types = size_member(c, name, "type_vocab_size", 2),
                          .norm_eps = eps};
  expect_text(c, name, "model_type", {"bert"});
  expect_architecture(c, name, "Bert");
  expect_text(c, name, "hidden_act", {"gelu", "gelu_python"});  // both by erf
  expect_text(c, name, "position_embedding_type", {"absolute"});
  expect_flag(c, name, "is_decoder", false);
  expect_flag(c, name, "add_cross_attention", false);
  expect_flag(c, name, "is_encoder_decoder", false);
  refuse_unknown_members(
      c, name,
      {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
       "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "hidden_act",
       "position_embedding_type",
       // dropout, heads and ties of pre-training
       "attention_probs_dropout_prob", "hidden_dropout_prob", "classifier_dropout",
       "tie_word_embeddings", "directionality", "pooler_fc_size", "pooler_num_attention_heads",
       "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type"});
  return config;
}

namespace {

struct Pooling {
  const char *flag, *word;  // in configurations of before and after version 5
  SentencePooling how;
};
// In the order in which sentence-transformers lays their vectors side by side.
constexpr Pooling kPoolings[] = {
    {"pooling_mode_cls_token", "cls", SentencePooling::cls},
    {"pooling_mode_max_tokens", "max", SentencePooling::max},
    {"pooling_mode_mean_tokens", "mean", SentencePooling::mean},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", SentencePooling::mean_sqrt_len},
    {"pooling_mode_weightedmean_tokens", "weightedmean", SentencePooling::weighted_mean},
    {"pooling_mode_lasttoken", "lasttoken", SentencePooling::last_token}};

// PATH/config.json of sentence-transformers' Pooling.
std::vector<SentencePooling> read_pooling(const std::string& path, int64_t width) {
  const Json c = Json::read_file(path);
  for (const std::string& key : c.keys()) {
    const bool known = key == "pooling_mode" || key == "word_embedding_dimension" ||
                       key == "embedding_dimension" || key == "include_prompt" ||
                       std::any_of(std::begin(kPoolings), std::end(kPoolings),
                                   [&](const Pooling& p) { return key == p.flag; });
    if (!known && c.has(key))
      fail<IoError>("{}: \"{}\" is not known here and might change the vectors", path, key);
  }
  expect_flag(c, path, "include_prompt", true);
  for (const char* key : {"word_embedding_dimension", "embedding_dimension"})
    if (c.has(key) && c.get_integer(key) != width)
      fail<IoError>("{}: \"{}\" is {}, but the model's states have {}", path, key,
                    c.get_integer(key), width);
  const std::string word = c.has("pooling_mode") ? c.get_string("pooling_mode") : "";
  std::vector<SentencePooling> modes;
  for (const Pooling& p : kPoolings)
    if (word == p.word || (c.has(p.flag) && c.get_bool(p.flag))) modes.push_back(p.how);
  if (modes.empty())
    fail<IoError>("{}: no way of pooling that is known here{}", path,
                  word.empty() ? "" : ": pooling_mode \"" + word + "\"");
  return modes;
}

// One entry of modules.json.
struct ModuleEntry {
  std::string path, type;  // "1_Pooling", "Pooling"
};

std::vector<ModuleEntry> read_modules(const std::string& path) {
  const std::string text = read_file(path);
  JsonReader r(text, path);
  std::vector<ModuleEntry> modules;
  r.array([&] {
    ModuleEntry& m = modules.emplace_back();
    r.object([&](const std::string& key) {
      if (key == "path") m.path = r.string();
      else if (key == "type") m.type = r.string();
      else if (key == "idx" || key == "name") r.skip();
      else if (key == "kwargs")
        r.array([&] { r.fail("\"kwargs\" of a module are not done here"); });
      else r.fail(fmt::format("\"{}\" of a module is not known here", key));
    });
    if (m.path.find("..") != m.path.npos || m.path.starts_with("/"))
      r.fail("the path of a module leaves the folder");
    m.type = m.type.substr(m.type.rfind('.') + 1);
  });
  r.end();
  return modules;
}

// Transformer, Pooling and perhaps Normalize, in this order.
void read_head(const std::string& folder, int64_t width, SentenceHead& head) {
  const std::string path = folder + "/modules.json";
  const std::vector<ModuleEntry> modules = read_modules(path);
  const auto is = [&](size_t i, std::string_view type) {
    return i < modules.size() && modules[i].type == type;
  };
  for (const ModuleEntry& m : modules)
    if (m.type != "Transformer" && m.type != "Pooling" && m.type != "Normalize")
      fail<IoError>("{}: a module of type {}; Transformer, Pooling and Normalize are known here",
                    path, m.type);
  if (!is(0, "Transformer") || !is(1, "Pooling") || modules.size() > 3 ||
      (modules.size() == 3 && !is(2, "Normalize")))
    fail<IoError>("{}: expected a Transformer, a Pooling and perhaps a Normalize, in this order",
                  path);
  if (!modules[0].path.empty())
    fail<IoError>("{}: the Transformer is in {}; its files are expected beside modules.json", path,
                  modules[0].path);
  head.pooling = read_pooling(folder + "/" + modules[1].path + "/config.json", width);
  head.normalize = modules.size() == 3;
}

// sentence_bert_config.json.
void read_sentence_config(const std::string& path, SentenceModel& s,
                          std::optional<int64_t>& limit) {
  const Json c = Json::read_file(path);
  for (const std::string& key : c.keys())
    if (key != "max_seq_length" && key != "do_lower_case" && c.has(key))
      fail<IoError>("{}: \"{}\" is not known here and might change the vectors", path, key);
  if (c.has("do_lower_case")) s.lower_text = c.get_bool("do_lower_case");
  if (!c.has("max_seq_length")) return;
  limit = c.get_integer("max_seq_length");
  if (*limit < 2) fail<IoError>("{}: \"max_seq_length\" is {}, expected at least 2", path, *limit);
}

// config_sentence_transformers.json: a prompt that is put before every text is refused.
void check_prompts(const std::string& path) {
  const Json c = Json::read_file(path);
  for (const std::string& key : c.keys()) {
    if (key == "default_prompt_name" && c.has(key))
      fail<IoError>("{}: a default prompt (\"{}\") before every text is not done here", path,
                    c.get_string(key));
    // Prompts that only a caller asks for, how vectors are compared, and versions.
    if (key == "default_prompt_name" || key == "prompts" || key == "similarity_fn_name" ||
        key == "__version__" || key == "model_type")
      continue;
    if (c.has(key))
      fail<IoError>("{}: \"{}\" is not known here and might change the vectors", path, key);
  }
}

// Python's str.lower(), but for a capital sigma at the end of a word.
std::string lowered(const std::string& text, const std::string& name) {
  std::u32string lower;
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t c = decode_utf8(text, at);
    if (c == kInvalidUtf8) fail<IoError>("{}: offset {}: not valid UTF-8", name, start);
    unicode::append_lower(lower, c);
  }
  std::string out;
  for (const char32_t c : lower) append_utf8(out, c);
  return out;
}

}  // namespace

std::vector<int64_t> SentenceModel::encode(const std::string& text, const std::string& name) const {
  return tokenizer.encode(lower_text ? lowered(text, name) : text, max_tokens, name);
}

Tensor SentenceModel::embed(const Batch& ids) {
  const Tensor hidden = model(ids.x, Tensor(), ids.mask);
  if (head.normalize && head.pooling == std::vector{SentencePooling::mean})
    return sentence_embedding(hidden, ids.mask);
  std::vector<Tensor> parts;
  for (const SentencePooling how : head.pooling)
    parts.push_back(pool_sentence(hidden, ids.mask, how));
  const Tensor all = parts.size() == 1 ? parts[0] : cat(parts, 1);
  if (!head.normalize) return all;
  return all / sqrt(clamp(sum(square(all), {1}, true), 1e-24, INFINITY));
}

SentenceModel load_sentence_model(const std::string& folder) {
  const auto there = [&](const char* file) { return std::filesystem::exists(folder + "/" + file); };
  const std::string name = folder + "/config.json";
  BertConfig config = bert_config(Json::read_file(name), name);
  SentenceHead head;
  if (there("modules.json")) read_head(folder, config.width, head);
  else if (there("1_Pooling/config.json"))
    head.pooling = read_pooling(folder + "/1_Pooling/config.json", config.width);
  if (there("config_sentence_transformers.json"))
    check_prompts(folder + "/config_sentence_transformers.json");

  StateDict state;
  config.pooler = false;
  int64_t held = 0;
  const FileTensors tensors = load_model_folder(folder);
  for (const auto& [key, t] : tensors) {
    const std::string plain = key.starts_with("bert.") ? key.substr(5) : key;
    if (plain == "embeddings.position_ids" || plain.starts_with("cls."))
      continue;  // a constant, a pre-training head
    config.pooler = config.pooler || plain.starts_with("pooler.");
    state.push_back({plain, t});
    held += t.numel();
  }
  if (parameter_count(config) > static_cast<double>(held))
    fail<IoError>("{}: a model of {:.0f} parameters, but model.safetensors holds {}{}", name,
                  parameter_count(config), held, unread_text(tensors));
  Rng rng(0);
  SentenceModel s{BertEncoder(rng, config), WordPiece::load(folder), head};
  try {
    load_state_dict(s.model, state);
  } catch (const ValueError& e) {
    throw ValueError(tensors.file + ": " + e.what() + unread_text(tensors));
  }
  loupe::eval(s.model);
  std::optional<int64_t> limit;
  if (there("sentence_bert_config.json"))
    read_sentence_config(folder + "/sentence_bert_config.json", s, limit);
  s.max_tokens = std::min(config.context, limit.value_or(s.tokenizer.max_length()));
  return s;
}

}  // namespace loupe::cli
