#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

struct Case {
  Tensor q, k, v, keep;
  bool causal;
};

// What differs between the right attention and a wrong one.
struct Way {
  double divide_by = 0;        // 0: the root of the width
  int64_t axis = -1;           // of the softmax
  int64_t diagonal = 1;        // from where on the future begins
  bool lower = false;          // masks the past in place of the future
  bool mask_queries = false;   // padding over the rows
  bool turned_keep = false;    // masks what is to be kept
  bool after_softmax = false;  // weights times mask, not scores
  double masked = -INFINITY;
  bool repair = true;  // 0 for a row with nothing to see
  bool no_causal = false, no_keep = false;
};

Tensor masked_out(const Case& k, const Way& way) {
  const int64_t B = k.q.size(0), T = k.q.size(1);
  Tensor out = zeros({B, T, T}, DType::boolean);
  if (k.causal && !way.no_causal) {
    const Tensor all = ones({T, T});
    const Tensor future = way.lower ? tril(all, -way.diagonal) : triu(all, way.diagonal);
    out = logical_or(out, future.to(DType::boolean));
  }
  if (k.keep.defined() && !way.no_keep) {
    const Tensor padding = way.turned_keep ? k.keep : logical_not(k.keep);
    out = logical_or(out, padding.unsqueeze(way.mask_queries ? 2 : 1));
  }
  return out;
}

// As it stands in books: 0/0 for a row of minus infinities.
Tensor book_softmax(const Tensor& scores, int64_t axis) {
  const Tensor e = exp(scores - max(scores, {axis}, true));
  return e / e.sum({axis}, true);
}

Tensor attended(const Case& k, const Way& way) {
  const double divide =
      way.divide_by == 0 ? std::sqrt(static_cast<double>(k.q.size(2))) : way.divide_by;
  const Tensor scores = matmul(k.q, k.k.t()) / divide, out = masked_out(k, way);
  Tensor weights;
  if (way.after_softmax) weights = masked_fill(book_softmax(scores, way.axis), out, 0);
  else weights = book_softmax(masked_fill(scores, out, way.masked), way.axis);
  if (way.repair) weights = masked_fill(weights, isnan(weights), 0);
  return matmul(weights, k.v);
}

void compare(Check& c, const std::string& name, const Case& k) {
  c.trying(fmt::format("{}, q {}", name, to_string(k.q.shape())));
  const double T = static_cast<double>(k.q.size(1)), width = static_cast<double>(k.q.size(2));
  const std::vector<std::pair<std::string, Way>> wrong{
      {"the scale is missing: divide the scores by sqrt(d)", {.divide_by = 1}},
      {"you divided by d: divide by its root", {.divide_by = width}},
      {"you divided by the root of the number of tokens: d is the width of a query",
       {.divide_by = std::sqrt(T)}},
      {"the softmax runs over the queries: each row, all keys of one query, must sum to 1",
       {.axis = -2}},
      {"the causal mask is missing", {.no_causal = true}},
      {"a token does not see itself: the future begins one above the diagonal", {.diagonal = 0}},
      {"each token sees one of the future: the future begins one above the diagonal",
       {.diagonal = 2}},
      {"the causal mask hides the past: it hides the keys with a higher number than the query",
       {.lower = true}},
      {"the padding mask is missing: nobody may look at padding", {.no_keep = true}},
      {"keep is turned around: true is a real token", {.turned_keep = true}},
      {"the padding mask hides rows (queries): it hides columns, the keys", {.mask_queries = true}},
      {"the mask comes after the softmax: then the weights of a row do not sum to 1; set scores to "
       "minus infinity before it",
       {.after_softmax = true}},
      {"masked scores are 0: e^0 is 1, not 0; set them to minus infinity", {.masked = 0}},
      {"masked scores are -1e9, not minus infinity: a row with nothing to see then looks at "
       "everything alike, padding too; its result is 0",
       {.masked = -1e9}},
      {"a row with nothing to see is 0/0: its result is 0", {.repair = false}}};
  Ideas ideas;
  for (const auto& [says, way] : wrong)
    ideas.push_back({says, [&, way = way] { return attended(k, way); }});
  c.equal("y", mine::attention(k.q, k.k, k.v, k.causal, k.keep), attended(k, {}), ideas);
}

}  // namespace

void run(Check& c) {
  const int64_t T = c.between(5, 6), width = c.between(2, 3);
  const auto draw = [&](bool causal, const Tensor& keep) {
    return Case{c.normal({2, T, width}, 2), c.normal({2, T, width}, 2), c.normal({2, T, width}),
                keep, causal};
  };
  compare(c, "no mask", draw(false, {}));
  compare(c, "causal", draw(true, {}));
  Tensor keep = ones({2, T}, DType::boolean);
  keep.select(0, 0).slice(0, T - 2).fill_(false);
  compare(c, "the last two keys of the first sequence are padding", draw(false, keep));
  compare(c, "causal, with padding", draw(true, keep));
  keep = ones({2, T}, DType::boolean);
  keep.select(0, 0).slice(0, 0, 2).fill_(false);
  compare(c, "causal, and the first two keys are padding: row 0 sees nothing", draw(true, keep));
  compare(c, "a case that PyTorch has computed, too",
          {c.torch("attention.q"), c.torch("attention.k"), c.torch("attention.v"), {}, true});
  c.equal("y",
          mine::attention(c.torch("attention.q"), c.torch("attention.k"), c.torch("attention.v"),
                          true, {}),
          c.torch("attention.y"));
}

}  // namespace loupe::exercises
