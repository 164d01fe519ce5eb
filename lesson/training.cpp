#include <loupe/autograd/ops.h>
#include <loupe/io/text.h>
#include <loupe/layers/small_batch.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/fluctuation.h>
#include <loupe/lesson/stats.h>
#include <loupe/lesson/training.h>
#include <loupe/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace loupe::lesson {
namespace {

// Gathers rows of images by index without recording.
Tensor rows(const Tensor& t, const std::vector<int64_t>& index) {
  return index_select(t, 0, from_data(index));
}

double cosine(double lr, int64_t step, int64_t steps) {
  return lr * 0.5 * (1 + std::cos(M_PI * static_cast<double>(step) / static_cast<double>(steps)));
}

// One bit an answer.
std::vector<int64_t> right_answers(const Tensor& logits, const Tensor& labels) {
  return eq(argmax(logits, -1), labels).to(DType::i64).to_vector<int64_t>();
}

int64_t correct(const Tensor& logits, const Tensor& labels) {
  return sum(eq(argmax(logits, -1), labels)).item<int64_t>();
}

}  // namespace

double steps_to_loss(const std::vector<double>& loss) {
  double sum = 0;
  for (size_t i = 0; i < loss.size(); ++i) {
    sum += loss[i];
    if (i >= 10) sum -= loss[i - 10];
    if (!std::isfinite(sum)) break;
    if (i >= 9 && sum / 10 < kStepsLoss) return static_cast<double>(i + 1);
  }
  return NAN;
}

std::shared_ptr<const Data> Data::load(const std::string& folder,
                                       const std::vector<std::string>& texts, int64_t train_images,
                                       int64_t test_images) {
  const ImageData images = load_images("fashion-mnist", folder);
  auto data = std::make_shared<Data>();
  data->images_name = images.name;
  data->images_hash = images.sha256.substr(0, 12);
  constexpr const char* kFashion = "362ba1f5424f";
  if (data->images_hash != kFashion)
    data->images_title = fmt::format("the images of {}", folder.empty() ? images.name : folder);
  const auto part = [](const ImageSet& set, int64_t first, int64_t last, Tensor& x, Tensor& y) {
    const ImageSet p = set.part(first, last);
    x = (p.images.to(DType::f32) / 255.0 - 0.286) / 0.353;
    y = p.labels.contiguous();
  };
  const int64_t n = images.train.size();
  part(images.train, 0, std::min(train_images, n - 1024), data->train_x, data->train_y);
  part(images.train, n - 1024, n, data->valid_x, data->valid_y);
  part(images.test, 0, std::min(test_images, images.test.size()), data->test_x, data->test_y);
  for (const std::string& text : texts) {
    const TextFile file = text.empty() ? read_words() : read_text(text);
    const CharVocab vocab = CharVocab::of(file.text, file.path);
    data->texts.push_back({text.empty() ? "word list" : file.path.substr(file.path.rfind('/') + 1),
                           file.sha256.substr(0, 12), vocab.encode(file.text, file.path),
                           vocab.size()});
    // The verdicts' twentieth holds 32 windows of 32 characters, or 16 of 64.
    constexpr size_t kShortest = 20 * (32 * 32 + 1);
    if (data->texts.back().ids.size() < kShortest)
      fail<ValueError>("lesson: {} has {} characters; a text needs at least {}", file.path,
                       data->texts.back().ids.size(), kShortest);
  }
  return data;
}

std::string Data::images_id() const {
  return fmt::format("{} {}, {} images", images_name, images_hash, train_x.size(0));
}

Score evaluate(Classifier& net, const Tensor& x, const Tensor& y, int64_t batch,
               std::vector<bool>* right) {
  NoGrad guard;
  Score score;
  int64_t count = 0;
  for (int64_t i = 0; i < x.size(0); i += batch) {
    const Tensor labels = y.slice(0, i, i + batch), logits = net(x.slice(0, i, i + batch));
    score.loss += cross_entropy(logits, labels).item() * static_cast<double>(labels.numel());
    for (int64_t bit : right_answers(logits, labels)) {
      count += bit;
      if (right) right->push_back(bit != 0);
    }
  }
  const double n = static_cast<double>(x.size(0));
  return {score.loss / n, static_cast<double>(count) / n};
}

Config ClassifierSpec::config() const {
  Config c{{"net", net},
           {"norm", norm.name},
           {"group", fmt::format("{}", group)},
           {"batch", fmt::format("{}", batch)},
           {"steps", fmt::format("{}", steps)},
           {"images", fmt::format("{}", images)},
           {"lr", fmt::format("{:.6g}", lr)},
           {"schedule", cosine ? "cosine" : "constant"},
           {"optimizer", "sgd momentum 0.9"},
           {"data", data->images_id()},
           {"tested", fmt::format("{}", data->test_x.size(0))}};
  if (gain != 1) c["gain"] = fmt::format("{:.6g}", gain);
  if (inspect) c["inspect"] = "1";
  if (precise) c["precise"] = "1";
  return c;
}

double ClassifierSpec::cost() const {
  const double mmac = net[0] == 'M' ? 0.12 : net == "D14" ? 1.5 : net == "D4" ? 0.4 : 0.82;
  const double groups = norm.name == "batch" ? static_cast<double>(batch) /
                                                   static_cast<double>(std::min(group, batch))
                                             : 1;
  return 1.2e-4 * mmac * static_cast<double>(steps * batch) +
         4e-5 * static_cast<double>(steps) * groups + (inspect ? 1 : 0.1);
}

namespace {

// The same trained weights judged in different ways, on all test images (C7), and the fluctuation
// of the statistics that batches of 16 and of 2 images have (C9d). Training mode would move the
// running averages, so a copy is used.
void inspect_classifier(const ClassifierSpec& s, Classifier& model, Record& r) {
  const Data& d = *s.data;
  const Tensor &x = d.test_x, &y = d.test_y;
  const int64_t n = x.size(0);
  std::vector<int64_t> by_class(static_cast<size_t>(n));
  std::iota(by_class.begin(), by_class.end(), 0);
  const auto labels = y.to_vector<int64_t>();
  std::ranges::stable_sort(by_class, {}, [&](int64_t i) { return labels[static_cast<size_t>(i)]; });
  const Tensor sorted_x = rows(x, by_class), sorted_y = rows(y, by_class);
  // Accuracy, with a mark for each image in the file's order.
  const auto judge = [&](const std::string& way, Classifier& net, int64_t batch, bool sorted) {
    std::vector<bool> right;
    r.metrics[way] =
        evaluate(net, sorted ? sorted_x : x, sorted ? sorted_y : y, batch, &right).accuracy;
    std::vector<bool> in_order = right;
    for (size_t i = 0; sorted && i < right.size(); ++i)
      in_order[static_cast<size_t>(by_class[i])] = right[i];
    r.marks[way] = marks_of(in_order);
  };
  judge("running_1", model, 1, false);
  judge("running_250", model, 250, false);
  Rng any(0);
  Classifier copy(any, s.net, s.norm, s.gain);
  copy_state(model, copy);
  train(copy);
  for (int64_t b : {2, 4, 8, 16, 64, 250}) {
    judge(fmt::format("batch_{}", b), copy, b, false);
    judge(fmt::format("sorted_{}", b), copy, b, true);
  }
  for (int64_t b : {16, 2}) {
    Fluctuation watch(copy, Fluctuation::Of::convolutions);
    const int64_t seen = std::min<int64_t>(60 * b, n / b * b);
    evaluate(copy, x.slice(0, 0, seen), y.slice(0, 0, seen), b);
    watch.write(r, fmt::format("_{}", b));
  }
}

}  // namespace

namespace {

// Running statistics anew: the average over batches of x.
void take_statistics(Classifier& model, const Tensor& x) {
  for (auto& [path, module] : named_modules(model)) {
    auto* image = dynamic_cast<BatchNorm2d*>(module);
    auto* features = dynamic_cast<BatchNorm1d*>(module);
    BatchNormState* state = image;
    if (features) state = features;
    if (!state) continue;
    state->options.momentum = std::nullopt;
    state->num_batches_tracked.zero_();
  }
  NoGrad guard;
  train(model);
  for (int64_t i = 0; i + 256 <= x.size(0); i += 256) model(x.slice(0, i, i + 256));
  eval(model);
}

// Half as bright, normalised as the images are.
Tensor darkened(const Tensor& x) { return ((x * 0.353 + 0.286) * 0.5 - 0.286) / 0.353; }

// The trained weights with the running averages of training and with new statistics, on test images
// as they are and on dark ones (P2, P8).
void judge_statistics(const ClassifierSpec& s, Classifier& model, Record& r) {
  const Data& d = *s.data;
  const Tensor seen = d.train_x.slice(0, 0, std::min<int64_t>(4096, d.train_x.size(0)));
  const auto judge = [&](const std::string& way, Classifier& net, const Tensor& x) {
    std::vector<bool> right;
    r.metrics[way] = evaluate(net, x, d.test_y, 250, &right).accuracy;
    r.marks[way] = marks_of(right);
  };
  Rng any(0);
  Classifier copy(any, s.net, s.norm, s.gain);
  copy_state(model, copy);
  take_statistics(copy, seen);
  judge("precise_accuracy", copy, d.test_x);
  judge("dark_accuracy", model, darkened(d.test_x));
  take_statistics(copy, darkened(seen));
  judge("dark_precise", copy, darkened(d.test_x));
}

}  // namespace

namespace {

// Batch renormalization begins as BatchNorm; its limits grow over the second quarter of the training.
void let_renorm_go(const std::vector<BatchRenormOptions*>& all, double done) {
  const double part = std::clamp(4 * done - 1, 0.0, 1.0);
  for (BatchRenormOptions* options : all) {
    options->r_max = 1 + 2 * part;
    options->d_max = 5 * part;
  }
}

std::vector<BatchRenormOptions*> renorms_of(Module& model) {
  std::vector<BatchRenormOptions*> all;
  for (auto& [path, module] : named_modules(model)) {
    if (auto* image = dynamic_cast<BatchRenorm2d*>(module)) all.push_back(&image->options);
    if (auto* features = dynamic_cast<BatchRenorm1d*>(module)) all.push_back(&features->options);
  }
  return all;
}

}  // namespace

void ClassifierSpec::make(Record& r) const {
  Rng init(stream(r.seed, 0));
  Classifier model(init, net, norm, gain, norm.name == "none" ? 0 : group);
  SGD optimizer(model, {.lr = lr, .momentum = 0.9});
  Order order(stream(r.seed, 1), std::min(images, data->train_x.size(0)));
  auto& loss_curve = r.series["loss"];
  const std::vector<BatchRenormOptions*> renorms = renorms_of(model);
  for (int64_t step = 0; step < steps; ++step) {
    const auto index = order.next(batch);
    let_renorm_go(renorms, static_cast<double>(step) / static_cast<double>(steps));
    optimizer.set_lr(cosine ? lesson::cosine(lr, step, steps) : lr);
    const Tensor loss =
        cross_entropy(model(rows(data->train_x, index)), rows(data->train_y, index));
    loss_curve.push_back(loss.item());
    if (!std::isfinite(loss_curve.back())) break;
    zero_grad(model);
    loss.backward();
    optimizer.step();
  }
  r.metrics["final_loss"] = tail_mean(loss_curve);
  r.metrics[kSteps] = steps_to_loss(loss_curve);
  r.dead = is_dead(r.metrics["final_loss"], 10);
  eval(model);
  const Score valid = evaluate(model, data->valid_x, data->valid_y, 256);
  r.metrics["valid_loss"] = valid.loss;
  r.dead |= !std::isfinite(valid.loss);
  if (r.tuning) return;
  std::vector<bool> right;
  const Score test = evaluate(model, data->test_x, data->test_y, 250, &right);
  r.marks["test_accuracy"] = marks_of(right);
  r.metrics["test_accuracy"] = test.accuracy;
  r.metrics["test_loss"] = test.loss;
  if (inspect) inspect_classifier(*this, model, r);
  if (precise) judge_statistics(*this, model, r);
}

Config TransformerSpec::config() const {
  Config c{{"task", task},
           {"norm", norm.name},
           {"layers", fmt::format("{}", net.layers)},
           {"width", fmt::format("{}", net.width)},
           {"context", fmt::format("{}", net.context)},
           {"batch", fmt::format("{}", batch)},
           {"steps", fmt::format("{}", steps)},
           {"lr", fmt::format("{:.6g}", lr)},
           {"optimizer", "adam 0.9 0.98"},
           {"schedule", warm_up ? "warm-up 10 %, cosine" : "cosine"},
           {"heads", fmt::format("{}", net.heads)}};
  if (net.scaled) c["scaled"] = "1";
  if (net.norm_at != NormAt::pre) c["norm at"] = net.norm_at == NormAt::post ? "post" : "peri";
  if (net.branches != Branches::plain)
    c["branches"] = net.branches == Branches::fixup ? "fixup" : "skip init";
  if (net.qk_norm) c["qk norm"] = "1";
  if (!net.feed_norm.name.empty()) c["feed norm"] = net.feed_norm.name;
  if (of_text != 1) c["of text"] = fmt::format("{:.6g}", of_text);
  if (watch_logits) c["logits"] = "1";
  if (clip > 0) c["clip"] = fmt::format("{:.6g}", clip);
  if (inspect) c["inspect"] = "1";
  if (task == "count") c["length"] = fmt::format("{} to {}", shortest, longest);
  if (task == "text") c["data"] = data->texts[text].name + " " + data->texts[text].hash;
  return c;
}

double TransformerSpec::cost() const {
  const double parameters = 12.0 * static_cast<double>(net.layers * net.width * net.width);
  return 3e-10 * parameters * static_cast<double>(steps * batch * net.context) +
         3e-4 * static_cast<double>(steps) + 0.2;
}

namespace {

// The three tasks as batches of (symbols, targets, mask).
struct Task {
  std::unique_ptr<Dataset> train, test;
  int64_t outputs = 2;
};

Task make_task(const TransformerSpec& s, uint64_t seed, bool tuning) {
  Task t;
  const int64_t samples = s.steps * s.batch;
  if (s.task == "text") {
    // 90 % to train on, 5 % to choose learning rates by, 5 % for verdicts.
    const std::span all(s.data->texts[s.text].ids);
    const size_t twentieth = all.size() / 20;
    const auto used = static_cast<size_t>(s.of_text * static_cast<double>(18 * twentieth));
    t.train = std::make_unique<TextDataset>(all.first(used),
                                            TextDataset::Options{.context = s.net.context});
    t.test = std::make_unique<TextDataset>(
        all.subspan((tuning ? 18 : 19) * twentieth, twentieth),
        TextDataset::Options{.context = s.net.context, .stride = s.net.context});
    t.outputs = s.data->texts[s.text].symbols;
  } else if (s.task == "bits") {
    t.train = std::make_unique<RandomBits>(stream(seed, 2), samples, s.net.context);
    t.test = std::make_unique<RandomBits>(stream(seed, 3), 4096, s.net.context);
  } else if (s.task == "count") {
    t.train = std::make_unique<CountTask>(stream(seed, 2), samples, s.shortest, s.longest);
    t.test = std::make_unique<CountTask>(stream(seed, 3), 2000, s.shortest, s.longest);
  } else {
    fail<ValueError>("lesson: no task '{}'; there are text, bits, count", s.task);
  }
  return t;
}

Score evaluate(Transformer& net, const Dataset& data, int64_t samples, int64_t batch) {
  NoGrad guard;
  double loss = 0;
  int64_t right = 0, count = 0;
  for (int64_t i = 0; i + batch <= std::min(samples, data.size()); i += batch) {
    std::vector<int64_t> index(static_cast<size_t>(batch));
    std::iota(index.begin(), index.end(), i);
    const Batch b = data.batch(index);
    const Tensor logits = net.masked(b.x, b.mask);
    const Tensor flat = logits.reshape({-1, logits.size(-1)}), labels = b.y.reshape({-1});
    loss += cross_entropy(flat, labels).item() * static_cast<double>(labels.numel());
    right += correct(flat, labels);
    count += labels.numel();
  }
  const double n = static_cast<double>(count);
  return {loss / n, static_cast<double>(right) / n};
}

// Behind every norm, before gain and bias, in eval mode: mean and deviation of each token over its
// features (largest |mean|, largest |deviation - 1|, spread of the deviation, its histogram) and
// |mean| of each feature over the tokens.
void token_statistics(Transformer& model, const Batch& batch, Record& r) {
  NoGrad guard;
  std::vector<double> deviations;
  double token_mean = 0, feature_mean = 0;
  int norms = 0;
  const auto look = [&](NormLayer& n) {
    n.get()->add_forward_hook([&](Module& m, const Tensor&, const Tensor& out) {
      Tensor y = out;
      const StateDict own = named_parameters(m);
      for (const char* name : {"bias", "weight"})  // where the norm has them
        for (const Named& p : own)
          if (p.name == name) y = name[0] == 'b' ? y - p.tensor : y / p.tensor;
      const Tensor x = y.to(DType::f64);
      token_mean = worst_of(token_mean, max(abs(mean(x, {1}))).item());
      feature_mean += mean(abs(mean(x, {0}))).item();
      ++norms;
      for (double v : std(x, {1}, 0).to_vector<double>()) deviations.push_back(v);
    });
  };
  for (TransformerBlock& b : model.blocks) look(b.norm1), look(b.norm2);
  look(model.norm);
  model(batch.x);
  for (auto& [path, m] : named_modules(model)) m->clear_forward_hooks();
  auto& histogram = r.series["token_std"];
  histogram.assign(30, 0);
  double off = 0;
  for (double d : deviations) {
    off = worst_of(off, std::abs(d - 1));
    histogram[std::min<size_t>(29, static_cast<size_t>(std::lround(d / 0.1)))] +=
        1 / static_cast<double>(deviations.size());
  }
  r.metrics["token_mean"] = token_mean;
  r.metrics["token_std_off"] = off;
  r.metrics["token_std_sd"] = stddev(deviations);
  r.metrics["feature_mean"] = feature_mean / norms;
}

// Fluctuation over 60 batches of data, in training mode; of the real tokens alone, or of padding
// too.
void batch_fluctuation(Transformer& model, const Dataset& data, int64_t batch, bool masked,
                       const std::string& suffix, Record& r) {
  Fluctuation watch(model, Fluctuation::Of::all);
  NoGrad guard;
  std::vector<int64_t> index(static_cast<size_t>(batch));
  for (int64_t i = 0; i + batch <= std::min(60 * batch, data.size()); i += batch) {
    std::iota(index.begin(), index.end(), i);
    const Batch b = data.batch(index);
    if (masked) watch.keep = b.mask.reshape({-1});
    model.masked(b.x, b.mask);
  }
  watch.write(r, suffix);
}

// One model of the counting task on three kinds of batches of 16: a fixed length, a variable length
// with padding counted, and without.
void length_fluctuation(Transformer& model, const TransformerSpec& s, uint64_t seed, Record& r) {
  const int64_t middle = (s.shortest + s.longest) / 2;
  const CountTask fixed(stream(seed, 4), 960, middle, middle);
  const CountTask variable(stream(seed, 3), 960, s.shortest, s.longest);
  batch_fluctuation(model, fixed, 16, true, "_fixed", r);
  batch_fluctuation(model, variable, 16, false, "_counted", r);
  batch_fluctuation(model, variable, 16, true, "_real", r);
}

}  // namespace

namespace {

// Of the attention, over 32 windows of held-out data.
double largest_logit(Transformer& model, const Dataset& data) {
  NoGrad guard;
  std::vector<int64_t> index(static_cast<size_t>(std::min<int64_t>(32, data.size())));
  std::iota(index.begin(), index.end(), 0);
  for (TransformerBlock& b : model.blocks) b.watch_logits = true;
  model(data.batch(index).x);
  double largest = 0;
  for (TransformerBlock& b : model.blocks) {
    b.watch_logits = false;
    largest = std::max(largest, b.largest_logit);
  }
  return largest;
}

}  // namespace

void TransformerSpec::make(Record& r) const {
  const Task data_of = make_task(*this, r.seed, r.tuning);
  Rng init(stream(r.seed, 0));
  TransformerOptions options = net;
  options.outputs = data_of.outputs;
  options.symbols = task == "text" ? data->texts[text].symbols : task == "count" ? 3 : 2;
  options.pool = task == "count";
  options.causal = task != "count";
  Transformer model(init, options, norm);
  Adam optimizer(model, {.lr = lr, .beta1 = 0.9, .beta2 = 0.98});
  Order order(stream(r.seed, 1), data_of.train->size());
  auto& loss_curve = r.series["loss"];
  const int64_t warm = warm_up ? std::max<int64_t>(1, steps / 10) : 0;
  for (int64_t step = 0; step < steps; ++step) {
    const auto index = order.next(batch);
    const Batch b = data_of.train->batch(index);
    optimizer.set_lr(step < warm ? lr * static_cast<double>(step + 1) / static_cast<double>(warm)
                                 : cosine(lr, step - warm, steps - warm));
    const Tensor logits = model.masked(b.x, b.mask);
    const Tensor loss = cross_entropy(logits.reshape({-1, logits.size(-1)}), b.y.reshape({-1}));
    loss_curve.push_back(loss.item());
    if (!std::isfinite(loss_curve.back())) break;
    zero_grad(model);
    loss.backward();
    if (clip > 0) clip_grad_norm_(parameters(model), clip);
    optimizer.step();
  }
  r.metrics["initial_loss"] = loss_curve.front();
  r.metrics["final_loss"] = tail_mean(loss_curve);
  eval(model);
  const int64_t samples = task == "text" ? (r.tuning ? 256 : 512) : task == "bits" ? 1024 : 2000;
  const Score held = evaluate(model, *data_of.test, samples, batch);
  r.metrics[r.tuning ? "valid_loss" : "eval_loss"] = held.loss;
  r.metrics["accuracy"] = held.accuracy;
  // Bits cannot be learned, so ending at ln 2 is not death there.
  r.dead = !std::isfinite(held.loss) || (task == "text" && is_dead(held.loss, options.outputs) &&
                                         is_dead(r.metrics["final_loss"], options.outputs));
  if (r.tuning) return;
  if (watch_logits) r.metrics["largest_logit"] = largest_logit(model, *data_of.test);
  if (inspect && task == "text") {
    std::vector<int64_t> index(32);
    std::iota(index.begin(), index.end(), 0);
    token_statistics(model, data_of.test->batch(index), r);
  }
  r.metrics["train_mode_loss"] = NAN;
  if (!std::isfinite(held.loss)) return;  // a run that learned nothing still has both losses
  train(model);
  r.metrics["train_mode_loss"] = evaluate(model, *data_of.test, samples, batch).loss;
  if (!inspect) return;
  batch_fluctuation(model, *data_of.test, 16, norm.masked, "_16", r);
  if (task == "count") length_fluctuation(model, *this, r.seed, r);
}

}  // namespace loupe::lesson
