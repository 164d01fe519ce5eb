// The statistics against values from published tables and closed forms; each verdict word from
// synthetic data.
#include <loupe/core/error.h>
#include <loupe/lesson/stats.h>

#include <cmath>

#include "catch.h"

using namespace loupe;
using namespace loupe::lesson;

TEST_CASE("t quantiles equal the tables and the closed forms", "[stats]") {
  // Two-sided 95 %, as printed in every table of Student's t.
  const double table[][2] = {{1, 12.706204736},  {2, 4.302652730}, {3, 3.182446305},
                             {4, 2.776445105},   {9, 2.262157163}, {29, 2.045229642},
                             {1000, 1.962339081}};
  for (const auto& [dof, t] : table) CHECK(t_quantile(0.975, dof) == Approx(t).epsilon(1e-9));
  CHECK(t_quantile(0.995, 4) == Approx(4.604094871).epsilon(1e-9));
  CHECK(t_quantile(0.025, 4) == Approx(-t_quantile(0.975, 4)).epsilon(1e-12));
  CHECK(t_quantile(0.5, 7) == 0);
  // dof 1 is Cauchy's distribution, dof 2 has t = (2p-1) / sqrt(2p(1-p)).
  for (double p : {0.6, 0.9, 0.999, 0.999999}) {
    CHECK(t_quantile(p, 1) == Approx(std::tan(M_PI * (p - 0.5))).epsilon(1e-9));
    CHECK(t_quantile(p, 2) == Approx((2 * p - 1) / std::sqrt(2 * p * (1 - p))).epsilon(1e-9));
    CHECK(t_cdf(t_quantile(p, 6), 6) == Approx(p).epsilon(1e-12));
  }
  CHECK_THROWS_AS(t_quantile(1, 3), ValueError);
}

TEST_CASE("mean, median and deviation", "[stats]") {
  const std::vector<double> x{3, 1, 2, 10};
  CHECK(mean(x) == 4);
  CHECK(median(x) == 2.5);
  CHECK(stddev(x) == Approx(std::sqrt((1 + 9 + 4 + 36) / 3.0)));
  CHECK(median(std::vector<double>{5, NAN, 1}) == 5);  // a diverged run is the largest loss
  CHECK(std::isinf(median(std::vector<double>{NAN, NAN, 1})));  // most are dead: so is the median
}

TEST_CASE("the interval of the lesson's own reference: five paired differences", "[stats]") {
  // BatchNorm against none on F1, five seeds, from the trial runs: +2.3 [1.7, 3.0] points.
  const std::vector<double> bn{.8565, .854, .867, .8705, .861},
      none{.8355, .835, .8365, .844, .8425};
  const Interval i = t_interval(paired_difference(bn, none));
  CHECK(100 * i.mean == Approx(2.31).margin(0.005));
  CHECK(100 * i.lo == Approx(1.66).margin(0.01));
  CHECK(100 * i.hi == Approx(2.96).margin(0.01));
  // The pairing matters: the same values in another order have the same mean and another width.
  const std::vector<double> shuffled{.844, .8425, .8355, .835, .8365};
  const Interval other = t_interval(paired_difference(bn, shuffled));
  CHECK(other.mean == Approx(i.mean));
  CHECK(other.hi - other.lo > 1.2 * (i.hi - i.lo));
  const Interval one = t_interval(std::vector<double>{2.0});
  CHECK(std::isinf(one.hi - one.lo));
  CHECK_THROWS_AS(paired_difference(bn, std::vector<double>{1.0}), ValueError);
}

TEST_CASE("log ratios count doublings", "[stats]") {
  const auto r = paired_log2_ratio(std::vector<double>{8, 3}, std::vector<double>{2, 6});
  CHECK(r[0] == 2);
  CHECK(r[1] == -1);
  CHECK_THROWS_AS(paired_log2_ratio(std::vector<double>{0.0}, std::vector<double>{1.0}),
                  ValueError);
}

TEST_CASE("survival: Wilson's and Newcombe's published examples", "[stats]") {
  const Interval w = wilson_interval(81, 263);  // Newcombe 1998 (single proportion), table I
  CHECK(w.lo == Approx(.2553).margin(5e-5));
  CHECK(w.hi == Approx(.3662).margin(5e-5));
  const Interval d =
      survival_difference(56, 70, 48, 80);  // Newcombe 1998 (differences), table II, method 10
  CHECK(d.lo == Approx(.0524).margin(5e-5));
  CHECK(d.hi == Approx(.3339).margin(5e-5));
  const Interval all = survival_difference(3, 3, 0, 3);
  CHECK(all.mean == 1);
  CHECK(all.lo > 0);    // three against none is something ...
  CHECK(all.lo < 0.5);  // ... but three seeds prove no more than that
}

TEST_CASE("each verdict word comes from its interval", "[stats]") {
  const auto i = [](double lo, double hi) { return Interval{(lo + hi) / 2, lo, hi, 5}; };
  using enum Verdict;
  CHECK(judge(i(0.6, 2), 0.5, Expect::positive) == reproduced);
  CHECK(judge(i(-2, -0.6), 0.5, Expect::positive) == contradicted);
  CHECK(judge(i(-0.4, 0.3), 0.5, Expect::positive) == no_difference);
  CHECK(judge(i(0.1, 2), 0.5, Expect::positive) ==
        inconclusive);  // clear of zero, not of the margin
  CHECK(judge(i(-3, 3), 0.5, Expect::positive) == inconclusive);
  CHECK(judge(i(-2, -0.6), 0.5, Expect::negative) == reproduced);
  CHECK(judge(i(0.6, 2), 0.5, Expect::negative) == contradicted);
  CHECK(judge(i(-0.4, 0.3), 0.5, Expect::none) == reproduced);
  CHECK(judge(i(0.6, 2), 0.5, Expect::none) == contradicted);
  CHECK(judge(i(-2, -0.6), 0.5, Expect::none) == contradicted);
  CHECK(judge(i(0.1, 2), 0.5, Expect::none) == inconclusive);
  CHECK(judge(i(NAN, NAN), 0.5, Expect::none) == inconclusive);
  CHECK(judge(t_interval(std::vector<double>{9.0}), 0.5, Expect::positive) ==
        inconclusive);  // one seed proves nothing

  CHECK(combine(std::vector{reproduced, reproduced}) == reproduced);
  CHECK(combine(std::vector{reproduced, contradicted}) == partly);
  CHECK(combine(std::vector{reproduced, inconclusive}) == partly);
  CHECK(combine(std::vector{no_difference, contradicted}) == contradicted);
  CHECK(combine(std::vector{no_difference, inconclusive}) == inconclusive);
  CHECK(combine(std::vector{no_difference}) == no_difference);
  CHECK(std::string(name(no_difference)) == "NO DIFFERENCE");
}

TEST_CASE("a dead run enters as knowing nothing; a dead arm is compared by survival", "[stats]") {
  const std::vector<Outcome> a{{.80}, {.82}, {.81}};
  const std::vector<Outcome> one_dead{{.70}, {NAN, true}, {.72}};
  const Comparison c = compare(a, one_dead, 0.1, Better::more);
  CHECK_FALSE(c.survival);
  CHECK(c.dead == 1);
  CHECK(c.effect.mean == Approx((.10 + .72 + .09) / 3));  // .82 - chance for the dead seed
  const std::vector<Outcome> two_dead{{.70}, {NAN, true}, {NAN, true}};
  const Comparison s = compare(a, two_dead, 0.1, Better::more);
  CHECK(s.survival);
  CHECK(s.dead == 2);
  CHECK(s.effect.mean == Approx(2.0 / 3));
  const Comparison r = compare_log2(std::vector<Outcome>{{50}, {50}},
                                    std::vector<Outcome>{{100}, {0, true}}, 200, Better::less);
  CHECK(r.effect.mean == Approx(-1.5));  // 50/100 and 50/200: half the steps, a quarter
}
