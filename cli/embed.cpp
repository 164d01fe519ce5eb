// `loupe embed` and `loupe inspect`.
#include <loupe/cli/commands.h>
#include <loupe/cli/sentence_model.h>

#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>
#include <loupe/io/checkpoint.h>
#include <loupe/io/json.h>
#include <loupe/io/npy.h>
#include <loupe/io/safetensors.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numeric>

namespace loupe::cli {

BertConfig bert_config(const Json& c, const std::string& name) {
  if (c.has("hidden_act") && c.get_string("hidden_act") != "gelu")
    fail<IoError>("{}: hidden_act \"{}\"; only the exact \"gelu\" is known here", name,
                  c.get_string("hidden_act"));
  const auto size = [&](const char* key, int64_t otherwise = -1) {
    const int64_t n = otherwise < 0 || c.has(key) ? c.get_integer(key) : otherwise;
    if (n < 1 || n > INT32_MAX)
      fail<IoError>("{}: \"{}\" is {}, expected a size from 1 to 2^31 - 1", name, key, n);
    return n;
  };
  const double eps = c.has("layer_norm_eps") ? c.get_number("layer_norm_eps") : 1e-12;
  if (!(eps >= 0 && eps <= 1))
    fail<IoError>("{}: \"layer_norm_eps\" is {}, expected 0 to 1", name, eps);
  return {.vocab = size("vocab_size"),
          .width = size("hidden_size"),
          .layers = size("num_hidden_layers"),
          .heads = size("num_attention_heads"),
          .inner = size("intermediate_size"),
          .context = size("max_position_embeddings", 512),
          .token_types = size("type_vocab_size", 2),
          .norm_eps = eps};
}

SentenceModel load_sentence_model(const std::string& folder) {
  const std::string name = folder + "/config.json";
  BertConfig config = bert_config(Json::read_file(name), name);
  StateDict state;
  config.pooler = false;
  int64_t held = 0;
  const SafetensorsFile file = load_safetensors(folder + "/model.safetensors");
  for (const auto& [key, t] : file.tensors) {
    const std::string plain = key.starts_with("bert.") ? key.substr(5) : key;
    if (plain == "embeddings.position_ids" || plain.starts_with("cls."))
      continue;  // a constant, a pre-training head
    config.pooler = config.pooler || plain.starts_with("pooler.");
    state.push_back({plain, t});
    held += t.numel();
  }
  if (parameter_count(config) > static_cast<double>(held))
    fail<IoError>("{}: a model of {:.0f} parameters, but model.safetensors holds {}", name,
                  parameter_count(config), held);
  Rng rng(0);
  SentenceModel s{BertEncoder(rng, config), WordPiece::load(folder), config.context};
  load_state_dict(s.model, state);
  loupe::eval(s.model);
  // Sentence models say here how much of a text they read.
  if (const std::string path = folder + "/sentence_bert_config.json"; std::filesystem::exists(path))
    if (const Json limit = Json::read_file(path); limit.has("max_seq_length")) {
      const int64_t n = limit.get_integer("max_seq_length");
      if (n < 2) fail<IoError>("{}: \"max_seq_length\" is {}, expected at least 2", path, n);
      s.max_tokens = std::min(s.max_tokens, n);
    }
  return s;
}

int embed(const EmbedOptions& o) {
  Console console(o.json);
  if (o.threads > 0) set_thread_limit(o.threads);
  SentenceModel s = load_sentence_model(o.model);
  std::vector<std::string> texts = o.texts;
  if (!o.file.empty()) {
    std::istringstream lines(o.file == "-"
                                 ? std::string(std::istreambuf_iterator<char>(std::cin), {})
                                 : read_file(o.file));
    for (std::string line; std::getline(lines, line);) texts.push_back(line);
  }
  if (texts.empty())
    fail<ValueError>("embed: no text; give some, or --file with one a line (- for standard input)");
  std::vector<std::vector<int64_t>> ids;
  for (size_t i = 0; i < texts.size(); ++i)
    ids.push_back(s.tokenizer.encode(texts[i], s.max_tokens, fmt::format("text {}", i + 1)));
  // Texts of similar length go together: padding is work.
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return ids[a].size() < ids[b].size(); });
  std::vector<std::vector<double>> vectors(texts.size());
  NoGrad guard;
  for (size_t at = 0; at < order.size(); at += static_cast<size_t>(o.batch_size)) {
    const size_t end = std::min(order.size(), at + static_cast<size_t>(o.batch_size));
    std::vector<std::vector<int64_t>> part;
    for (size_t i = at; i < end; ++i) part.push_back(ids[order[i]]);
    const Batch batch = pad_sequences(part, s.tokenizer.pad_id());
    const Tensor e = sentence_embedding(s.model(batch.x, Tensor(), batch.mask), batch.mask);
    for (size_t i = at; i < end; ++i)
      vectors[order[i]] = e[static_cast<int64_t>(i - at)].to_vector<double>();
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    console.event(Json("embedding")
                      .set("text", texts[i])
                      .set("tokens", static_cast<int64_t>(ids[i].size()))
                      .set("vector", vectors[i]));
    if (o.json) continue;
    std::string line;
    for (double v : vectors[i]) line += fmt::format("{}{:.6f}", line.empty() ? "" : " ", v);
    console.say(line);
  }
  return 0;
}

int inspect(const InspectOptions& o) {
  Console console(o.json);
  const auto row = [&](const std::string& name, const std::string& dtype, const std::string& shape,
                       int64_t bytes) {
    console.say(fmt::format("{:<5} {:<22} {:>12}  {}", dtype, shape, bytes, name));
    console.event(Json("tensor")
                      .set("name", name)
                      .set("dtype", dtype)
                      .set("shape", shape)
                      .set("bytes", bytes));
  };
  console.say(fmt::format("{:<5} {:<22} {:>12}  {}", "type", "shape", "bytes", "name"));
  int64_t elements = 0, count = 0;
  if (o.file.ends_with(".npy") || o.file.ends_with(".npz")) {
    TensorMap tensors;
    if (o.file.ends_with(".npz")) tensors = load_npz(o.file);
    else tensors[std::filesystem::path(o.file).stem().string()] = load_npy(o.file);
    for (const auto& [name, t] : tensors) {
      row(name, loupe::name(t.dtype()), to_string(t.shape()),
          t.numel() * static_cast<int64_t>(size_of(t.dtype())));
      elements += t.numel();
      ++count;
    }
  } else {
    const SafetensorsHeader header = read_safetensors_header(o.file);
    for (const SafetensorsEntry& e : header.entries) {
      std::string shape = "(";
      int64_t n = 1;
      for (size_t i = 0; i < e.shape.size(); ++i) {
        shape += (i ? ", " : "") + std::to_string(e.shape[i]);
        n *= e.shape[i];
      }
      row(e.name, e.dtype, shape + (e.shape.size() == 1 ? ",)" : ")"),
          static_cast<int64_t>(e.end - e.begin));
      elements += n;
      ++count;
    }
    for (const auto& [key, value] : header.metadata) {
      const std::string shown = value.size() > 60 ? value.substr(0, 57) + "..." : value;
      console.say(fmt::format("metadata {}: {}", key, json_quote(shown)));
    }
  }
  console.say(fmt::format("{} tensors, {} elements", count, elements));
  console.event(Json("result").set("tensors", count).set("elements", elements));
  return 0;
}

}  // namespace loupe::cli
