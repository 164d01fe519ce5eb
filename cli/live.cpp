// `loupe live`: a run of the live lesson's page, with the page's numbers.
#include <loupe/cli/commands.h>
#include <loupe/cli/console.h>
#include <loupe/cli/training.h>
#include <loupe/core/cpu.h>
#include <loupe/core/error.h>
#include <loupe/core/threads.h>
#include <loupe/io/images.h>
#include <loupe/io/text.h>
#include <loupe/layers/state.h>
#include <loupe/web/live.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace loupe::cli {
namespace {

// "120:lr=0.3": from then on.
struct Change {
  int64_t step;
  std::string name, value;

  explicit Change(const std::string& text) {
    const size_t colon = text.find(':'), equals = text.find('=');
    char* end = nullptr;
    step = std::strtoll(text.c_str(), &end, 10);
    if (colon == std::string::npos || equals == std::string::npos || equals < colon || colon == 0 ||
        end != text.c_str() + colon || step < 0)
      fail<ValueError>("live: --change {}: expected STEP:NAME=VALUE, as in 120:lr=0.3", text);
    name = text.substr(colon + 1, equals - colon - 1);
    value = text.substr(equals + 1);
  }
};

live::Data data_for(const live::Settings& settings, const std::string& folder) {
  live::Data data;
  if (settings.net == "words") data.words = live::page_words(read_text(kWordListPath).text);
  const bool points = settings.net == "spirals" || settings.net == "bits";
  if (points || settings.net == "words") return data;
  const ImageData images = load_images("fashion-mnist", folder);
  const ImageSet train = images.train.part(0, std::min(live::kTrainImages, images.train.size()));
  const ImageSet test = images.test.part(0, std::min(live::kTestImages, images.test.size()));
  data.set_train(train.images, train.labels);
  data.set_test(test.images, test.labels);
  return data;
}

}  // namespace

int live_run(const LiveOptions& o) {
  if (o.threads > 0) set_thread_limit(o.threads);
  const std::string words = fmt::format("{}", fmt::join(o.settings, " "));
  const live::Settings settings = live::Settings::from(words);
  const std::vector<Change> changes(o.changes.begin(), o.changes.end());
  live::Run run(settings, data_for(settings, o.data));
  Console console(o.json);
  catch_interrupts();
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  double best = INFINITY;
  for (int64_t step = 0; step < o.steps && !interrupted(); ++step) {
    for (const Change& c : changes)
      if (c.step == step) run.change(c.name, c.value);
    const double before = seconds(), loss = run.step();
    best = std::min(best, seconds() - before);
    if (!std::isfinite(loss)) break;
    const double samples = static_cast<double>((step + 1) * run.settings().batch);
    console.progress(step + 1, o.steps, samples / seconds(), fmt::format("loss {:.4f}", loss));
  }
  console.finish();
  const double loss = run.losses().empty() ? NAN : run.losses().back();
  const std::string hash = weights_hash(run.model());
  Json e("result");
  e.set("settings", words)
      .set("cpu", name(cpu_level()))
      .set("steps", run.steps())
      .set("loss", loss)
      .set("dead", run.dead())
      .set("parameters", parameter_count(run.model()))
      .set("best_step_ms", 1000 * best)
      .set("weights_hash", hash);
  console.event(e);
  console.say(fmt::format("{} steps, loss {:.6g}{}", run.steps(), loss,
                          run.dead() ? ", no better than knowing nothing" : ""));
  console.say(fmt::format("weights {} ({})", hash, name(cpu_level())));
  return interrupt_code();
}

}  // namespace loupe::cli
