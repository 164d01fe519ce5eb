#pragma once
// The README's two trainings with a norm by name.
#include <loupe/lesson/nets.h>

#include <string>
#include <vector>

namespace loupe::exercises {

struct ReadmeRun {
  std::vector<double> losses;
  double figure = 0;  // the CNN's test accuracy, the GPT's loss on the last tenth of the text
};

/// `loupe train cnn`; steps 0: ten epochs. data: folder of Fashion-MNIST, empty: the package's.
ReadmeRun readme_cnn(const lesson::Norm& norm, int64_t steps, const std::string& data);
/// `loupe train gpt`; steps 0: 2000. text: a UTF-8 file.
ReadmeRun readme_gpt(const lesson::Norm& norm, int64_t steps, const std::string& text);

}  // namespace loupe::exercises
