// Does BatchNorm depend on the batch size? The lesson's claim C5 on one page: the optimiser always
// sees 64 images a step, only the group that BatchNorm takes its statistics from varies.
#include <fmt/core.h>
#include <loupe/lesson/lab.h>

using namespace loupe::lesson;

int main() {
  const auto data = Data::load(
      "", {""}, 16384, 2000);  // Fashion-MNIST and the word list, from their Debian packages
  Scheduler::Options options;
  options.progress = [](const Progress& p) {
    fmt::print(stderr, "\r{}/{} runs, about {:.0f} s left ", p.done, p.total, p.seconds_left);
  };
  Scheduler scheduler(options);
  Lab lab("C5", Profile::named("quick"), data, scheduler);

  std::vector<Arm<ClassifierSpec>> arms;
  for (int64_t group : {64, 8, 2})
    arms.push_back({fmt::format("BatchNorm {}", group),
                    {.data = data, .net = "F1", .norm = batch_norm(), .group = group}});
  arms.push_back({"LayerNorm", {.data = data, .net = "F1", .norm = layer_norm()}});
  lab.tune(arms,
           {0.02, 0.06,
            0.2});  // a learning rate for each arm, on validation images and seeds of their own
  const auto runs = lab.measure(arms);  // three seeds an arm, spread over the cores

  fmt::print("\n{:<14} {:>8}   test accuracy, %\n", "arm", "rate");
  for (const auto& arm : arms) {
    fmt::print("{:<14} {:>8.3g}  ", arm.name, arm.spec.lr);
    for (double accuracy : values(runs.at(arm.name), "test_accuracy"))
      fmt::print(" {:5.1f}", 100 * accuracy);
    fmt::print("\n");
  }
  for (const char* other : {"BatchNorm 8", "BatchNorm 2", "LayerNorm"}) {
    const Comparison c = compare(outcomes(runs.at("BatchNorm 64"), "test_accuracy"),
                                 outcomes(runs.at(other), "test_accuracy"), kChance, Better::more);
    const Line line = statistical("C5", "", c, kAccuracyMargin, Expect::positive, "points", 100);
    fmt::print("BatchNorm 64 minus {:<12} {:<32} {}\n", other, effect_text(line),
               name(line.verdict));
  }
}
