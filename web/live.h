#pragma once
// The trainings of the live lesson. The page runs this very source as WebAssembly and the program
// as `loupe live`: the same settings give the same bits in both, at LOUPE_CPU=baseline and
// reference.
#include <loupe/core/pinned.h>
#include <loupe/layers/module.h>
#include <loupe/lesson/order.h>
#include <loupe/optim/optimizer.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace loupe::live {

/// All that decides a run's numbers.
struct Settings {
  std::string net = "spirals";  // networks()
  std::string norm = "batch";   // norms()
  std::string optimizer =
      "sgd";           // optimizers(); sgd has momentum 0.9, the others PyTorch's defaults
  int64_t depth = 4;   // hidden layers, convolutions or blocks; cnn and small-cnn have one depth
  int64_t batch = 64;  // samples of one step
  int64_t group = 0;  // samples behind one statistic of BatchNorm (lesson::NormLayer); 0: the batch
  double lr = 0.1;
  double gain = 1;  // the initial weights are so many times the usual ones
  uint64_t seed = 1;

  /// Sets one of them by its name ("lr", "0.1"). ValueError for another name, a word that is no
  /// number, or a value outside its range.
  void set(const std::string& name, const std::string& value);
  /// From "net=cnn norm=batch lr=0.1": words in any order, the rest as above.
  static Settings from(const std::string& text);
};

/// spirals: a perceptron on two spirals in the plane; mlp: M(depth + 1), plain: D(depth) and cnn:
/// F1 of the lesson (lesson/nets.h) and small-cnn: SmallCnn, all on images; words: the lesson's
/// Transformer on characters of words; bits: the same on random bits, where nothing can be learned.
const std::vector<std::string>& networks();
/// none, batch, layer, group, rms, dyt. small-cnn has no rms and no dyt.
const std::vector<std::string>& norms();
/// sgd, adam, adamw, rmsprop.
const std::vector<std::string>& optimizers();

inline constexpr int64_t kTrainImages = 2048, kTestImages = 1024;

/// Images and words, which not every network needs.
struct Data {
  Tensor train_x, train_y;  // f32 (n, 1, 28, 28), normalised as the lesson's; i64 (n)
  Tensor test_x, test_y;
  std::string words;  // a-z, one a line

  /// ShapeError unless images are u8 (n, 1, 28, 28) and labels i64 (n).
  void set_train(const Tensor& images, const Tensor& labels);
  void set_test(const Tensor& images, const Tensor& labels);
};
/// The words that the page has: of the lines made of a-z alone every eighth.
std::string page_words(const std::string& word_list);

/// What a network learns: samples x and labels y, the same to test it, and how many answers there
/// are.
struct Task {
  Tensor x = {}, y = {}, test_x = {}, test_y = {};
  int64_t classes = 2;
};

/// One training. A step is a function of the settings, the changes and the step's number alone.
class Run : Pinned {
 public:
  /// ValueError for settings that do not go together, or data that is not there.
  Run(Settings settings, const Data& data);

  /// Trains one step and returns its loss. After a loss that is not finite nothing is trained any
  /// more.
  double step();
  /// From the next step on; one of lr, batch, group and optimizer. ValueError for the others: they
  /// make another run.
  void change(const std::string& name, const std::string& value);

  int64_t steps() const { return static_cast<int64_t>(losses_.size()); }
  const std::vector<double>& losses() const { return losses_; }
  /// Whether the last ten losses are no better than knowing nothing (lesson::is_dead).
  bool dead() const;
  const Settings& settings() const { return settings_; }
  const Task& task() const { return task_; }
  Module& model() { return *model_; }
  /// A model of the same kind with the same values, to look at: what is done to it leaves the run
  /// alone.
  std::unique_ptr<Module> twin();

 private:
  Settings settings_;
  Task task_;
  std::unique_ptr<Module> model_;
  std::unique_ptr<Optimizer> optimizer_;
  lesson::Order order_;
  std::vector<double> losses_;
};

/// Cross entropy of logits (..., classes) against labels (...).
Tensor loss_of(const Tensor& logits, const Tensor& labels);

}  // namespace loupe::live
