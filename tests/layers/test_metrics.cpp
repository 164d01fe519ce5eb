#include "catch.h"

#include <loupe/layers/metrics.h>

#include <cmath>

using namespace loupe;

TEST_CASE("accuracy and top-k accuracy count rows") {
  const Tensor logits = tensor({1, 2, 3, 3, 2, 1, 5, 5, 0, 0, 0, 9}, Shape{4, 3});
  const Tensor labels = from_data(std::vector<int64_t>{2, 1, 0, 0});
  REQUIRE(accuracy(logits, labels) == 0.5);  // the third row is a tie: the first of equals
  REQUIRE(top_k_accuracy(logits, labels, 2) == 1.0);
  REQUIRE(top_k_accuracy(logits, labels, 3) == 1.0);
  // Any layout.
  REQUIRE(accuracy(logits.t().contiguous().t(), labels) == 0.5);
  REQUIRE(std::isnan(accuracy(zeros({0, 3}), zeros({0}, DType::i64))));
  // Labels as a column of a table: read from a copy, which must live as long as the loop over it.
  const Tensor table = from_data(std::vector<int64_t>{2, 9, 1, 9, 0, 9, 0, 9}, Shape{4, 2});
  REQUIRE(accuracy(logits, table.select(1, 0)) == 0.5);
  REQUIRE_THROWS_AS(accuracy(logits, table.select(1, 1)), IndexError);
}

// The expected numbers are scikit-learn's (zero_division = 0).
TEST_CASE("the confusion matrix: counts, precision, recall and F1, over batches") {
  const std::vector<int64_t> labels{0, 1, 2, 2, 1, 0, 3, 1, 2, 0, 1, 1};
  const std::vector<int64_t> answers{0, 2, 2, 2, 1, 0, 1, 1, 0, 0, 1, 2};
  ConfusionMatrix m(4);
  REQUIRE(std::isnan(m.accuracy()));
  const Tensor t = from_data(labels), p = from_data(answers);
  m.update(p.slice(0, 0, 5), t.slice(0, 0, 5));
  m.update(p.slice(0, 5), t.slice(0, 5));
  REQUIRE(m.total() == 12);
  REQUIRE(m.counts().to_vector<int64_t>() ==
          std::vector<int64_t>{3, 0, 0, 0, 0, 3, 2, 0, 1, 0, 2, 0, 0, 1, 0, 0});
  const auto near = [](double a, double b) { return std::abs(a - b) < 1e-15; };
  REQUIRE(near(m.accuracy(), 0.6666666666666666));
  const double precision[] = {0.75, 0.75, 0.5, 0};
  const double recall[] = {1, 0.6, 0.6666666666666666, 0};
  const double f1[] = {0.8571428571428571, 0.6666666666666666, 0.5714285714285714, 0};
  for (int64_t c = 0; c < 4; ++c) {
    REQUIRE(near(m.precision(c), precision[c]));
    REQUIRE(near(m.recall(c), recall[c]));
    REQUIRE(near(m.f1(c), f1[c]));
  }
  REQUIRE(near(m.macro_f1(), 0.5238095238095237));
  // Logits are taken as well.
  ConfusionMatrix logits(2);
  logits.update(tensor({0, 1, 1, 0}, Shape{2, 2}), from_data(std::vector<int64_t>{1, 1}));
  REQUIRE(logits.accuracy() == 0.5);
  logits.reset();
  REQUIRE(logits.total() == 0);
}
