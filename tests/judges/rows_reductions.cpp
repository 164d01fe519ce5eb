// Reductions, and elements chosen by index.
#include <loupe/autograd/ops.h>

#include "case.h"

namespace judge {

namespace {

#define OVER_AXES(word, call)                                       \
  {                                                                 \
    word, [](const Tensors& x, const Args& a) {                     \
      return Tensors{call(x[0], a.dims("dim"), a.flag("keepdim"))}; \
    }                                                               \
  }
#define MOMENT(op)                                                              \
  {                                                                             \
#op, [](const Tensors& x, const Args& a) {                                    \
      const int64_t correction = a.integer("correction", 1);                      \
      return Tensors{loupe::op(x[0], a.dims("dim"), correction, a.flag("keepdim"))}; \
    } \
  }

std::optional<int64_t> optional_axis(const Args& a) {
  if (!a.has("dim")) return {};
  return a.integer("dim");
}

const Row kRows[] = {
    OVER_AXES("sum", sum),
    OVER_AXES("mean", mean),
    OVER_AXES("prod", prod),
    OVER_AXES("any", any),
    OVER_AXES("all", all),
    OVER_AXES("logsumexp", logsumexp),
    {"norm",
     [](const Tensors& x, const Args& a) {
       return Tensors{norm(x[0], a.number("p", 2), a.dims("dim"), a.flag("keepdim"))};
     }},
    {"cumsum",
     [](const Tensors& x, const Args& a) { return Tensors{cumsum(x[0], a.integer("dim"))}; }},
    {"cumprod",
     [](const Tensors& x, const Args& a) { return Tensors{cumprod(x[0], a.integer("dim"))}; }},
    OVER_AXES("amax", max),
    OVER_AXES("amin", min),
    MOMENT(var),
    MOMENT(std),
    {"sum.member",
     [](const Tensors& x, const Args& a) {
       return Tensors{x[0].sum(a.dims("dim"), a.flag("keepdim"))};
     }},
    {"mean.member",
     [](const Tensors& x, const Args& a) {
       return Tensors{x[0].mean(a.dims("dim"), a.flag("keepdim"))};
     }},
    {"argmax",
     [](const Tensors& x, const Args& a) {
       return Tensors{argmax(x[0], optional_axis(a), a.flag("keepdim"))};
     }},
    {"argmin",
     [](const Tensors& x, const Args& a) {
       return Tensors{argmin(x[0], optional_axis(a), a.flag("keepdim"))};
     }},
    {"sort",
     [](const Tensors& x, const Args& a) {
       const Sorted s = sort(x[0], a.integer("dim", -1), a.flag("descending"));
       return a.flag("values") ? Tensors{s.values} : Tensors{s.values, s.indices};
     }},
    {"argsort",
     [](const Tensors& x, const Args& a) {
       return Tensors{argsort(x[0], a.integer("dim", -1), a.flag("descending"))};
     }},
    {"topk",
     [](const Tensors& x, const Args& a) {
       const TopK top = topk(x[0], a.integer("k"), a.integer("dim", -1), a.flag("largest", true));
       return Tensors{top.values, top.indices};
     }},

    {"index_select",
     [](const Tensors& x, const Args& a) {
       return Tensors{index_select(x[0], a.integer("dim"), x[1])};
     }},
    {"gather",
     [](const Tensors& x, const Args& a) { return Tensors{gather(x[0], a.integer("dim"), x[1])}; }},
    {"scatter_add",
     [](const Tensors& x, const Args& a) {
       return Tensors{scatter_add(x[0], a.integer("dim"), x[1], x[2])};
     }},
    {"scatter_add.zeros",
     [](const Tensors& x, const Args& a) {
       return Tensors{x[0] + scatter_add(x[2], a.integer("dim"), x[1], x[0].shape())};
     }},
    {"scatter",
     [](const Tensors& x, const Args& a) {
       const int64_t axis = a.integer("dim");
       if (a.has("value")) return Tensors{scatter(x[0], axis, x[1], a.number("value"))};
       return Tensors{scatter(x[0], axis, x[1], x[2])};
     }},
    {"masked_select",
     [](const Tensors& x, const Args&) { return Tensors{masked_select(x[0], x[1])}; }},
    {"nonzero", [](const Tensors& x, const Args&) { return Tensors{nonzero(x[0])}; }},
    {"one_hot",
     [](const Tensors& x, const Args& a) {
       return Tensors{one_hot(x[0], a.integer("num_classes", -1), DType::i64)};
     }},
    {"embedding",
     [](const Tensors& x, const Args& a) {
       EmbeddingOptions options;
       if (a.has("padding_idx")) options.padding_idx = a.integer("padding_idx");
       return Tensors{embedding(x[0], x[1], options)};
     }},
};

}  // namespace

std::span<const Row> reduction_rows() { return kRows; }

}  // namespace judge
