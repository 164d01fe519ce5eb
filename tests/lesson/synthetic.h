#pragma once
// A report made of invented numbers that uses every kind of chart, verdict and odd case.
#include <loupe/lesson/report.h>

#include <cmath>

namespace loupe::lesson {

using view::Point;

inline Records synthetic_runs(const std::string& metric, const std::vector<double>& values) {
  Records runs;
  for (size_t i = 0; i < values.size(); ++i) {
    Record r;
    r.seed = i + 1;
    r.dead = std::isnan(values[i]);
    r.metrics[metric] = values[i];
    runs.push_back(r);
  }
  return runs;
}

// A line of invented outcomes; in points of accuracy.
inline Line invented(const std::string& id, const std::string& text, const std::vector<Outcome>& a,
                     const std::vector<Outcome>& b, Expect expect = Expect::positive) {
  Question q = points(id, {}, {});
  q.expect = expect;
  Line l = statistical(q, compare(a, b, {.nothing = 0.1}));
  l.text = text;
  return l;
}
inline Line invented_fact(const std::string& id, const std::string& text, double value, Holds holds,
                          double bound, const std::string& unit = "") {
  Line l = exact(fact(id, {}, holds, bound, unit), value);
  l.text = text;
  return l;
}

inline Report synthetic_report() {
  Report report{.profile = "quick",
                .command = "loupe lesson --quick",
                .machine = "2 cores, AVX-512",
                .data = "Fashion-MNIST <made up>"};
  report.looks = {3}, report.runs = 120, report.dead = 4, report.seconds = 201,
  report.processor = 390;

  ClaimResult c5{.id = "C5", .title = "BatchNorm depends on the batch size; LayerNorm does not"};
  c5.says = "BatchNorm depends on the batch size; LayerNorm does not depend on it.";
  c5.experiment = {
      "CNN F1 on 8,192 images; the optimiser's batch is always 64.",
      "BatchNorm's statistics come from groups of 2 to 64 samples; nothing else changes.",
      "Three architectures, because a convolutional statistic averages 49 values a sample."};
  Chart chart{.title = "Test accuracy against the samples in one statistic",
              .x = {.label = "samples per statistic", .log = true, .ticks = {2, 4, 8, 16, 32, 64}},
              .y = {.label = "test accuracy, %"}};
  Series bn{.name = "BatchNorm, FC head", .look = Look::blue},
      conv{.name = "BatchNorm, conv only", .look = Look::purple, .dashed = true},
      ln{.name = "LayerNorm", .look = Look::orange};
  for (double g : {2., 4., 8., 16., 32., 64.}) {
    const double m = 86 - 52 / (g * g / 2);
    bn.line.push_back({g, m});
    conv.line.push_back({g, 85.8});
    ln.line.push_back({g, 84.4});
    for (int s = -1; s <= 1; ++s) {
      bn.dots.push_back({g, m + s * 1.1, fmt::format("seed {}: {:.1f} %", s + 2, m + s * 1.1)});
      conv.dots.push_back({g, 85.8 + .4 * s});
      ln.dots.push_back({g, 84.4 + .6 * s});
    }
  }
  chart.series = {bn, conv, ln};
  chart.note = "Lines: mean of the seeds. The optimiser sees the same 64 images a step everywhere.";
  c5.charts.push_back(chart);
  const std::vector<Outcome> a{{.8565}, {.854}, {.867}}, b{{.6215}, {.5815}, {.5555}},
      near{{.8566}, {.8538}, {.8671}}, dead{{.1, true}, {.1, true}, {.1, true}};
  c5.lines.push_back(invented("C5a", "BatchNorm F1: groups of 64 minus groups of 2", a, b));
  c5.lines.back().role = Role::primary;
  c5.lines.back().meaning = "A statistic of two numbers cannot carry the network.";
  c5.lines.push_back(invented("C5b", "BatchNorm F0 (convolutions only): 64 minus 2", a, near));
  c5.lines.back().role = Role::limits;
  c5.condition = "only where a statistic averages few values.";
  c5.lines.push_back(
      invented_fact("C5c", "LayerNorm: largest change of a sample's output under other batch-mates",
                    0, Holds::at_most, 0, "logits"));
  c5.lines.push_back(invented("C5d", "a dead arm", a, dead));
  c5.meaning = "True where a norm averages few values, false for purely convolutional networks.";
  c5.trap =
      "Sweeping the real batch size changes the number of steps; that, not normalisation, is what "
      "such plots show.";
  c5.tables.push_back({"Test accuracy, %",
                       {"arm", "1", "2", "3", "mean"},
                       {seed_row("BN 64", synthetic_runs("acc", {.8565, .854, .867}), "acc", 100),
                        seed_row("none", synthetic_runs("acc", {.8565, NAN, .867}), "acc", 100)}});
  c5.papers = {{"Wu & He 2018, Group Normalization", "https://arxiv.org/abs/1803.08494"}};
  c5.code = "lesson/c5.cpp";
  report.claims.push_back(c5);

  ClaimResult c8{.id = "C8", .title = "LayerNorm works well in Transformers"};
  c8.says = "LayerNorm works well in Transformers.";
  c8.experiment = {"8 layers.", "Adam.", "250 steps."};
  Chart lr{.title = "Validation loss against the learning rate",
           .x = {.label = "learning rate", .log = true, .ticks = {.003, .01, .03, .06}},
           .y = {.label = "validation loss, nats", .log = true},
           .marks = {{3.3, "unigram"}, {2.45, "bigram"}}};
  const Look looks[] = {Look::gray, Look::purple, Look::orange, Look::blue};
  const char* names[] = {"no norm", "no norm, scaled init", "LayerNorm", "BatchNorm"};
  for (int i = 0; i < 4; ++i) {
    Series s{.name = names[i], .look = looks[i]};
    int at = 0;
    for (double x : {.003, .01, .03, .06}) {
      const bool died = i < 2 && at > i;
      const double y = i == 0 ? 46 * (1 + at) : 2.6 - .05 * at + .02 * i;
      s.line.push_back({x, y, "", died});
      for (int k = -1; k <= 1; ++k)
        s.dots.push_back({x * std::pow(1.03, k), y * (1 + .01 * k), "", died});
      ++at;
    }
    lr.series.push_back(s);
  }
  c8.charts.push_back(lr);
  Question c8a = doublings("C8a", {}, {}, 4, Expect::negative);
  c8.lines.push_back(statistical(
      c8a,
      compare(std::vector<Outcome>{{2.4}, {2.5}, {2.6}}, std::vector<Outcome>{{46}, {158}, {278}},
              {.nothing = 4, .better = Better::less, .contrast = Contrast::doublings})));
  c8.lines.back().text = "LayerNorm against no norm";
  c8.meaning = "It works. It is not needed.";
  c8.trap = "Clipping rescues the rival.";
  c8.code = "lesson/c8.cpp";
  c8.papers = {{"Ba, Kiros & Hinton 2016", "https://arxiv.org/abs/1607.06450"},
               {"Xiong et al. 2020", "https://arxiv.org/abs/2002.04745"}};
  report.claims.push_back(c8);

  ClaimResult c3{.id = "C3", .title = "Normalisation improves the final result"};
  c3.says = "It improves final performance.";
  c3.experiment = {"one", "two", "three"};
  Chart dots{.title = "Test accuracy by arm",
             .x = {.label = "",
                   .categories = {"no norm", "LayerNorm", "GroupNorm, 4 groups", "BatchNorm"}},
             .y = {.label = "test accuracy, %"},
             .paired = true};
  const Look arm_look[] = {Look::gray, Look::orange, Look::green, Look::blue};
  for (int i = 0; i < 4; ++i) {
    Series s{.name = dots.x.categories[size_t(i)], .look = arm_look[i]};
    for (int k = -1; k <= 1; ++k)
      s.dots.push_back({i + .08 * k, 83.5 + i * .8 + .7 * k * (i % 2 ? 1 : -1)});
    s.line.push_back({double(i), 83.5 + i * .8});
    dots.series.push_back(s);
  }
  c3.charts.push_back(dots);
  Chart diff{.title = "LayerNorm minus BatchNorm",
             .x = {.label = "samples per statistic", .log = true, .ticks = {2, 4, 8, 16, 64}},
             .y = {.label = "difference of test accuracy, points"},
             .marks = {{0, "no difference"}}};
  Series d{.name = "F1", .look = Look::orange};
  for (double g : {2., 4., 8., 16., 64.})
    d.line.push_back({g, 48 / (g * g) - 1}),
        d.bars.push_back({g, 48 / (g * g) - 2.5, 48 / (g * g) + .4}),
        d.dots.push_back(d.line.back());
  diff.series = {d};
  c3.charts.push_back(diff);
  Chart curves{.title = "Training loss", .x = {.label = "step"}, .y = {.label = "loss, nats"}};
  for (int i = 0; i < 2; ++i) {
    Series s{.name = i ? "BatchNorm" : "no norm", .look = i ? Look::blue : Look::gray};
    for (int k = 0; k < 3; ++k) {
      s.seeds.push_back({fmt::format("seed {}", k + 1), {}});
      for (double x : {10., 50., 100., 200.})
        s.seeds.back().line.push_back({x, 2.3 / (1 + x * (i + 1) / 60) + .04 * k});
    }
    s.line = s.seeds[1].line;
    curves.series.push_back(s);
  }
  c3.charts.push_back(curves);
  c3.lines.push_back(invented("C3a", "BatchNorm minus none", a, b, Expect::negative));
  c3.meaning = "m";
  c3.trap = "t";
  c3.code = "lesson/c3.cpp";
  report.claims.push_back(c3);

  ClaimResult c12{.id = "C12", .title = "Transformers process each token independently"};
  c12.says = "Transformers process each token independently.";
  c12.experiment = {"one", "two", "three"};
  for (const char* title : {"Through LayerNorm and feed-forward", "Through attention"}) {
    Heatmap m{.title = title, .x_label = "input token", .y_label = "output token"};
    for (int i = 0; i < 16; ++i) {
      m.cells.emplace_back();
      for (int j = 0; j < 16; ++j)
        m.cells.back().push_back(j > i ? 0
                                       : (i == j            ? 1.0
                                          : title[8] == 'L' ? 0
                                                            : 0.3 / (1 + i - j) / (j + 1)));
    }
    c12.maps.push_back(m);
  }
  c12.lines.push_back(
      invented_fact("C12a", "normalization: gradient of token i by token j", 0, Holds::at_most, 0));
  c12.lines.push_back(invented_fact("C12b", "the whole model", 0.31, Holds::at_most, 1e-5));
  c12.lines.push_back(invented_fact("C12c", "BatchNorm mixes |tokens|", 1.5, Holds::above, 1e-3));
  c12.lines.back().role = Role::explains;
  c12.meaning = "m";
  c12.trap = "t";
  c12.code = "lesson/c12.cpp";
  report.claims.push_back(c12);

  report.advice = {{"Needs a batch", "yes", "no", "-0.3 points from 64 to 16 samples, -26 to 2",
                    Verdict::partly, "C5a, C5c"},
                   {"Use case: CNN", "CNNs", "", "+2.3 points", Verdict::reproduced, "C3a"}};
  for (ClaimResult& c : report.claims) {
    c.guesses = {"Yes.", "In part.", "No."};
    c.answer = "BatchNorm does, by 2.3 points.";
    c.finding = "What was found of " + c.id;
    c.number = {c.lines[0].id, "27.3 points", "lost"};
    report.picture.push_back({c.id,
                              c.title,
                              c.verdict(),
                              {"BatchNorm", "+27.3 points", 1, true},
                              {"LayerNorm", "exactly 0", 0, true}});
  }
  report.picture[0].layer = {"LayerNorm", "not decided", 0, false};
  report.picture[1].layer = {"LayerNorm", "−1.2 doublings", -0.4, true};
  report.surprises = {{"A surprise", "−0.3 nats."}};
  report.tools = {{"PyTorch", "`momentum` 0.1."}};
  report.decisions = {{"A CNN?", "BatchNorm (+2.3 points).", "next question."}};
  report.interview = {{"Why LayerNorm?", "Because of -0.36 nats."}};
  return report;
}

}  // namespace loupe::lesson
