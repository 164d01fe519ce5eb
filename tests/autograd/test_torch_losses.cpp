#include <loupe/autograd/ops.h>

#include <map>

#include "torch_case.h"

using namespace loupe;
using fixture::Fixture;

namespace {

const Fixture& file() {
  static const Fixture f("losses.safetensors");
  return f;
}

void check(const std::string& name, const std::function<Tensor(const Tensors&)>& f) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    INFO(name << " in " << loupe::name(dtype));
    const std::string group = name.substr(0, name.find('_')) + " " + loupe::name(dtype);
    fixture::check_pass(file(), group, name, dtype,
                        dtype == DType::f64 ? fixture::kBound64 : fixture::kBound32,
                        [&](const Tensors& xs) { return Tensors{f(xs)}; });
  }
}

}  // namespace

TEST_CASE(
    "losses of probabilities, and class losses of three and four dimensions, equal PyTorch's") {
  const std::map<std::string, Reduction> reductions = {{"mean", Reduction::mean},
                                                       {"sum", Reduction::sum},
                                                       {"none", Reduction::none},
                                                       {"batchmean", Reduction::batchmean}};
  const auto weight = [](const Tensor& like) {
    return raw::to(file().get("class_weight"), like.dtype());
  };
  for (const auto& [word, r] : reductions) {
    const Reduction reduction = r;
    const std::string end = "_" + word;
    check("kl" + end,
          [&](const Tensors& x) { return kl_div(x[0], x[1], {.reduction = reduction}); });
    check("kl_log" + end, [&](const Tensors& x) {
      return kl_div(x[0], x[1], {.reduction = reduction, .log_target = true});
    });
    if (reduction == Reduction::batchmean) continue;
    for (const char* rank : {"1d", "2d", "3d", "4d"}) {
      check(std::string("shares_") + rank + end,
            [&](const Tensors& x) { return cross_entropy(x[0], x[1], {.reduction = reduction}); });
      check(std::string("shares_all_") + rank + end, [&](const Tensors& x) {
        return cross_entropy(
            x[0], x[1], {.weight = weight(x[0]), .reduction = reduction, .label_smoothing = 0.2});
      });
    }
    check("classes_images" + end, [&](const Tensors& x) {
      return cross_entropy(
          x[0], x[1], {.weight = weight(x[0]), .reduction = reduction, .label_smoothing = 0.1});
    });
    check("classes_one" + end,
          [&](const Tensors& x) { return cross_entropy(x[0], x[1], {.reduction = reduction}); });
    for (const char* name : {"nll_images", "nll_one"})
      check(name + end, [&](const Tensors& x) {
        return nll_loss(log_softmax(x[0], 1), x[1],
                        {.weight = weight(x[0]), .reduction = reduction});
      });
    check("bce" + end, [&](const Tensors& x) {
      return binary_cross_entropy(x[0], x[1], {.reduction = reduction});
    });
    check("bce_weight" + end, [&](const Tensors& x) {
      return binary_cross_entropy(
          x[0], x[1], {.weight = raw::slice(weight(x[0]), 0, 0, 3, 1), .reduction = reduction});
    });
  }
}
