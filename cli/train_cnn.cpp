// `loupe train cnn` and what evaluates its models.
#include <loupe/cli/image_model.h>
#include <loupe/cli/training.h>

#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>
#include <loupe/layers/state.h>
#include <loupe/view/pictures.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace loupe::cli {

ImageModel make_image_model(Rng& rng, const std::string& model, const std::string& norm,
                            const ImageSet& set, bool augmented) {
  const int64_t channels = set.images.size(1), size = set.images.size(2),
                classes = static_cast<int64_t>(set.classes.size());
  if (model == "resnet20")
    return std::make_unique<ResNetCifar>(
        rng, ResNetCifarConfig{.classes = classes, .in_channels = channels});
  SmallCnnConfig config{
      .in_channels = channels, .classes = classes, .image_size = size, .norm = norm_kind(norm)};
  if (model == "wide") config.widths = {48, 96, 96, 160};
  if (augmented) config.dropouts = {0.1, 0.1, 0.3};
  return std::make_unique<SmallCnn>(rng, config);
}

RunImageModel load_image_model(const Json& options, const std::string& folder) {
  const bool cifar = options.get_string("dataset") == "cifar10";
  const Shape image = cifar ? Shape{1, 3, 32, 32} : Shape{1, 1, 28, 28};
  ImageSet set;
  set.images = zeros(image, DType::u8);
  set.classes.resize(10);
  Rng rng(0);
  ImageModel model =
      make_image_model(rng, options.get_string("model"), options.get_string("norm"), set);
  load_model(folder + "/model.safetensors", *model);
  return {std::move(model), image};
}

AugmentOptions augmentation(const std::string& dataset, const ImageSet& set) {
  AugmentOptions a{.crop_padding = dataset == "cifar10" ? 4 : 2,
                   .flip = dataset == "mnist" ? 0 : 0.5,
                   .fill = {}};
  for (size_t c = 0; c < set.mean.size(); ++c)
    a.fill.push_back(-set.mean[c] / set.std[c]);  // a black pixel, as the network sees it
  return a;
}

namespace {

// Logits of a batch (N, classes): the model's, or logarithms of its mean probabilities over the
// views.
Tensor logits_of(Module& model, const Tensor& x, const AugmentOptions* views) {
  if (!views) return model.call(x);
  const std::vector<Tensor> seen = test_views(x, *views);
  Tensor sum;
  for (const Tensor& view : seen) {
    const Tensor p = softmax(model.call(view), 1);
    sum = sum.defined() ? sum + p : p;
  }
  return log(sum / static_cast<double>(seen.size()));
}

}  // namespace

Predictions predict(Module& model, const ImageSet& set, Communicator* ranks,
                    const AugmentOptions* views) {
  constexpr int64_t kBatch = 500;
  const ImageDataset data(set);
  const Share share = ranks ? ranks->share() : Share{};
  NoGrad guard;
  // Each batch is one rank's: the numbers that the others have there are 0, and so are added.
  const Tensor labels = zeros({data.size()}, DType::i64);
  std::vector<double> losses;
  for (int64_t first = 0; first < data.size(); first += kBatch) {
    losses.push_back(0);
    if (static_cast<int64_t>(losses.size() - 1) % share.ranks != share.rank) continue;
    if (share.is_whole()) stop_if_interrupted();
    std::vector<int64_t> indices(static_cast<size_t>(std::min(kBatch, data.size() - first)));
    std::iota(indices.begin(), indices.end(), first);
    const Batch batch = data.batch(indices);
    const Tensor logits = logits_of(model, batch.x, views);
    losses.back() = cross_entropy(logits, batch.y, {.reduction = Reduction::sum}).item();
    labels.slice(0, first, first + batch.size()).copy_(argmax(logits, 1));
  }
  if (ranks) {
    ranks->all_reduce(labels);
    losses = ranks->sum(losses);
  }
  const double loss = std::accumulate(losses.begin(), losses.end(), 0.0);
  Predictions out;
  out.labels = labels.to_vector<int64_t>();
  const auto truth = set.labels.to_vector<int64_t>();
  for (size_t i = 0; i < truth.size(); ++i)
    if (truth[i] != out.labels[i]) out.wrong.push_back(static_cast<int64_t>(i));
  out.accuracy =
      static_cast<double>(truth.size() - out.wrong.size()) / static_cast<double>(truth.size());
  out.loss = loss / static_cast<double>(truth.size());
  return out;
}

Tensor contact_sheet(const ImageSet& set, std::vector<int64_t> which, int64_t columns,
                     int64_t most) {
  which.resize(std::min(which.size(), static_cast<size_t>(most)));
  return picture_of_images(index_select(set.images, 0, from_data(which)), {.columns = columns});
}

namespace {

// The first wrong images of an evaluation as one picture, and what they are and were taken for.
void show_wrong(EventWriter& board, const ImageSet& set, const Predictions& p, int64_t step) {
  constexpr int64_t kColumns = 8, kMost = 32;
  board.image("wrong", contact_sheet(set, p.wrong, kColumns, kMost), step);
  std::string table = "| image | is | taken for |\n|---|---|---|\n";
  const auto truth = set.labels.to_vector<int64_t>();
  for (size_t k = 0; k < p.wrong.size() && k < kMost; ++k) {
    const size_t image = static_cast<size_t>(p.wrong[k]);
    const auto name = [&](int64_t label) { return set.classes[static_cast<size_t>(label)]; };
    table += fmt::format("| {} | {} | {} |\n", image, name(truth[image]), name(p.labels[image]));
  }
  board.text("wrong", table, step);
}

// The images as training sees them.
std::shared_ptr<const Dataset> training_images(const ImageSet& set, const TrainCnnOptions& o) {
  const auto images = std::make_shared<const ImageDataset>(set);
  if (!o.augment) return images;
  return std::make_shared<const AugmentedDataset>(images, augmentation(o.dataset, set));
}

// What the command line leaves open.
TrainCnnOptions with_defaults(TrainCnnOptions o) {
  if (!o.epochs && !o.steps) o.epochs = o.augment ? 30 : 10;
  if (!o.batch_size) o.batch_size = 64;
  if (!o.lr) o.lr = o.optimizer == "sgd" ? 0.1 : 0.003;
  if (!o.weight_decay) o.weight_decay = 0.01;
  if (o.schedule.empty()) o.schedule = "one-cycle";
  if (o.dataset != "fashion-mnist" && o.data.empty())
    fail<ValueError>("train: --dataset {} needs --data, the folder of its files", o.dataset);
  return o;
}

// The options that a resumed run must repeat.
Json record_of_images(const TrainCnnOptions& o, const ImageData& data) {
  Json record = record_of("train cnn", o);
  record.set("dataset", o.dataset)
      .set("data", data.path)
      .set("data_sha256", data.sha256)
      .set("model", o.model)
      .set("norm", o.norm)
      .set("label_smoothing", o.label_smoothing)
      .set("validation", o.validation);
  if (o.augment) record.set("augment", true);  // runs of before are without the member
  if (o.sync_norm) record.set("sync_norm", true);
  return record;
}

}  // namespace

int train_cnn(const TrainCnnOptions& given) {
  const TrainCnnOptions o = with_defaults(given);
  const ImageData data = load_images(o.dataset, o.data);
  const int64_t n = data.train.size();
  if (o.validation < 0 || o.validation >= n)
    fail<ValueError>("train: --validation {} of {} training images", o.validation, n);
  const ImageSet train_set = data.train.part(0, n - o.validation);
  const ImageSet held_out = o.validation > 0 ? data.train.part(n - o.validation, n) : data.test;
  const std::string metric = o.validation > 0 ? "val_accuracy" : "test_accuracy";

  Run run(o, record_of_images(o, data));
  Rng rng(o.seed);
  const ImageModel model = make_image_model(rng, o.model, o.norm, train_set, o.augment);
  if (!o.init_from.empty()) load_model(o.init_from, *model);
  DataLoader loader(training_images(train_set, o), rng,
                    {.batch_size = *o.batch_size, .share = run.ranks().share()});
  const int64_t total = total_steps(o, loader.batches());
  const auto optimizer = make_optimizer(*model, o);
  const auto schedule = make_schedule(*optimizer, o, total);
  run.console.say(fmt::format("{} on {}: {} images, {} parameters, {} steps of {}, seed {}, {}",
                              model->type_name(), o.dataset, train_set.size(),
                              parameter_count(*model), total, *o.batch_size, o.seed,
                              run.workers()));
  Training training{
      .model = *model,
      .optimizer = *optimizer,
      .schedule = *schedule,
      .loader = loader,
      .forward = [&](const Batch& b) { return model->call(b.x); },
      .loss =
          [&](const Tensor& logits, const Batch& b) {
            return cross_entropy(logits, b.y, {.label_smoothing = o.label_smoothing});
          },
      .evaluate =
          [&](int64_t step) {
            const Predictions p = predict(*model, held_out, &run.ranks());
            if (run.board()) show_wrong(*run.board(), held_out, p, step);
            return Evaluation{
                metric, p.accuracy, true, {{o.validation > 0 ? "val_loss" : "test_loss", p.loss}}};
          },
      .steps = total,
      .evaluate_every = loader.batches(),
      .checkpoint_every = o.checkpoint_every > 0 ? o.checkpoint_every : loader.batches(),
      .clip = o.clip,
      .sync_norm = o.sync_norm};
  const TrainingResult result = train(run, training);
  std::optional<Predictions> over_views;
  if (o.augment && !result.interrupted) {
    const EvalScope scope(*model);
    const AugmentOptions views = augmentation(o.dataset, train_set);
    over_views = predict(*model, held_out, &run.ranks(), &views);
  }
  Json e("result");
  e.set(metric, result.evaluation ? result.evaluation->value : NAN)
      .set("parameters", parameter_count(*model))
      .set("steps", result.steps)
      .set("seconds", run.seconds());
  if (over_views) e.set(metric + "_over_views", over_views->accuracy);
  e.set("train_seconds", result.seconds)
      .set("seed", o.seed)
      .set("threads", thread_limit())
      .set("weights_hash", weights_hash(*model));
  say_ranks(e, run.ranks(), result.exchanged);
  e.set("state_hash", result.state_hash).set("interrupted", result.interrupted);
  if (run.keeps_files()) save_model(run.file("model.safetensors"), *model);
  run.metric(e);
  if (result.interrupted) return say_interrupted(run, training, result);
  run.console.say(fmt::format("{} {:.2f} % after {} steps in {} ({} in all)",
                              o.validation > 0 ? "validation accuracy" : "test accuracy",
                              100 * result.evaluation->value, result.steps,
                              duration(result.seconds), duration(run.seconds())));
  if (over_views)
    run.console.say(fmt::format("{:.2f} % with the mean over the views of each image",
                                100 * over_views->accuracy));
  if (run.keeps_files()) run.console.say("written to " + o.out + "; next: loupe eval " + o.out);
  return 0;
}

}  // namespace loupe::cli
