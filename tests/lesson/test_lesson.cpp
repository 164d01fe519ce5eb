// The lesson end to end in its tiny profile, and the lesson as a test of the framework: a norm that
// is broken on purpose must fail one of its checks.
#include <loupe/autograd/ops.h>
#include <loupe/lesson/lab.h>
#include <loupe/lesson/lesson.h>
#include <loupe/lesson/own.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "catch.h"

using namespace loupe;
using namespace loupe::lesson;

namespace {

// A norm by a formula, with the state of a BatchNorm.
struct Formula : Layer<Formula> {
  using F = std::function<Tensor(Formula&, const Tensor&)>;
  Formula(int64_t c, F formula)
      : weight(ones({c})),
        bias(zeros({c})),
        running_mean(zeros({c})),
        running_var(ones({c})),
        f(std::move(formula)) {
    weight.requires_grad_(), bias.requires_grad_();
  }
  Tensor forward(In x) { return f(*this, x) * weight + bias; }
  void visit(Visitor& v) override {
    v("weight", weight, "bias", bias);
    v.buffers("running_mean", running_mean, "running_var", running_var);
  }
  std::string type_name() const override { return "Formula"; }
  Tensor weight, bias, running_mean, running_var;
  F f;
};

// On features and tokens; images keep a norm that works.
Norm formula(const std::string& name, Formula::F f) {
  return {name, [f](int64_t c, Place p) -> std::unique_ptr<Module> {
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

// Broken on purpose, each as a real framework once was.
Norm over_the_batch() {
  return formula("over the batch",
                 [](Formula&, const Tensor& x) { return normalised(x, 0, false); });
}
Norm detached_std() {
  return formula("detached std", [](Formula&, const Tensor& x) { return normalised(x, 1, true); });
}
Norm eval_by_batch() { return over_the_batch(); }  // eval mode, too, takes the batch's statistics
Norm biased_running_variance() {
  return formula("biased variance", [](Formula& m, const Tensor& x) {
    NoGrad guard;
    if (!m.is_training()) return (x - m.running_mean) / sqrt(m.running_var + 1e-5);
    m.running_mean.copy_(m.running_mean * 0.9 + mean(x, {0}) * 0.1);
    m.running_var.copy_(m.running_var * 0.9 + var(x, {0}, 0) * 0.1);
    return normalised(x, 0, false);
  });
}

// The verdict on a line of the tiny lesson.
Verdict verdict_of(const std::string& claim, const std::string& line, const Norms& norms) {
  const Report r = run_lesson({.profile = "tiny", .claims = {claim}, .workers = 2, .norms = norms});
  const auto& lines = r.claims.at(0).lines;
  const auto l = std::ranges::find(lines, line, &Line::id);
  REQUIRE(l != lines.end());
  return l->verdict;
}

}  // namespace

TEST_CASE("healthy norms pass the lesson's checks", "[lesson]") {
  CHECK(change_by_mates(layer_norm(), images(), true) == 0);
  CHECK(change_by_mates(layer_norm(), images(), false) == 0);
  CHECK(change_by_mates(batch_norm(), images(), false) == 0);
  CHECK(change_by_mates(batch_norm(), images(), true) > 1e-3);
  CHECK(change_by_count(layer_norm()) == 0);
  CHECK(running_variance_error(batch_norm()) < 1e-5);
  CHECK(formula_error(batch_norm(), 0) < 1e-4);
  CHECK(formula_error(layer_norm(), 1) < 1e-4);
  CHECK(gradient_along_token(layer_norm()) < 1e-3);
  CHECK(gradient_along_token(
            formula("", [](Formula&, const Tensor& x) { return normalised(x, 1, false); })) < 1e-3);
}

TEST_CASE("each broken norm fails a check", "[lesson]") {
  CHECK(change_by_mates(over_the_batch(), images(), true) > 1e-3);
  CHECK(change_by_count(over_the_batch()) > 1e-3);
  CHECK(formula_error(over_the_batch(), 1) > 1e-3);
  CHECK(change_by_mates(eval_by_batch(), images(), false) > 1e-3);
  CHECK(running_variance_error(biased_running_variance()) > 0.01);
  CHECK(gradient_along_token(detached_std()) > 0.01);
}

TEST_CASE("each broken norm changes a verdict of the lesson", "[.full]") {
  struct Broken {
    const char *claim, *line;
    Norms norms;
  };
  const Broken cases[] = {{"C7", "C7e", {.batch = biased_running_variance()}},
                          {"C5", "C5h", {.batch = eval_by_batch()}},
                          {"C5", "C5d", {.layer = over_the_batch()}},
                          {"C12", "C12a", {.layer = over_the_batch()}},
                          {"C10", "C10e", {.layer = detached_std()}}};
  for (const Broken& c : cases) {
    CAPTURE(c.line, c.norms.batch.name, c.norms.layer.name);
    CHECK(verdict_of(c.claim, c.line, {}) == Verdict::reproduced);
    CHECK(verdict_of(c.claim, c.line, c.norms) == Verdict::contradicted);
  }
}

TEST_CASE("one's own norm is a third arm: lines, chart, table, picture, page", "[lesson]") {
  const Norm own =
      formula("Mine", [](Formula&, const Tensor& x) { return normalised(x, 1, false); });
  const LessonOptions o{
      .profile = "tiny", .claims = {"C6", "C12"}, .workers = 2, .norms = {.own = own}};
  const Report r = run_lesson(o);
  const ClaimResult &c6 = r.claims.at(0), &c12 = r.claims.at(1);
  const auto line = [](const ClaimResult& c, const std::string& id) {
    const auto l = std::ranges::find(c.own, id, &Line::id);
    REQUIRE(l != c.own.end());
    return *l;
  };
  // It is compared from BatchNorm's place with all rivals, from LayerNorm's with BatchNorm.
  CHECK(line(c6, "C6a@BatchNorm").text == "shallow CNN: Mine minus no norm");
  CHECK(line(c6, "C6b@BatchNorm").text == "shallow CNN: Mine minus LayerNorm");
  CHECK(line(c6, "C6b@LayerNorm").text == "shallow CNN: BatchNorm minus Mine");
  CHECK(std::ranges::count(c6.own, "C6a@LayerNorm", &Line::id) == 0);
  // Exactly what the two are told by: it mixes no tokens.
  CHECK(line(c12, "C12a@LayerNorm").effect.mean == 0);
  CHECK(line(c12, "C12e@BatchNorm").verdict == Verdict::contradicted);
  // The claim's own lines and word are those without it.
  CHECK(c6.lines.size() == 4);
  CHECK(c6.primary().text == "shallow CNN: BatchNorm minus no norm");

  const Chart& chart = c6.charts.at(0);
  REQUIRE(chart.series.size() == chart.x.categories.size());
  CHECK(chart.x.categories.back() == "Mine");
  CHECK(chart.series.back().look == view::Look::ink);
  CHECK(chart.series.back().line.at(0).x == static_cast<double>(chart.series.size() - 1));
  const auto& rows = c6.tables.at(0).rows;
  CHECK(std::ranges::count_if(rows, [](const auto& row) { return row[0] == "Mine"; }) == 1);
  CHECK(c6.own_bar.line == "C6a@BatchNorm");
  CHECK(r.picture.at(1).own.name == "Mine");
  const std::string html = to_html(r);
  CHECK(html.find("<section id=\"own\"") != std::string::npos);
  CHECK(html.find("class=\"s-ink") != std::string::npos);
  CHECK(to_json_lines(r).find(R"({"event":"own","id":"C12a@LayerNorm","role":"own")") !=
        std::string::npos);
  CHECK(to_terminal(r).find("Mine: ") != std::string::npos);
}

TEST_CASE("independent runs: other seeds, the same exact facts", "[lesson]") {
  const LessonOptions o{.profile = "tiny", .claims = {"C6"}, .workers = 2};
  LessonOptions other = o;
  other.first_seed = 101;
  const Report a = run_lesson(o), b = run_lesson(other);
  CHECK(a.claims.at(0).tables.at(0).head.at(1) == "seed 1");
  CHECK(b.claims.at(0).tables.at(0).head.at(1) == "seed 101");
  CHECK(a.claims.at(0).lines[0].effect.mean != b.claims.at(0).lines[0].effect.mean);
  for (int first : {0, 1000}) {  // 1001 and above choose learning rates
    other.first_seed = first;
    CHECK_THROWS_AS(run_lesson(other), ValueError);
  }
}

TEST_CASE("one's own norm needs a name of its own", "[lesson]") {
  for (const char* name : {"", "batch", "layer"}) {
    Norm own = group_norm();
    own.name = name;
    CHECK_THROWS_AS(run_lesson({.profile = "tiny", .claims = {"C12"}, .norms = {.own = own}}),
                    ValueError);
  }
}

TEST_CASE("a second text doubles the lines of C10", "[.full]") {
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("loupe_second_text_{}", ::getpid()))
          .string();
  {
    std::ofstream out(path);
    for (int i = 0; i < 3000; ++i) out << "to be or not to be " << i << '\n';
  }
  Scheduler scheduler({.workers = 2});
  Lab lab("C10", {.profile = Profile::named("tiny"),
                  .data = Data::load("", {"", path}, 512, 200),
                  .scheduler = &scheduler});
  const ClaimResult r = result_of("C10", lab);
  REQUIRE(r.lines.size() == 10);
  CHECK(r.lines[6].id == "C10a-2");
  CHECK(r.lines[6].text.starts_with("loupe_second_text"));
  for (const Line& l : r.lines)
    if (l.kind == Kind::exact) CHECK(l.verdict == Verdict::reproduced);
  std::filesystem::remove(path);
}

TEST_CASE("part II of the tiny lesson runs from end to end", "[.full]") {
  const Report r = run_lesson({.profile = "tiny", .part = 2, .workers = 2});
  REQUIRE(r.claims.size() == claim_ids(2).size());
  for (const ClaimResult& c : r.claims) {
    CHECK(c.charts.size() >= 1);
    for (const Line& l : c.lines)
      if (l.kind == Kind::exact) {
        INFO(l.id << " " << l.text << " " << l.effect.mean);
        CHECK(l.verdict == Verdict::reproduced);
      }
  }
  CHECK(r.interview.empty());
  const std::string html = to_html(r);
  CHECK(html.find("<section id=\"P21\"") != std::string::npos);
  CHECK(html.find("class=\"tree\"") == std::string::npos);
  CHECK_THROWS_AS(run_lesson({.profile = "tiny", .part = 2, .claims = {"C1"}}), ValueError);
  CHECK_THROWS_AS(run_lesson({.profile = "tiny", .part = 3}), ValueError);
}

TEST_CASE("the tiny lesson runs from end to end, is deterministic, and resumes", "[.full]") {
  const auto folder =
      std::filesystem::temp_directory_path() / fmt::format("loupe_lesson_{}", ::getpid());
  std::filesystem::remove_all(folder);
  const auto logs = folder / "logs";
  LessonOptions o{.profile = "tiny", .out = folder.string(), .logdir = logs.string(), .workers = 2};
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
      if (l.kind == Kind::exact && l.id != "C12c" && l.id != "C12d") {
        INFO(l.id << " " << l.text);
        CHECK(l.verdict == Verdict::reproduced);  // exact facts hold at any size
      }
  }
  for (const char* name :
       {"runs.jsonl", "runs.csv", "report.html", "report.md", "report.jsonl", "questions.jsonl"})
    CHECK(std::filesystem::file_size(folder / name) > 1000);
  // One folder a run for TensorBoard, with its curve and its result.
  size_t runs_logged = 0;
  bool seen = false;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(logs)) {
    if (!entry.is_regular_file()) continue;
    ++runs_logged;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    CHECK(bytes.find("configuration") != std::string::npos);
    seen |= bytes.find("result/test_accuracy") != std::string::npos &&
            bytes.find("loss") != std::string::npos;
  }
  CHECK(seen);
  CHECK(runs_logged == static_cast<size_t>(first.runs));
  // The landscape of C4 was looked at: the loss along the gradient has a lowest and a highest
  // value.
  std::ifstream runs(folder / "runs.jsonl");
  int landscapes = 0;
  for (std::string line; std::getline(runs, line);) {
    const Record run = from_json(line, "runs.jsonl");
    if (!run.series.contains("highest")) continue;
    ++landscapes;
    const auto &low = run.series.at("lowest"), &high = run.series.at("highest");
    for (size_t i = 0; i < low.size(); ++i) CHECK_FALSE(low[i] > high[i]);
    CHECK(run.metrics.contains("loss_rise"));
    CHECK(run.metrics.contains("gradient_change"));
  }
  CHECK(landscapes >= 16);
  CHECK_FALSE(first.decisions.empty());
  CHECK(first.advice.size() == 5);
  CHECK(first.foreign == 0);
  CHECK_THROWS_AS(run_lesson(o), ValueError);  // the folder holds runs
  o.workers = 1, o.resume = true, o.logdir = "";
  int made = 0;
  o.progress = [&](const Progress& p) { made = std::max(made, p.done); };
  const Report second = run_lesson(o);
  CHECK(made == 0);  // nothing was left to do
  CHECK(to_json_lines(first).substr(0, 4000) == to_json_lines(second).substr(0, 4000));
  o.resume = false, o.overwrite = true, o.claims = {"C9"};
  const Report again = run_lesson(o);
  const auto c9 = std::ranges::find(first.claims, "C9", &ClaimResult::id);
  for (size_t i = 0; i < c9->lines.size(); ++i)
    CHECK(again.claims[0].lines[i].effect.mean == c9->lines[i].effect.mean);
  std::filesystem::remove_all(folder);
  CHECK_THROWS_AS(run_lesson({.claims = {"C13"}}), ValueError);
}
