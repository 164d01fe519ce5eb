// Does BatchNorm depend on the batch size? The lesson's claim C5 on one page: the optimiser always
// sees 64 images a step, only the group that BatchNorm takes its statistics from varies.
#include <fmt/core.h>
#include <loupe/lesson/lab.h>

using namespace loupe::lesson;

int main() {
  const auto data = Data::load(
      "", {""}, 16384, 10000);  // Fashion-MNIST and the word list, from their Debian packages
  Scheduler::Options options;
  options.progress = [](const Progress& p) {
    fmt::print(stderr, "\r{}/{} runs, about {:.0f} s left ", p.done, p.total, p.seconds_left);
  };
  Scheduler scheduler(options);
  const RateTable rates = RateTable::committed();
  Profile profile;
  profile.looks = {8};  // seeds, fixed
  Lab lab("C5", {.profile = profile, .data = data, .scheduler = &scheduler, .known = &rates});

  CnnArms arms(lab, "F1", {.layer = true}, {64, 8, 2});
  arms.run(lab);  // a learning rate for each arm, chosen on validation images and seeds of their
                  // own; then eight seeds an arm, spread over the cores

  fmt::print("\n{:<14} {:>8}   test accuracy, %\n", "arm", "rate");
  for (const ClassifierArm* arm : arms.list()) {
    fmt::print("{:<14} {:>8.3g}  ", arm->name, arm->spec.lr);
    for (double accuracy : values(arm->runs, "test_accuracy"))
      fmt::print(" {:5.1f}", 100 * accuracy);
    fmt::print("\n");
  }
  for (const ClassifierArm* other : {&arms.bn.at(8), &arms.bn.at(2), &arms.ln}) {
    const Line line =
        answer(points("C5", of(arms.bn.at(64), "test_accuracy"), of(*other, "test_accuracy")));
    fmt::print("BN 64 minus {:<12} {:<32} {}\n", other->name, effect_text(line),
               name(line.verdict));
  }
}
