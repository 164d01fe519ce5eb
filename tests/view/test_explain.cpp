// Layers by numbers: what they say is what the library computes, for any input, and it can be read.
#include <loupe/autograd/ops.h>
#include <loupe/view/explain.h>

#include "catch.h"

using namespace loupe;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("BatchNorm by numbers: a column's statistics, worked by hand") {
  // Column 2 of the input: 6, 2, 0, 4. Mean 3, variance (9 + 1 + 9 + 1) / 4 = 5.
  const std::string text = explain("batch_norm", {.row = 0, .column = 2}).to_text();
  CAPTURE(text);
  CHECK(has(text, "mean_j = (6 + 2 + 0 + 4) / 4 = 3"));
  CHECK(has(text, "var_j  = (9 + 1 + 9 + 1) / 4 = 5"));
  CHECK(has(text, "x^ = (6 - 3) / sqrt(5 + 1.0e-05) = 1.3416"));
}

TEST_CASE("LayerNorm by numbers: a row's statistics, worked by hand") {
  // Row 1: 3, 0, 2, 7. Mean 3, variance (0 + 9 + 1 + 16) / 4 = 6.5.
  const std::string text = explain("layer_norm", {.row = 1, .column = 3}).to_text();
  CAPTURE(text);
  CHECK(has(text, "mean_i = (3 + 0 + 2 + 7) / 4 = 3"));
  CHECK(has(text, "var_i  = (0 + 9 + 1 + 16) / 4 = 6.5"));
}

TEST_CASE("every layer explains itself in 80 columns, on its own input and on others") {
  Rng rng(5);
  for (const std::string& layer : explained_layers()) {
    INFO(layer);
    const Shape shape = layer == "adam" ? Shape{1, 4} : Shape{4, 6};
    for (const Tensor& input : {Tensor(), randn(rng, shape, DType::f64)}) {
      const Document d = explain(layer, {.input = input});
      const std::string text = d.to_text(), page = d.to_html();
      CHECK(has(text, "Checked: the library computes the same"));
      CHECK(page.rfind("<!doctype html>", 0) == 0);
      CHECK_FALSE(has(page, "http"));  // no request
      if (input.defined()) continue;
      for (size_t at = 0; at < text.size();) {
        const size_t end = text.find('\n', at);
        INFO(text.substr(at, end - at));
        CHECK(end - at <= 80);
        at = end + 1;
      }
    }
  }
}

TEST_CASE("cells that share a statistic have one letter: columns or rows") {
  const std::string batch = explain("batch_norm").to_text(),
                    layer = explain("layer_norm").to_text();
  const auto first_row = [](const std::string& text) {
    const size_t at = text.find("sample 0");
    return text.substr(at, text.find('\n', at) - at);
  };
  CHECK(has(first_row(batch), "1 a"));
  CHECK(has(first_row(batch), "2 b"));
  CHECK(has(first_row(layer), "1 a"));
  CHECK(has(first_row(layer), "2 a"));
}

TEST_CASE("numbers as pages show them") {
  CHECK(decimal(2) == "2");
  CHECK(decimal(-0.0) == "0");
  CHECK(decimal(0.25) == "0.25");
  CHECK(decimal(1.0 / 3) == "0.3333");
  CHECK(decimal(3.2e-7) == "3.2e-07");
  CHECK(decimal(-1.5e9) == "-1.5e+09");
}
