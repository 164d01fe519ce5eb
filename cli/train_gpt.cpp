// `loupe train gpt`, and `loupe sample`.
#include <loupe/cli/text_model.h>
#include <loupe/cli/training.h>

#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>

namespace loupe::cli {

TextData load_text(const std::string& path, double validation) {
  TextData d;
  d.file = path.empty() ? read_words() : read_text(path);
  d.vocab = CharVocab::of(d.file.text, d.file.path);
  std::vector<int32_t> ids = d.vocab.encode(d.file.text, d.file.path);
  const size_t cut = ids.size() - static_cast<size_t>(std::floor(static_cast<double>(ids.size()) * validation));
  d.train.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(cut));
  d.held_out.assign(ids.begin() + static_cast<std::ptrdiff_t>(cut), ids.end());
  return d;
}

TextScore text_score(Gpt& model, std::span<const int32_t> ids) {
  Rng rng(0);
  DataLoader loader(TextDataset(ids, {.context = model.config.context, .stride = model.config.context, .pad_last = true}), rng,
                    {.batch_size = 64, .shuffle = false});
  NoGrad guard;
  TextScore score;
  for (const Batch& batch : loader) {
    const Tensor logits = model(batch.x);
    score.loss += cross_entropy(logits.reshape({-1, logits.size(-1)}), batch.y.reshape({-1}), {.reduction = Reduction::sum}).item();
    score.accuracy += sum(eq(argmax(logits), batch.y).to(DType::f64)).item();
  }
  const double n = static_cast<double>(ids.size() - 1);
  return {score.loss / n, score.accuracy / n};
}

int train_gpt(const TrainGptOptions& given) {
  TrainGptOptions o = given;
  if (o.epochs < 0 && o.steps < 0) o.steps = 2000;
  if (o.batch_size < 0) o.batch_size = 12;
  if (o.lr < 0) o.lr = o.optimizer == "sgd" ? 0.1 : 0.004;
  if (o.weight_decay < 0) o.weight_decay = 0.1;
  if (o.schedule.empty()) o.schedule = "cosine";
  const TextData data = load_text(o.text, o.validation);
  Json record = record_of("train gpt", o);
  record.set("text", data.file.path).set("text_bytes", data.file.bytes).set("text_sha256", data.file.sha256).set("vocab", data.vocab.characters());
  record.set("norm", o.norm).set("layers", o.layers).set("heads", o.heads).set("width", o.width).set("context", o.context);
  record.set("dropout", o.dropout).set("validation", o.validation).set("default_text", o.text.empty());
  Run run(o, std::move(record));
  Rng rng(o.seed);
  Gpt model(rng, {.vocab = data.vocab.size(), .context = o.context, .layers = o.layers, .heads = o.heads, .width = o.width, .dropout = o.dropout, .norm = norm_kind(o.norm)});
  if (!o.init_from.empty()) load_model(o.init_from, model);
  // Windows anywhere in the text, drawn one by one: an "epoch" is as many as cover the text once.
  DataLoader loader(TextDataset(data.train, {.context = o.context}), rng, {.batch_size = o.batch_size, .replacement = true});
  const int64_t epoch = std::max<int64_t>(1, static_cast<int64_t>(data.train.size()) / (o.context * o.batch_size));
  int64_t total = o.epochs > 0 ? o.epochs * epoch : o.steps;
  if (o.steps > 0) total = std::min(total, o.steps);
  const auto optimizer = make_optimizer(model, o);
  const auto schedule = make_schedule(*optimizer, o, total);
  run.console.say(fmt::format("Gpt on {}: {} characters of {} kinds, {} parameters, {} steps of {} x {}, seed {}, {} threads", data.file.path,
                              data.train.size(), data.vocab.size(), parameter_count(model), total, o.batch_size, o.context, o.seed, thread_limit()));
  Training training{.model = model,
                    .optimizer = *optimizer,
                    .schedule = *schedule,
                    .loader = loader,
                    .forward = [&](const Batch& b) { return model(b.x); },
                    .loss = [](const Tensor& logits, const Batch& b) { return cross_entropy(logits.reshape({-1, logits.size(-1)}), b.y.reshape({-1})); },
                    .evaluate =
                        [&](int64_t) {
                          const TextScore s = text_score(model, data.held_out);
                          return Evaluation{"val_loss", s.loss, false, {{"val_accuracy", s.accuracy}}};
                        },
                    .steps = total,
                    .evaluate_every = std::max<int64_t>(1, total / 5),
                    .checkpoint_every = o.checkpoint_every > 0 ? o.checkpoint_every : std::max<int64_t>(1, total / 10),
                    .clip = o.clip};
  const TrainingResult result = train(run, training);
  Json e("result");
  e.set("val_loss", result.evaluation.value).set("parameters", parameter_count(model)).set("steps", result.steps).set("seconds", run.seconds());
  e.set("train_seconds", result.seconds).set("seed", o.seed).set("threads", thread_limit()).set("weights_hash", weights_hash(model));
  e.set("interrupted", result.interrupted);
  if (run.keeps_files()) save_model(run.file("model.safetensors"), model);
  run.metric(e);
  run.console.say(fmt::format("validation loss {:.4f} after {} steps in {} ({} in all)", result.evaluation.value, result.steps, duration(result.seconds), duration(run.seconds())));
  if (run.keeps_files()) run.console.say("written to " + o.out + "; next: loupe sample " + o.out);
  return result.interrupted ? 130 : 0;
}

Gpt load_gpt(const Json& options, const std::string& folder, CharVocab& vocab) {
  vocab = CharVocab::from_characters(options.get_string("vocab"), folder + "/options.json");
  Rng rng(0);
  Gpt model(rng, {.vocab = vocab.size(), .context = options.get_integer("context"), .layers = options.get_integer("layers"), .heads = options.get_integer("heads"),
                  .width = options.get_integer("width"), .norm = norm_kind(options.get_string("norm"))});
  load_model(folder + "/model.safetensors", model);
  loupe::eval(model);
  return model;
}

int sample(const SampleOptions& o) {
  Console console(o.json);
  if (o.threads > 0) set_thread_limit(o.threads);
  const Json options = Json::read_file(o.run + "/options.json");
  if (options.get_string("command") != "train gpt") fail<ValueError>("{}: not a run of train gpt", o.run);
  CharVocab vocab;
  Gpt model = load_gpt(options, o.run, vocab);
  const std::vector<int32_t> ids = vocab.encode(o.prompt, "--prompt");
  Rng rng(o.seed);
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<int64_t> text = model.generate({ids.begin(), ids.end()}, rng, {.length = o.length, .temperature = o.temperature, .top_k = o.top_k});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const std::string written = vocab.decode(std::vector<int32_t>(text.begin(), text.end()));
  console.say(written);
  console.event(Json("result").set("text", written).set("seconds", seconds).set("tokens_per_second", static_cast<double>(o.length) / seconds).set("seed", o.seed));
  return 0;
}

}  // namespace loupe::cli
