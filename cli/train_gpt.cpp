// `loupe train gpt`, and `loupe sample`.
#include <loupe/cli/text_model.h>
#include <loupe/cli/training.h>

#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

namespace loupe::cli {

TextData load_text(const std::string& path, double validation, const CharVocab& vocab) {
  TextData d;
  d.file = path.empty() ? read_words() : read_text(path);
  d.vocab = vocab.size() > 0 ? vocab : CharVocab::of(d.file.text, d.file.path);
  std::vector<int32_t> ids = d.vocab.encode(d.file.text, d.file.path);
  const size_t cut =
      ids.size() - static_cast<size_t>(std::floor(static_cast<double>(ids.size()) * validation));
  d.train.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(cut));
  d.held_out.assign(ids.begin() + static_cast<std::ptrdiff_t>(cut), ids.end());
  return d;
}

TextScore text_score(Gpt& model, std::span<const int32_t> ids, Communicator* ranks) {
  constexpr int64_t kBatch = 64;
  const TextDataset data(
      ids, {.context = model.config.context, .stride = model.config.context, .pad_last = true});
  const Share share = ranks ? ranks->share() : Share{};
  NoGrad guard;
  // Each batch is one rank's: the numbers that the others have there are 0, and so are added.
  std::vector<double> losses, hits;
  for (int64_t first = 0; first < data.size(); first += kBatch) {
    losses.push_back(0);
    hits.push_back(0);
    if (static_cast<int64_t>(losses.size() - 1) % share.ranks != share.rank) continue;
    if (share.is_whole()) stop_if_interrupted();
    std::vector<int64_t> indices(static_cast<size_t>(std::min(kBatch, data.size() - first)));
    std::iota(indices.begin(), indices.end(), first);
    const Batch batch = data.batch(indices);
    const Tensor logits = model(batch.x);
    losses.back() = cross_entropy(logits.reshape({-1, logits.size(-1)}), batch.y.reshape({-1}),
                                  {.reduction = Reduction::sum})
                        .item();
    hits.back() = sum(eq(argmax(logits, -1), batch.y).to(DType::f64)).item();
  }
  if (ranks) {
    losses = ranks->sum(losses);
    hits = ranks->sum(hits);
  }
  TextScore score;
  score.loss = std::accumulate(losses.begin(), losses.end(), 0.0);
  score.accuracy = std::accumulate(hits.begin(), hits.end(), 0.0);
  const double n = static_cast<double>(ids.size() - 1);
  return {score.loss / n, score.accuracy / n};
}

namespace {

// The shape of the model: init_from's where that is a folder, the options' otherwise. They must not
// contradict each other.
GptConfig config_of(const TrainGptOptions& o, CharVocab& vocab) {
  GptConfig c{.context = 64, .layers = 4, .heads = 4, .width = 128, .norm = norm_kind(o.norm)};
  const bool from_folder = std::filesystem::is_directory(o.init_from);
  if (from_folder) {
    const std::string name = o.init_from + "/config.json", options = o.init_from + "/options.json";
    c = gpt2_config(Json::read_file(name), name);
    if (norm_kind(o.norm) != c.norm)
      fail<ValueError>("train: --norm {}, but a GPT-2 has LayerNorm", o.norm);
    if (std::filesystem::exists(options))
      vocab = CharVocab::from_characters(Json::read_file(options).get_string("vocab"), options);
  }
  c.dropout = o.dropout;
  const auto size = [&](const char* option, std::optional<int64_t> given, int64_t& own) {
    if (given && from_folder && *given != own)
      fail<ValueError>("train: {} {}, but the model in {} has {}", option, *given, o.init_from,
                       own);
    if (given) own = *given;
  };
  size("--layers", o.layers, c.layers);
  size("--heads", o.heads, c.heads);
  size("--width", o.width, c.width);
  size("--context", o.context, c.context);
  return c;
}

}  // namespace

int train_gpt(const TrainGptOptions& given) {
  TrainGptOptions o = given;
  if (!o.epochs && !o.steps) o.steps = 2000;
  if (!o.batch_size) o.batch_size = 12;
  if (!o.lr) o.lr = o.optimizer == "sgd" ? 0.1 : 0.004;
  if (!o.weight_decay) o.weight_decay = 0.1;
  if (o.schedule.empty()) o.schedule = "cosine";
  CharVocab vocab;
  GptConfig config = config_of(o, vocab);
  const TextData data = load_text(o.text, o.validation, vocab);
  if (std::filesystem::is_directory(o.init_from) && config.vocab != data.vocab.size())
    fail<ValueError>(
        "train: the model in {} has {} tokens, {} has {} characters; its ids must be this text's "
        "characters in the order of "
        "their code points, or "
        "an options.json beside it must say which they are",
        o.init_from, config.vocab, data.file.path, data.vocab.size());
  config.vocab = data.vocab.size();
  Json record = record_of("train gpt", o);
  record.set("text", data.file.path)
      .set("text_bytes", data.file.bytes)
      .set("text_sha256", data.file.sha256)
      .set("vocab", data.vocab.characters());
  record.set("norm", o.norm)
      .set("layers", config.layers)
      .set("heads", config.heads)
      .set("width", config.width)
      .set("context", config.context);
  record.set("inner", config.inner > 0 ? config.inner : 4 * config.width)
      .set("norm_eps", config.norm_eps)
      .set("tied", config.tied);
  record.set("dropout", o.dropout)
      .set("validation", o.validation)
      .set("default_text", o.text.empty());
  if (o.sync_norm) record.set("sync_norm", true);
  Run run(o, std::move(record));
  Rng rng(o.seed);
  Gpt model(rng, config);
  if (!o.init_from.empty()) load_weights(o.init_from, model);
  // Windows anywhere in the text, drawn one by one: an "epoch" is as many as cover the text once.
  DataLoader loader(
      TextDataset(data.train, {.context = config.context}), rng,
      {.batch_size = *o.batch_size, .replacement = true, .share = run.ranks().share()});
  if (data.held_out.size() < 2)
    fail<ValueError>(
        "train: --validation {} of the {} characters of {} leaves {} to evaluate on, and 2 are the "
        "least; take a larger share or a longer text",
        o.validation, data.train.size() + data.held_out.size(), data.file.path,
        data.held_out.size());
  const int64_t epoch = std::max<int64_t>(
      1, static_cast<int64_t>(data.train.size()) / config.context / *o.batch_size);
  const int64_t total = total_steps(o, epoch);
  const auto optimizer = make_optimizer(model, o);
  const auto schedule = make_schedule(*optimizer, o, total);
  run.console.say(
      fmt::format("Gpt on {}: {} characters of {} kinds, {} parameters, {} steps of {} x {}, seed "
                  "{}, {}",
                  data.file.path, data.train.size(), data.vocab.size(), parameter_count(model),
                  total, *o.batch_size, config.context, o.seed, run.workers()));
  Training training{
      .model = model,
      .optimizer = *optimizer,
      .schedule = *schedule,
      .loader = loader,
      .forward = [&](const Batch& b) { return model(b.x); },
      .loss =
          [](const Tensor& logits, const Batch& b) {
            return cross_entropy(logits.reshape({-1, logits.size(-1)}), b.y.reshape({-1}));
          },
      .evaluate =
          [&](int64_t) {
            const TextScore s = text_score(model, data.held_out, &run.ranks());
            return Evaluation{"val_loss", s.loss, false, {{"val_accuracy", s.accuracy}}};
          },
      .steps = total,
      .evaluate_every = std::max<int64_t>(1, total / 5),
      .checkpoint_every =
          o.checkpoint_every > 0 ? o.checkpoint_every : std::max<int64_t>(1, total / 10),
      .clip = o.clip,
      .sync_norm = o.sync_norm};
  const TrainingResult result = train(run, training);
  Json e("result");
  e.set("val_loss", result.evaluation ? result.evaluation->value : NAN)
      .set("parameters", parameter_count(model))
      .set("steps", result.steps)
      .set("seconds", run.seconds());
  e.set("train_seconds", result.seconds)
      .set("seed", o.seed)
      .set("threads", thread_limit())
      .set("weights_hash", weights_hash(model));
  say_ranks(e, run.ranks(), result.exchanged);
  e.set("state_hash", result.state_hash).set("interrupted", result.interrupted);
  if (run.keeps_files()) {
    save_model(run.file("model.safetensors"), model);
    if (const std::string json = gpt2_config_json(config); !json.empty())
      write_file(run.file("config.json"), json);  // for Transformers
  }
  run.metric(e);
  if (result.interrupted) return say_interrupted(run, training, result);
  run.console.say(fmt::format("validation loss {:.4f} after {} steps in {} ({} in all)",
                              result.evaluation->value, result.steps, duration(result.seconds),
                              duration(run.seconds())));
  if (run.keeps_files()) run.console.say("written to " + o.out + "; next: loupe sample " + o.out);
  return 0;
}

GptConfig gpt_config(const Json& options, const std::string& name, CharVocab& vocab) {
  vocab = CharVocab::from_characters(options.get_string("vocab"), name);
  const auto size = [&](const char* key) {
    const int64_t n = options.get_integer(key);
    if (n < 1 || n > INT32_MAX)
      fail<IoError>("{}: \"{}\" is {}, expected a size from 1 to 2^31 - 1", name, key, n);
    return n;
  };
  return {.vocab = vocab.size(),
          .context = size("context"),
          .layers = size("layers"),
          .heads = size("heads"),
          .width = size("width"),
          .inner = size("inner"),
          .norm = norm_kind(options.get_string("norm")),
          .tied = options.get_bool("tied"),
          .norm_eps = options.get_number("norm_eps")};
}

Gpt load_gpt(const Json& options, const std::string& folder, CharVocab& vocab) {
  const std::string name = folder + "/options.json", weights = folder + "/model.safetensors";
  const GptConfig config = gpt_config(options, name, vocab);
  int64_t held = 0;
  for (const SafetensorsEntry& e : read_safetensors_header(weights).entries)
    held += static_cast<int64_t>(e.end - e.begin) / 4;
  if (parameter_count(config) > static_cast<double>(held))
    fail<IoError>("{}: a model of {:.0f} parameters, but model.safetensors holds {}", name,
                  parameter_count(config), held);
  Rng rng(0);
  Gpt model(rng, config);
  load_model(weights, model);
  loupe::eval(model);
  return model;
}

namespace {

// A line break starts a new line of the text; a model that never saw one starts with the first
// character it knows.
std::string first_prompt(const CharVocab& vocab) {
  const std::string characters = vocab.characters();
  if (characters.find('\n') != std::string::npos) return "\n";
  const int32_t first = 0;
  return vocab.decode(std::span(&first, 1));
}

}  // namespace

int sample(const SampleOptions& o) {
  Console console(o.json);
  if (o.threads > 0) set_thread_limit(o.threads);
  const Json options = Json::read_file(o.run + "/options.json");
  if (options.get_string("command") != "train gpt")
    fail<ValueError>("{}: not a run of train gpt", o.run);
  CharVocab vocab;
  Gpt model = load_gpt(options, o.run, vocab);
  const std::vector<int32_t> ids = vocab.encode(o.prompt.value_or(first_prompt(vocab)), "--prompt");
  Rng rng(o.seed);
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<int64_t> text =
      model.generate({ids.begin(), ids.end()}, rng,
                     {.length = o.length, .temperature = o.temperature, .top_k = o.top_k});
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const std::string written = vocab.decode(std::vector<int32_t>(text.begin(), text.end()));
  console.say(written);
  console.event(Json("result")
                    .set("text", written)
                    .set("seconds", seconds)
                    .set("tokens_per_second", static_cast<double>(o.length) / seconds)
                    .set("seed", o.seed));
  return 0;
}

}  // namespace loupe::cli
