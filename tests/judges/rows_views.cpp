// Views, copies, conversions, factories, and tensors put together.
#include <loupe/autograd/ops.h>

#include "case.h"

namespace judge {

namespace {

std::optional<int64_t> optional_axis(const Args& a) {
  if (!a.has("dim")) return {};
  return a.integer("dim");
}

// x[1, 2:5, None] and the like: ["int", 1], ["slice", 2, 5, null], ["none"].
Tensor indexed(const Tensors& x, const Args& a) {
  std::vector<Index> entries;
  for (const Json& step : a.at("steps").items) {
    const std::string& kind = step.items[0].text();
    const auto number = [&](size_t i) -> std::optional<int64_t> {
      if (step.items[i].is_null()) return {};
      return step.items[i].integer();
    };
    if (kind == "none") entries.emplace_back(None);
    else if (kind == "ellipsis") entries.emplace_back(Ellipsis);
    else if (kind == "slice") entries.emplace_back(Slice(number(1), number(2), number(3)));
    else if (kind == "int") entries.emplace_back(*number(1));
    else entries.emplace_back(x[static_cast<size_t>(*number(1))]);
  }
  return x[0].index(entries);
}

const Row kRows[] = {
    {"reshape",
     [](const Tensors& x, const Args& a) { return Tensors{reshape(x[0], a.dims("shape"))}; }},
    {"reshape.member",
     [](const Tensors& x, const Args& a) { return Tensors{x[0].reshape(a.dims("shape"))}; }},
    {"flatten",
     [](const Tensors& x, const Args& a) {
       return Tensors{x[0].flatten(a.integer("start_dim"), a.integer("end_dim", -1))};
     }},
    {"transpose",
     [](const Tensors& x, const Args& a) {
       return Tensors{transpose(x[0], a.integer("dim0"), a.integer("dim1"))};
     }},
    {"t", [](const Tensors& x, const Args&) { return Tensors{x[0].t()}; }},
    {"permute",
     [](const Tensors& x, const Args& a) { return Tensors{permute(x[0], a.dims("dims"))}; }},
    {"slice",
     [](const Tensors& x, const Args& a) {
       return Tensors{slice(x[0], a.integer("dim"), a.integer("start"),
                            a.has("end") ? a.integer("end") : INT64_MAX, a.integer("step", 1))};
     }},
    {"select",
     [](const Tensors& x, const Args& a) {
       return Tensors{select(x[0], a.integer("dim"), a.integer("index"))};
     }},
    {"getitem", [](const Tensors& x, const Args& a) { return Tensors{indexed(x, a)}; }},
    {"flip", [](const Tensors& x, const Args& a) { return Tensors{flip(x[0], a.dims("dims"))}; }},
    {"roll", [](const Tensors& x,
                const Args& a) { return Tensors{roll(x[0], a.dims("shifts"), a.dims("dims"))}; }},
    {"repeat",
     [](const Tensors& x, const Args& a) { return Tensors{repeat(x[0], a.dims("counts"))}; }},
    {"tile", [](const Tensors& x, const Args& a) { return Tensors{tile(x[0], a.dims("counts"))}; }},
    {"unbind", [](const Tensors& x, const Args& a) { return unbind(x[0], a.integer("dim")); }},
    {"movedim",
     [](const Tensors& x, const Args& a) {
       return Tensors{movedim(x[0], a.dims("source"), a.dims("destination"))};
     }},
    {"narrow",
     [](const Tensors& x, const Args& a) {
       return Tensors{narrow(x[0], a.integer("dim"), a.integer("start"), a.integer("length"))};
     }},
    {"diagonal",
     [](const Tensors& x, const Args& a) {
       return Tensors{diagonal(x[0], a.integer("offset"), a.integer("dim1"), a.integer("dim2", 1))};
     }},
    {"meshgrid",
     [](const Tensors& x, const Args& a) {
       const bool plot = a.text("indexing", "ij") == "xy";
       return meshgrid(x, plot ? MeshIndexing::xy : MeshIndexing::ij);
     }},
    {"expand",
     [](const Tensors& x, const Args& a) { return Tensors{expand(x[0], a.dims("shape"))}; }},
    {"squeeze",
     [](const Tensors& x, const Args& a) { return Tensors{squeeze(x[0], optional_axis(a))}; }},
    {"unsqueeze",
     [](const Tensors& x, const Args& a) { return Tensors{unsqueeze(x[0], a.integer("dim"))}; }},
    {"contiguous", [](const Tensors& x, const Args&) { return Tensors{contiguous(x[0])}; }},
    {"clone", [](const Tensors& x, const Args&) { return Tensors{clone(x[0])}; }},
    {"to", [](const Tensors& x, const Args& a) { return Tensors{to(x[0], a.dtype("dtype"))}; }},
    {"cat", [](const Tensors& x, const Args& a) { return Tensors{cat(x, a.integer("dim"))}; }},
    {"stack", [](const Tensors& x, const Args& a) { return Tensors{stack(x, a.integer("dim"))}; }},
    {"split",
     [](const Tensors& x, const Args& a) {
       if (a.has("size")) return split(x[0], a.integer("size"), a.integer("dim"));
       return split(x[0], a.integers("sizes"), a.integer("dim"));
     }},
    {"chunk", [](const Tensors& x,
                 const Args& a) { return chunk(x[0], a.integer("chunks"), a.integer("dim")); }},
    {"pad", [](const Tensors& x,
               const Args& a) { return Tensors{pad(x[0], a.integers("pad"), a.number("value"))}; }},

    {"zeros", [](const Tensors&,
                 const Args& a) { return Tensors{zeros(a.dims("shape"), a.dtype("dtype"))}; }},
    {"ones", [](const Tensors&,
                const Args& a) { return Tensors{ones(a.dims("shape"), a.dtype("dtype"))}; }},
    {"full",
     [](const Tensors&, const Args& a) {
       return Tensors{full(a.dims("shape"), a.number("value"), a.dtype("dtype"))};
     }},
    {"scalar", [](const Tensors&,
                  const Args& a) { return Tensors{scalar(a.number("value"), a.dtype("dtype"))}; }},
    {"zeros_like", [](const Tensors& x, const Args&) { return Tensors{zeros_like(x[0])}; }},
    {"ones_like", [](const Tensors& x, const Args&) { return Tensors{ones_like(x[0])}; }},
    {"arange",
     [](const Tensors&, const Args& a) {
       return Tensors{arange(a.number("start"), a.number("end"), a.number("step", 1),
                             a.dtype("dtype", DType::i64))};
     }},
    {"linspace",
     [](const Tensors&, const Args& a) {
       return Tensors{
           linspace(a.number("start"), a.number("end"), a.integer("steps"), a.dtype("dtype"))};
     }},
    {"eye",
     [](const Tensors&, const Args& a) { return Tensors{eye(a.integer("n"), a.dtype("dtype"))}; }},
};

}  // namespace

std::span<const Row> view_rows() { return kRows; }

}  // namespace judge
