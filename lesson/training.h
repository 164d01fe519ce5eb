#pragma once
// The lesson's trainings: a spec says everything that decides a run's numbers; make() trains and
// fills in the record.
#include <loupe/io/dataset.h>
#include <loupe/lesson/nets.h>
#include <loupe/lesson/order.h>
#include <loupe/lesson/runs.h>

#include <memory>
#include <string>

namespace loupe::lesson {

/// A text as symbols: nine tenths to train on, a twentieth to choose learning rates by, a twentieth
/// for verdicts.
struct TextData {
  std::string name, hash;
  std::vector<int32_t> ids;
  int64_t symbols = 0;
};

/// The data all runs share, read once. Training images are the first ones of the training file, the
/// validation images its last 1,024; test images are the first ones of the test file.
struct Data {
  std::string images_name, images_hash;
  std::string images_title = "Fashion-MNIST";  // as texts call them: one's own by their folder
  Tensor train_x, train_y;  // (n, 1, 28, 28) f32 normalised with mean .286, std .353; (n) i64
  Tensor valid_x, valid_y, test_x, test_y;
  std::vector<TextData> texts;

  /// Fashion-MNIST from the folder `images` (empty: the package's) and the texts (empty: the word
  /// list).
  static std::shared_ptr<const Data> load(const std::string& images,
                                          const std::vector<std::string>& texts,
                                          int64_t train_images, int64_t test_images);
  /// Name, hash and the number of training images, as runs record it.
  std::string images_id() const;
};

inline constexpr double kStepsLoss = 1.0;  // training loss to which steps are counted
/// The first step whose last ten losses average below kStepsLoss; NaN if there is none.
double steps_to_loss(const std::vector<double>& loss);

/// Training of a Classifier by SGD with momentum .9. The optimiser's batch is always `batch`;
/// BatchNorm's statistics come from groups of `group` samples (NormLayer). So the normalisation's
/// batch varies and nothing else: the same samples, steps and learning rates.
struct ClassifierSpec {
  std::shared_ptr<const Data> data;
  std::string net = "F1";
  Norm norm = batch_norm();
  int64_t group = 64, batch = 64, steps = 256, images = 16384;
  double lr = 0.1, gain = 1;
  bool cosine = true;  // else a constant learning rate
  bool inspect =
      false;  // also: accuracy with running and with batch statistics, and how much those fluctuate
  bool precise =
      false;  // also: with statistics taken again, of images as they are and of dark ones

  Config config() const;
  double cost() const;  // rough seconds
  /// Metrics: final_loss (mean over the last 10 steps), steps (steps_to_loss), valid_loss;
  /// test_accuracy, with its marks, and test_loss unless it chooses a rate. Series: loss, one value
  /// a step.
  void make(Record& r) const;
};

/// Training of a Transformer by Adam(.9, .98), 10 % linear warm-up, then cosine.
struct TransformerSpec {
  std::shared_ptr<const Data> data;
  std::string task = "text";  // text, bits (random: nothing to learn), count (sequences of shortest
                              // to longest bits)
  size_t text = 0;            // which of the texts
  TransformerOptions net{};
  Norm norm = layer_norm();
  int64_t batch = 16, steps = 250, shortest = 4, longest = 32;
  double lr = 0.01, clip = 0;  // clip 0: no clipping
  bool warm_up = true;         // else cosine from the first step on
  double of_text = 1;          // the part of the training text that is used
  bool watch_logits = false;   // also: the largest logit of the attention
  bool inspect = false;        // also: single tokens behind each norm (text), and how much batch
                               // statistics fluctuate

  Config config() const;
  double cost() const;
  /// Metrics: final_loss; eval_loss (held-out data, eval mode), train_mode_loss (the same batches,
  /// with the batch's statistics), accuracy for count; initial_loss; with `watch_logits`
  /// largest_logit of the attention, on held-out data. Series: loss, one value a step.
  void make(Record& r) const;
};

/// Mean cross entropy and accuracy of a classifier in its present mode, in batches of `batch`.
struct Score {
  double loss = 0, accuracy = 0;
};
/// right: is filled with one bit an image, if given.
Score evaluate(Classifier& net, const Tensor& x, const Tensor& y, int64_t batch,
               std::vector<bool>* right = nullptr);

}  // namespace loupe::lesson
