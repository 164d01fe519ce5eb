#pragma once
// The commands of the program `loupe`: a struct of options each, filled by main.cpp, and the
// function that runs it. Each returns the process' exit code; errors are thrown and printed by
// main.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace loupe::cli {

/// What every run takes.
struct RunOptions {
  uint64_t seed = 0;
  int threads = 0;  // 0: all cores
  std::string
      out;  // folder that receives model, options, metrics, checkpoints; empty: nothing is written
  bool json = false;
  std::string logdir;      // TensorBoard
  int64_t log_every = 50;  // steps between what the layers do; four times that between histograms
  int64_t checkpoint_every = 0;  // steps; 0: at every epoch (CNN) or a tenth of the run (GPT)
  int keep = 3;                  // checkpoints kept beside the best
  bool resume = false;
  int64_t shadow = 0;  // steps recomputed by the f64 twins
  bool anomaly = false;
  std::string profile;  // file for a trace of some early steps; their profile is printed
  double timeout = 60;  // seconds that a rank waits for one that does not go on
};

/// What every training takes.
struct TrainOptions : RunOptions {
  std::optional<int64_t> epochs,
      steps;  // the first reached ends the run; none: the model's default
  std::optional<int64_t> batch_size;
  std::optional<double> lr;
  std::string optimizer = "adamw";  // sgd, adam, adamw, rmsprop
  std::optional<double> weight_decay;
  std::string schedule;    // constant, cosine, one-cycle; empty: the model's default
  double clip = 0;         // largest gradient norm; 0: no clipping
  bool sync_norm = false;  // BatchNorm over the batch of all ranks (under mpirun)
  std::string
      init_from;  // model.safetensors to start from; GPT also: a folder of Transformers' GPT-2
};

struct TrainCnnOptions : TrainOptions {
  std::string dataset = "fashion-mnist";  // fashion-mnist, mnist, cifar10
  std::string data;                       // folder; empty: the package's
  std::string model = "small";            // small, wide, resnet20
  std::string norm = "batch";             // batch, layer, group, none
  bool augment = false;                   // training images cropped and flipped at random
  double label_smoothing = 0.1;           // share of the target spread over all classes
  int64_t validation = 0;  // so many last training images choose, and the test data is not touched
};
int train_cnn(const TrainCnnOptions& options);

struct TrainGptOptions : TrainOptions {
  std::string text;                                      // file; empty: the word list
  std::string norm = "layer";                            // layer, batch, rms, none
  std::optional<int64_t> layers, heads, width, context;  // none: 4, 4, 128, 64, or init_from's
  double dropout = 0;
  double validation = 0.1;  // the last part of the text
};
int train_gpt(const TrainGptOptions& options);

struct EvalOptions : RunOptions {
  std::string run;   // folder of a finished training
  std::string data;  // other data than it was trained on
  std::string text;
};
int eval(const EvalOptions& options);

struct SampleOptions : RunOptions {
  std::string run;
  std::optional<std::string> prompt;  // none: a line break where the model knows it
  int64_t length = 500;
  double temperature = 0.8;
  int64_t top_k = 0;
};
int sample(const SampleOptions& options);

struct SummaryOptions {
  std::string model = "small-cnn";  // small-cnn, resnet20, gpt, bert, or a run's folder
  int64_t batch_size = 1;
};
int summary(const SummaryOptions& options);

struct ExportOptions {
  std::string run;   // folder of a finished training, or of Transformers' BertModel
  std::string onnx;  // the file to write
  bool fold_batch_norm = false;
};
int export_model(const ExportOptions& options);

struct BenchOptions {
  std::vector<std::string> work;  // rows; empty: all
  int threads = 0;                // 0: all cores
  double seconds = 0.5;           // per row
  bool json = false;
  std::string profile;  // file for a trace of one row's steps; their profile is printed
  std::string check;    // safetensors file with PyTorch's weights and data: compute, do not time
  std::string data;     // Fashion-MNIST's folder
};
int bench(const BenchOptions& options);

struct EmbedOptions : RunOptions {
  std::string model;  // folder with config.json, model.safetensors and vocab.txt or tokenizer.json
  std::vector<std::string> texts;
  std::string file;  // a text a line; "-" for standard input
  int64_t batch_size = 32;
};
int embed(const EmbedOptions& options);

struct LessonOptions {
  bool quick = false, full = false, tiny = false;  // at most one; none: quick
  int part = 1;                                    // 2: rivals and successors
  std::vector<std::string> claims;                 // empty: all of the part
  int seeds = 0;                                   // 0: the profile's
  int first_seed = 1;                              // of those that decide verdicts
  std::string text, data;  // empty: the packages' word list and Fashion-MNIST
  std::string out = "lesson-out";
  std::string logdir;  // TensorBoard
  int threads = 0;     // trainings at a time; 0: one a core
  bool resume = false, overwrite = false, retune = false, details = false, json = false;
};
int lesson(const LessonOptions& options);

struct InspectOptions {
  std::string file;
  bool json = false;
};
int inspect(const InspectOptions& options);

struct SeeModelOptions {
  std::string model = "small-cnn";  // small-cnn, resnet20, gpt, bert, or a run's folder
  int64_t batch_size = 64;
  std::string out = "step.html";
  int threads = 0;
  bool shadow = false;  // compare every op with its f64 twin
};
int see_model(const SeeModelOptions& options);

struct PicturesOptions {
  std::string run;     // folder of a finished training
  std::string out;     // folder; empty: "pictures" in the run's
  std::string data;    // the images' folder, if it is another than in training
  std::string logdir;  // TensorBoard
  int threads = 0;
};
int pictures(const PicturesOptions& options);

struct ExplainLayerOptions {
  std::string layer;
  std::string input;  // rows of numbers, "1 2 6; 3 0 3"; empty: the layer's own
  int64_t row = -1, column = -1;
  std::string html;  // file; empty: text on stdout
};
int explain_layer(const ExplainLayerOptions& options);

struct LiveOptions {
  std::vector<std::string> settings;  // "net=cnn", "norm=batch", ... (web/live.h)
  int64_t steps = 200;
  std::vector<std::string> changes;  // "120:lr=0.3"
  std::string data;                  // Fashion-MNIST's folder; empty: the package's
  int threads = 0;                   // 0: all cores
  bool json = false;
};
int live_run(const LiveOptions& options);

struct GalleryOptions {
  std::string bug;    // its name; empty: the list
  std::string write;  // folder for the page and its pictures; empty: text on stdout
};
int show_gallery(const GalleryOptions& options);

}  // namespace loupe::cli
