#pragma once
// What the page shows of a run besides its loss. Everything is measured on a twin of the model:
// looking changes no number of the training.
#include <loupe/web/live.h>

#include <string>
#include <vector>

namespace loupe::live {

/// How a model is judged: with running averages, or in training mode with the statistics of batches
/// of so many samples.
struct Judge {
  bool training = false;
  int64_t batch = 256;
};
struct Score {
  double loss = 0, accuracy = 0;
};
/// On the first `samples` of the test data.
Score score(Run& run, const Judge& judge, int64_t samples = 1024);

/// One linear map or convolution, on one training batch.
struct LayerLook {
  std::string path;
  double output_std = 0;    // of its output, before norm and activation
  double gradient_rms = 0;  // of its weight's gradient
  double weight_rms = 0;
};
std::vector<LayerLook> look_at_layers(Run& run);

/// The statistics of one BatchNorm: the running ones, and those of one training batch, of each
/// channel.
struct StatisticsLook {
  std::string path;
  std::vector<float> running_mean = {}, running_var = {}, batch_mean = {}, batch_var = {};
};
/// Empty without BatchNorm.
std::vector<StatisticsLook> look_at_statistics(Run& run);

/// spirals: the probability of the second arm at size x size points of [-1.15, 1.15]^2, rows from
/// the top. ValueError for another network.
std::vector<float> probability_map(Run& run, int64_t size, bool training);
/// What comes into the first norm (without one: out of the first layer), of one training batch:
/// rows are samples or tokens, columns channels, in the middle of an image. At most 8 x 8.
struct MatrixLook {
  std::vector<float> values;
  int64_t rows = 0, columns = 0;
};
MatrixLook batch_matrix(Run& run);

/// The weights of the first convolution, (filters, 3, 3); empty without one.
std::vector<float> first_filters(Run& run);

}  // namespace loupe::live
