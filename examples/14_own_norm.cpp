// A norm of one's own in the lesson: a third arm of every experiment, beside BatchNorm and
// LayerNorm. Each claim is measured once more with it in the place of either, at learning rates of
// its own; lines, tables, charts and the picture show it.
//
//   example_14_own_norm                  the exact claim C12 in the tiny profile: a second
//   example_14_own_norm quick [IMAGES]   all claims, minutes; the page goes to own-norm/report.html.
//                                        IMAGES: a folder of one's own images (four IDX files,
//                                        named as Fashion-MNIST's), which the page then names
//
// Without a program of one's own: exercises/graduate --norm FILE takes a file that holds the two
// functions below and the line LOUPE_OWN_NORM(absolute_norm).
#include <loupe/lesson/lesson.h>
#include <loupe/loupe.h>

#include <fmt/core.h>

#include <map>
#include <memory>
#include <string>

using namespace loupe;

// Like LayerNorm, but by the mean absolute deviation instead of the standard one.
struct AbsoluteNorm : Layer<AbsoluteNorm> {
  explicit AbsoluteNorm(int64_t features) : weight(ones({features})), bias(zeros({features})) {
    weight.requires_grad_();
    bias.requires_grad_();
  }
  Tensor forward(In x) {
    const Tensor centred = x - mean(x, {1}, true);
    return centred / (mean(abs(centred), {1}, true) + 1e-5) * weight + bias;
  }
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "AbsoluteNorm"; }

  Tensor weight, bias;
};

// The lesson asks for a layer by channels and place. Features and tokens reach it as (N, channels);
// images, as (N, channels, H, W), keep GroupNorm with one group. The name is the arm's on the page:
// give it a new one when the formula changes, since finished runs are known by it.
lesson::Norm absolute_norm() {
  return {"AbsoluteNorm", [](int64_t channels, lesson::Place place) -> std::unique_ptr<Module> {
            if (place == lesson::Place::image) return std::make_unique<GroupNorm>(1, channels);
            return std::make_unique<AbsoluteNorm>(channels);
          }};
}

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::string(argv[1]) == "quick";
  lesson::LessonOptions options{.profile = quick ? "quick" : "tiny",
                                .norms = {.own = absolute_norm()}};
  if (argc > 2) options.data = argv[2];
  if (quick) options.out = "own-norm";
  else options.claims = {"C12"};
  const lesson::Report report = lesson::run_lesson(options);
  fmt::print("{}", lesson::to_terminal(report, true));

  // It treats each token alone, exactly: C12a holds of it in LayerNorm's place, and in BatchNorm's
  // it does not mix tokens, so C12e does not.
  std::map<std::string, lesson::Verdict> words;
  for (const lesson::ClaimResult& claim : report.claims)
    for (const lesson::Line& line : claim.own) words[line.id] = line.verdict;
  const bool alone = words["C12a@LayerNorm"] == lesson::Verdict::reproduced &&
                     words["C12e@BatchNorm"] == lesson::Verdict::contradicted;
  return alone ? 0 : 1;
}
