#include <loupe/cli/commands.h>
#include <loupe/lesson/lesson.h>

#include "fuzz.h"

// The program's own main() parses the arguments, one a line; what would run is not run here.
int loupe_main(int argc, char** argv);

namespace loupe::cli {
int train_cnn(const TrainCnnOptions&) { return 0; }
int train_gpt(const TrainGptOptions&) { return 0; }
int eval(const EvalOptions&) { return 0; }
int sample(const SampleOptions&) { return 0; }
int summary(const SummaryOptions&) { return 0; }
int export_model(const ExportOptions&) { return 0; }
int bench(const BenchOptions&) { return 0; }
int embed(const EmbedOptions&) { return 0; }
int inspect(const InspectOptions&) { return 0; }
int see_model(const SeeModelOptions&) { return 0; }
int pictures(const PicturesOptions&) { return 0; }
int explain_layer(const ExplainLayerOptions&) { return 0; }
int show_gallery(const GalleryOptions&) { return 0; }
int live_run(const LiveOptions&) { return 0; }
}  // namespace loupe::cli

namespace loupe::lesson {
Report run_lesson(const LessonOptions&) { throw Stopped("not here"); }
}  // namespace loupe::lesson

void target(loupe::Bytes bytes) {
  std::string text(loupe::as_text(bytes));
  std::vector<char*> arguments{const_cast<char*>("loupe")};
  for (size_t at = 0; at < text.size();) {
    arguments.push_back(text.data() + at);
    at = std::min(text.find('\n', at), text.size());
    if (at < text.size()) text[at++] = '\0';
  }
  arguments.push_back(nullptr);
  loupe_main(static_cast<int>(arguments.size()) - 1, arguments.data());
}
