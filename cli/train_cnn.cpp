// `loupe train cnn` and what evaluates its models.
#include <loupe/cli/image_model.h>
#include <loupe/cli/training.h>

#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>

namespace loupe::cli {

ImageModel make_image_model(Rng& rng, const std::string& model, const std::string& norm, const ImageSet& set) {
  const int64_t channels = set.images.size(1), size = set.images.size(2), classes = static_cast<int64_t>(set.classes.size());
  if (model == "resnet20") return std::make_unique<ResNetCifar>(rng, ResNetCifarConfig{.classes = classes, .in_channels = channels});
  return std::make_unique<SmallCnn>(rng, SmallCnnConfig{.in_channels = channels, .classes = classes, .image_size = size, .norm = norm_kind(norm)});
}

Predictions predict(Module& model, const ImageSet& set) {
  Rng rng(0);
  DataLoader loader(ImageDataset(set), rng, {.batch_size = 500, .shuffle = false});
  Predictions out;
  NoGrad guard;
  double loss = 0;
  for (const Batch& batch : loader) {
    const Tensor logits = model.call(batch.x);
    loss += cross_entropy(logits, batch.y, {.reduction = Reduction::sum}).item();
    const auto best = argmax(logits, 1).to_vector<int64_t>();
    out.labels.insert(out.labels.end(), best.begin(), best.end());
  }
  const auto truth = set.labels.to_vector<int64_t>();
  int64_t right = 0;
  for (size_t i = 0; i < truth.size(); ++i) right += truth[i] == out.labels[i];
  out.accuracy = static_cast<double>(right) / static_cast<double>(truth.size());
  out.loss = loss / static_cast<double>(truth.size());
  return out;
}

int train_cnn(const TrainCnnOptions& given) {
  TrainCnnOptions o = given;
  if (o.epochs < 0 && o.steps < 0) o.epochs = 10;
  if (o.batch_size < 0) o.batch_size = 64;
  if (o.lr < 0) o.lr = o.optimizer == "sgd" ? 0.1 : 0.003;
  if (o.weight_decay < 0) o.weight_decay = 0.01;
  if (o.schedule.empty()) o.schedule = "one-cycle";
  const ImageData data = load_images(o.dataset, o.data);
  const int64_t n = data.train.size();
  if (o.validation < 0 || o.validation >= n) fail<ValueError>("train: --validation {} of {} training images", o.validation, n);
  const ImageSet train_set = data.train.part(0, n - o.validation);
  const ImageSet held_out = o.validation > 0 ? data.train.part(n - o.validation, n) : data.test;
  const std::string metric = o.validation > 0 ? "val_accuracy" : "test_accuracy";

  Json record = record_of("train cnn", o);
  record.set("dataset", o.dataset).set("data", data.path).set("data_sha256", data.sha256).set("model", o.model).set("norm", o.norm).set("label_smoothing", o.label_smoothing).set("validation", o.validation);
  Run run(o, std::move(record));
  Rng rng(o.seed);
  const ImageModel model = make_image_model(rng, o.model, o.norm, train_set);
  if (!o.init_from.empty()) load_model(o.init_from, *model);
  DataLoader loader(ImageDataset(train_set), rng, {.batch_size = o.batch_size});
  int64_t total = o.epochs > 0 ? o.epochs * loader.batches() : o.steps;
  if (o.steps > 0) total = std::min(total, o.steps);
  const auto optimizer = make_optimizer(*model, o);
  const auto schedule = make_schedule(*optimizer, o, total);
  run.console.say(fmt::format("{} on {}: {} images, {} parameters, {} steps of {}, seed {}, {} threads", model->type_name(), o.dataset, train_set.size(),
                              parameter_count(*model), total, o.batch_size, o.seed, thread_limit()));
  Training training{.model = *model,
                    .optimizer = *optimizer,
                    .schedule = *schedule,
                    .loader = loader,
                    .loss = [&](const Batch& b) { return cross_entropy(model->call(b.x), b.y, {.label_smoothing = o.label_smoothing}); },
                    .evaluate = [&] { return Evaluation{metric, predict(*model, held_out).accuracy, true}; },
                    .steps = total,
                    .evaluate_every = loader.batches(),
                    .checkpoint_every = o.checkpoint_every > 0 ? o.checkpoint_every : loader.batches(),
                    .clip = o.clip};
  const TrainingResult result = train(run, training);
  Json e("result");
  e.set(metric, result.evaluation.value).set("parameters", parameter_count(*model)).set("steps", result.steps).set("seconds", run.seconds());
  e.set("train_seconds", result.seconds).set("seed", o.seed).set("threads", thread_limit()).set("weights_hash", weights_hash(*model));
  e.set("interrupted", result.interrupted);
  if (run.keeps_files()) save_model(run.file("model.safetensors"), *model);
  run.metric(e);
  run.console.say(fmt::format("{} {:.2f} % after {} steps in {} ({} in all)", o.validation > 0 ? "validation accuracy" : "test accuracy",
                              100 * result.evaluation.value, result.steps, duration(result.seconds), duration(run.seconds())));
  if (run.keeps_files()) run.console.say("written to " + o.out + "; next: loupe eval " + o.out);
  return result.interrupted ? 130 : 0;
}

}  // namespace loupe::cli
