// The lesson end to end in its tiny profile, and the lesson as a test of the framework: a norm that is broken on purpose
// must fail one of its checks.
#include <loupe/autograd/ops.h>
#include <loupe/lesson/lab.h>
#include <loupe/lesson/lesson.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "catch.h"

using namespace loupe;
using namespace loupe::lesson;

namespace {

// A norm by a formula, with weight and running buffers where the formula uses them.
struct Formula : Layer<Formula> {
  using F = std::function<Tensor(Formula&, const Tensor&)>;
  Formula(int64_t c, F formula) : running_mean(zeros({c})), running_var(ones({c})), f(std::move(formula)) {}
  Tensor forward(In x) { return f(*this, x); }
  void visit(Visitor& v) override { v.buffers("running_mean", running_mean, "running_var", running_var); }
  std::string type_name() const override { return "Formula"; }
  Tensor running_mean, running_var;
  F f;
};

Norm formula(Formula::F f) {
  return {"formula", [f](int64_t c, Place p) -> std::unique_ptr<Module> {
            return p == Place::image ? group_norm().make(c, p) : std::make_unique<Formula>(c, f);
          }};
}

Tensor normalised(const Tensor& x, int64_t axis, bool detach_std) {
  const Tensor d = x - mean(x, {axis}, true), s = sqrt(mean(square(d), {axis}, true) + 1e-5);
  return d / (detach_std ? s.detach() : s);
}

Tensor images() {
  Rng rng(1);
  return randn(rng, {16, 1, 28, 28});
}

}  // namespace

TEST_CASE("healthy norms pass the lesson's checks", "[lesson]") {
  CHECK(change_by_mates(layer_norm(), images(), true) == 0);
  CHECK(change_by_mates(layer_norm(), images(), false) == 0);
  CHECK(change_by_mates(batch_norm(), images(), false) == 0);
  CHECK(change_by_mates(batch_norm(), images(), true) > 1e-3);
  CHECK(running_variance_error(batch_norm()) < 1e-5);
  CHECK(gradient_along_token(layer_norm()) < 1e-3);
  CHECK(gradient_along_token(formula([](Formula&, const Tensor& x) { return normalised(x, 1, false); })) < 1e-3);
}

TEST_CASE("each broken norm fails a check", "[lesson]") {
  const Norm wrong_axis = formula([](Formula&, const Tensor& x) { return normalised(x, 0, false); });
  CHECK(change_by_mates(wrong_axis, images(), true) > 1e-3);   // LayerNorm over the batch
  CHECK(change_by_mates(wrong_axis, images(), false) > 1e-3);  // BatchNorm whose eval mode uses batch statistics
  const Norm biased = formula([](Formula& m, const Tensor& x) {
    m.running_var.copy_(m.running_var * 0.9 + var(x, {0}, 0) * 0.1);
    return normalised(x, 0, false);
  });
  CHECK(running_variance_error(biased) > 0.01);
  const Norm detached = formula([](Formula&, const Tensor& x) { return normalised(x, 1, true); });
  CHECK(gradient_along_token(detached) > 0.01);
}

TEST_CASE("the tiny lesson runs from end to end, is deterministic, and resumes", "[.full]") {
  const auto folder = std::filesystem::temp_directory_path() / fmt::format("loupe_lesson_{}", ::getpid());
  std::filesystem::remove_all(folder);
  LessonOptions o{.profile = "tiny", .out = folder.string(), .workers = 2};
  const Report first = run_lesson(o);
  REQUIRE(first.claims.size() == 12);
  for (const ClaimResult& c : first.claims) {
    CHECK(c.lines.size() >= 2);
    CHECK(c.charts.size() + c.maps.size() >= 1);
    CHECK(c.experiment.size() == 3);
    CHECK_FALSE(c.meaning.empty());
    CHECK_FALSE(c.trap.empty());
    CHECK_FALSE(c.papers.empty());
    for (const Line& l : c.lines)
      if (l.kind == Kind::exact && c.id != "C12" && l.id != "C8d") {
        INFO(l.id << " " << l.text);
        CHECK(l.verdict == Verdict::reproduced);  // exact facts hold at any size
      }
  }
  for (const char* name : {"runs.jsonl", "runs.csv", "report.html", "report.md", "report.jsonl"})
    CHECK(std::filesystem::file_size(folder / name) > 1000);
  o.workers = 1, o.resume = true;
  int made = 0;
  o.progress = [&](const Progress& p) { made = std::max(made, p.done); };
  const Report second = run_lesson(o);
  CHECK(made == 0);  // nothing was left to do
  CHECK(to_json_lines(first).substr(0, 4000) == to_json_lines(second).substr(0, 4000));
  o.resume = false, o.claims = {"C9"};
  const Report again = run_lesson(o);
  const auto c9 = std::ranges::find(first.claims, "C9", &ClaimResult::id);
  for (size_t i = 0; i < c9->lines.size(); ++i) CHECK(again.claims[0].lines[i].effect.mean == c9->lines[i].effect.mean);
  std::filesystem::remove_all(folder);
  CHECK_THROWS_AS(run_lesson({.claims = {"C13"}}), ValueError);
}
