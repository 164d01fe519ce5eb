#include <loupe/autograd/ops.h>
#include <loupe/core/error.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/nets.h>
#include <loupe/models/small_cnn.h>
#include <loupe/web/live.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace loupe::live {
namespace {

// Two arms of a spiral, `turns` times around; the other arm is the first one turned by half a
// circle.
constexpr int64_t kPoints = 512;
constexpr double kTurns = 1.5, kNoise = 0.03;
constexpr int64_t kPointWidth = 32;  // of the perceptron's hidden layers

constexpr int64_t kWindow = 32,
                  kWindowStep = 16;  // characters of a sample, and from one to the next
constexpr int64_t kBits = 16, kBitSamples = 16384;

[[noreturn]] void wrong_value(const std::string& name, const std::string& value,
                              const std::string& expected) {
  fail<ValueError>("live: {}={}: expected {}", name, value, expected);
}

double number(const std::string& name, const std::string& value, double low, double high) {
  char* end = nullptr;
  const double x = std::strtod(value.c_str(), &end);
  if (value.empty() || *end != '\0' || !(x >= low && x <= high))
    wrong_value(name, value, fmt::format("a number from {} to {}", low, high));
  return x;
}

int64_t whole(const std::string& name, const std::string& value, int64_t low, int64_t high) {
  char* end = nullptr;
  const long long x = std::strtoll(value.c_str(), &end, 10);
  if (value.empty() || *end != '\0' || x < low || x > high)
    wrong_value(name, value, fmt::format("a whole number from {} to {}", low, high));
  return x;
}

std::string one_of(const std::string& name, const std::string& value,
                   const std::vector<std::string>& words) {
  if (std::find(words.begin(), words.end(), value) == words.end()) {
    std::string all;
    for (const std::string& w : words) all += (all.empty() ? "" : ", ") + w;
    wrong_value(name, value, "one of " + all);
  }
  return value;
}

// --- What is learned ---

// (n, 2) points in [-1, 1] and the arm that each is on.
void spirals(Rng& rng, int64_t n, Tensor& x, Tensor& y) {
  NoGrad guard;
  const Tensor along = sqrt(empty({n, 1}).uniform_(rng, 0.05, 1));  // evenly over the area
  const Tensor arm = remainder(arange(n).reshape({n, 1}), 2);
  const Tensor angle = (along * (2 * kTurns) + arm.to(DType::f32)) * M_PI;
  const Tensor radius = along + randn(rng, {n, 1}) * kNoise;
  x = cat({radius * cos(angle), radius * sin(angle)}, 1);
  y = arm.reshape({n});
}

Task spirals(uint64_t seed) {
  Task t;
  Rng train(lesson::stream(seed, 2)), test(lesson::stream(seed, 3));
  spirals(train, kPoints, t.x, t.y);
  spirals(test, kPoints, t.test_x, t.test_y);
  return t;
}

Task images(const Data& d) {
  if (!d.train_x.defined() || !d.test_x.defined()) fail<ValueError>("live: there are no images");
  return {.x = d.train_x, .y = d.train_y, .test_x = d.test_x, .test_y = d.test_y, .classes = 10};
}

// Windows of characters: x, and y one further. 'a' is 1, the end of a word 0.
void windows(const std::string& text, Tensor& x, Tensor& y) {
  std::vector<int64_t> xs, ys;
  int64_t n = 0;
  const auto id = [&](int64_t i) {
    const char c = text[static_cast<size_t>(i)];
    return static_cast<int64_t>(c == '\n' ? 0 : c - 'a' + 1);
  };
  for (int64_t at = 0; at + kWindow < std::ssize(text); at += kWindowStep, ++n)
    for (int64_t i = at; i < at + kWindow; ++i) {
      xs.push_back(id(i));
      ys.push_back(id(i + 1));
    }
  if (n == 0) fail<ValueError>("live: {} characters are too few words", text.size());
  x = from_data(xs, Shape{n, kWindow});
  y = from_data(ys, Shape{n, kWindow});
}

// One word in ten is kept to test.
Task words(const Data& d) {
  std::string train, test;
  int64_t line = 0;
  for (size_t at = 0; at < d.words.size(); ++line) {
    const size_t end = std::min(d.words.find('\n', at), d.words.size() - 1) + 1;
    (line % 10 == 9 ? test : train) += d.words.substr(at, end - at);
    at = end;
  }
  Task t{.classes = 27};
  windows(train, t.x, t.y);
  windows(test, t.test_x, t.test_y);
  return t;
}

void bits(uint64_t stream, int64_t n, Tensor& x, Tensor& y) {
  Rng rng(stream);
  std::vector<int64_t> values(static_cast<size_t>(n * (kBits + 1)));
  rng.integers(0, 2, values);
  const Tensor all = from_data(values, Shape{n, kBits + 1});
  x = all.slice(1, 0, kBits).contiguous();
  y = all.slice(1, 1).contiguous();
}

Task bits(uint64_t seed) {
  Task t;
  bits(lesson::stream(seed, 2), kBitSamples, t.x, t.y);
  bits(lesson::stream(seed, 3), 1024, t.test_x, t.test_y);
  return t;
}

Task make_task(const Settings& s, const Data& d) {
  if (s.net == "spirals") return spirals(s.seed);
  if (s.net == "words") return words(d);
  if (s.net == "bits") return bits(s.seed);
  return images(d);
}

// --- What learns ---

// A perceptron of points in the plane: depth x (linear - norm - ReLU), then two answers.
class PointNet : public Layer<PointNet> {
 public:
  PointNet(Rng& rng, int64_t depth, const lesson::Norm& norm) : out(rng, kPointWidth, 2) {
    for (int64_t i = 0; i < depth; ++i) {
      hidden.push_back(Linear(rng, i ? kPointWidth : 2, kPointWidth));
      norms.push_back(lesson::NormLayer(norm, kPointWidth, lesson::Place::features));
    }
  }
  Tensor forward(In x) {
    Tensor y = x;
    size_t i = 0;
    for (Linear& layer : hidden) y = relu(norms[i++](layer(y)));
    return out(y);
  }
  void visit(Visitor& v) override { v("hidden", hidden, "norms", norms, "out", out); }
  std::string type_name() const override { return "PointNet"; }

  ModuleList<Linear> hidden;
  ModuleList<lesson::NormLayer> norms;
  Linear out;
};

lesson::Norm norm_of(const Settings& s) {
  if (s.norm == "batch") return lesson::batch_norm();
  if (s.norm == "layer") return lesson::layer_norm();
  if (s.norm == "group") return lesson::group_norm();
  if (s.norm == "rms") return lesson::rms_norm();
  if (s.norm == "dyt") return lesson::dynamic_tanh();
  return lesson::no_norm();
}

std::unique_ptr<Module> make_model(const Settings& s, Rng& rng) {
  const lesson::Norm norm = norm_of(s);
  if (s.net == "spirals") return std::make_unique<PointNet>(rng, s.depth, norm);
  if (s.net == "small-cnn") {
    if (s.norm == "rms" || s.norm == "dyt")
      fail<ValueError>("live: small-cnn has norms none, batch, layer and group, not {}", s.norm);
    return std::make_unique<SmallCnn>(rng, SmallCnnConfig{.norm = norm_kind(s.norm)});
  }
  if (s.net == "words" || s.net == "bits") {
    const bool text = s.net == "words";
    const int64_t symbols = text ? 27 : 2;
    return std::make_unique<lesson::Transformer>(
        rng,
        lesson::TransformerOptions{.layers = s.depth,
                                   .context = text ? kWindow : kBits,
                                   .symbols = symbols,
                                   .outputs = symbols},
        norm);
  }
  std::string name = "F1";
  if (s.net == "mlp") name = fmt::format("M{}", s.depth + 1);  // which counts the last layer
  if (s.net == "plain") name = fmt::format("D{}", s.depth);
  return std::make_unique<lesson::Classifier>(rng, name, norm);
}

void set_group(Module& model, int64_t group) {
  for (auto& [path, module] : named_modules(model))
    if (auto* layer = dynamic_cast<lesson::NormLayer*>(module)) layer->set_group(group);
}

std::unique_ptr<Module> initial_model(const Settings& s) {
  Rng init(lesson::stream(s.seed, 0));
  std::unique_ptr<Module> model = make_model(s, init);
  if (s.gain != 1) lesson::scale_weights(*model, s.gain);
  set_group(*model, s.group);
  return model;
}

std::unique_ptr<Optimizer> make_optimizer(const Settings& s, Module& model) {
  std::vector<ParamGroup> all{{named_parameters(model)}};
  if (s.optimizer == "adam") return std::make_unique<Adam>(all, Adam::Options{.lr = s.lr});
  if (s.optimizer == "adamw") return std::make_unique<AdamW>(all, AdamW::Options{.lr = s.lr});
  if (s.optimizer == "rmsprop") return std::make_unique<RMSprop>(all, RMSprop::Options{.lr = s.lr});
  return std::make_unique<SGD>(all, SGD::Options{.lr = s.lr, .momentum = 0.9});
}

void set_images(const Tensor& images, const Tensor& labels, Tensor& x, Tensor& y) {
  if (images.dtype() != DType::u8 || images.dim() != 4 || images.size(1) != 1 ||
      labels.shape() != Shape{images.size(0)})
    fail<ShapeError>("live: expected images u8 (n, 1, 28, 28) and as many labels, got {} and {}",
                     images.shape(), labels.shape());
  NoGrad guard;
  x = (images.to(DType::f32) / 255.0 - 0.286) / 0.353;
  y = labels.contiguous();
}

}  // namespace

const std::vector<std::string>& networks() {
  static const std::vector<std::string> all{"spirals",   "mlp",   "cnn", "plain",
                                            "small-cnn", "words", "bits"};
  return all;
}
const std::vector<std::string>& norms() {
  static const std::vector<std::string> all{"none", "batch", "layer", "group", "rms", "dyt"};
  return all;
}
const std::vector<std::string>& optimizers() {
  static const std::vector<std::string> all{"sgd", "adam", "adamw", "rmsprop"};
  return all;
}

void Settings::set(const std::string& name, const std::string& value) {
  if (name == "net") net = one_of(name, value, networks());
  else if (name == "norm") norm = one_of(name, value, norms());
  else if (name == "optimizer") optimizer = one_of(name, value, optimizers());
  else if (name == "depth") depth = whole(name, value, 1, 32);
  else if (name == "batch") batch = whole(name, value, 1, 1024);
  else if (name == "group") group = whole(name, value, 0, 1024);
  else if (name == "lr") lr = number(name, value, 1e-9, 1e9);
  else if (name == "gain") gain = number(name, value, 1e-6, 1e6);
  else if (name == "seed") seed = static_cast<uint64_t>(whole(name, value, 0, int64_t{1} << 53));
  else
    fail<ValueError>(
        "live: no setting {}; there are net, norm, optimizer, depth, batch, group, lr, gain, seed",
        name);
}

Settings Settings::from(const std::string& text) {
  Settings s;
  for (size_t at = text.find_first_not_of(' '); at < text.size();
       at = text.find_first_not_of(' ', at)) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    const size_t equals = word.find('=');
    if (equals == std::string::npos) fail<ValueError>("live: {}: expected name=value", word);
    s.set(word.substr(0, equals), word.substr(equals + 1));
    at = end;
  }
  return s;
}

void Data::set_train(const Tensor& images, const Tensor& labels) {
  set_images(images, labels, train_x, train_y);
}
void Data::set_test(const Tensor& images, const Tensor& labels) {
  set_images(images, labels, test_x, test_y);
}

std::string page_words(const std::string& word_list) {
  std::string out;
  int64_t found = 0;
  for (size_t at = 0; at < word_list.size();) {
    const size_t end = std::min(word_list.find('\n', at), word_list.size());
    const std::string word = word_list.substr(at, end - at);
    const auto plain = [](char c) { return c >= 'a' && c <= 'z'; };
    if (!word.empty() && std::all_of(word.begin(), word.end(), plain) && found++ % 8 == 0)
      out += word + '\n';
    at = end + 1;
  }
  return out;
}

Run::Run(Settings settings, const Data& data)
    : settings_(std::move(settings)),
      task_(make_task(settings_, data)),
      model_(initial_model(settings_)),
      optimizer_(make_optimizer(settings_, *model_)),
      order_(lesson::stream(settings_.seed, 1), task_.x.size(0)) {}

double Run::step() {
  if (!losses_.empty() && !std::isfinite(losses_.back())) return losses_.back();
  const Tensor index = from_data(order_.next(settings_.batch));
  const Tensor loss =
      loss_of(model_->call(index_select(task_.x, 0, index)), index_select(task_.y, 0, index));
  losses_.push_back(loss.item());
  if (!std::isfinite(losses_.back())) return losses_.back();
  zero_grad(*model_);
  loss.backward();
  optimizer_->step();
  return losses_.back();
}

void Run::change(const std::string& name, const std::string& value) {
  if (name != "lr" && name != "batch" && name != "group" && name != "optimizer")
    fail<ValueError>("live: {} makes another run; lr, batch, group and optimizer can change", name);
  settings_.set(name, value);
  if (name == "lr") optimizer_->set_lr(settings_.lr);
  if (name == "group") set_group(*model_, settings_.group);
  if (name == "optimizer") optimizer_ = make_optimizer(settings_, *model_);
}

bool Run::dead() const { return lesson::is_dead(lesson::tail_mean(losses_), task_.classes); }

std::unique_ptr<Module> Run::twin() {
  std::unique_ptr<Module> copy = initial_model(settings_);
  copy_state(*model_, *copy);
  return copy;
}

Tensor loss_of(const Tensor& logits, const Tensor& labels) {
  return cross_entropy(logits.reshape({-1, logits.size(-1)}), labels.reshape({-1}));
}

}  // namespace loupe::live
