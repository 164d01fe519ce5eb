// A norm of one's own in the lesson: it takes LayerNorm's place in every experiment, beside
// BatchNorm. The lesson's checks then say what it is: whether it sees the batch, whether it mixes
// tokens, what a token leaves it with.
//
//   example_14_own_norm           the exact claims of the tiny profile: seconds
//   example_14_own_norm quick     all claims, minutes; the report goes to own-norm/
#include <loupe/lesson/lesson.h>
#include <loupe/loupe.h>

#include <fmt/core.h>

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
// images, as (N, channels, H, W), keep GroupNorm with one group.
lesson::Norm absolute_norm() {
  return {"absolute", [](int64_t channels, lesson::Place place) -> std::unique_ptr<Module> {
            if (place == lesson::Place::image) return std::make_unique<GroupNorm>(1, channels);
            return std::make_unique<AbsoluteNorm>(channels);
          }};
}

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::string(argv[1]) == "quick";
  lesson::LessonOptions options{.profile = quick ? "quick" : "tiny",
                                .norms = {.layer = absolute_norm()}};
  if (quick) options.out = "own-norm";
  else options.claims = {"C12"};
  const lesson::Report report = lesson::run_lesson(options);
  fmt::print("{}", lesson::to_terminal(report, true));

  // It treats each token alone, exactly: the line C12a holds.
  for (const lesson::ClaimResult& claim : report.claims)
    for (const lesson::Line& line : claim.lines)
      if (line.id == "C12a") return line.verdict == lesson::Verdict::reproduced ? 0 : 1;
  return 1;
}
