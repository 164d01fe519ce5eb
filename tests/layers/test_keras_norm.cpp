#include <loupe/layers/norm.h>

#include "torch_case.h"

using namespace loupe;

namespace {

// Ten training steps and inference of one case, in f64 and f32.
template <class M> void keras_case(const std::string& name, M m, double bound32 = 5e-6) {
  static const fixture::Fixture f("keras_norm.safetensors");
  for (DType dtype : {DType::f64, DType::f32}) {
    INFO(name << " in " << loupe::name(dtype));
    const double bound = dtype == DType::f64 ? fixture::kBound64 : bound32;
    const std::string group = "keras " + name.substr(0, 2) + " " + loupe::name(dtype);
    to(m, dtype);
    StateDict state;
    for (const auto& key : f.under(name + "/state/"))
      state.push_back({key, f.get(name + "/state/" + key, dtype)});
    load_state_dict(m, state, {.strict = false});  // Keras counts no batches
    const Tensor mask = f.has(name + "/mask") ? f.get(name + "/mask") : Tensor();
    for (const std::string step : {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "eval"}) {
      const std::string prefix = name + "/" + step;
      if (!f.has(prefix + "/x0")) continue;
      train(m, step != "eval");
      auto call = [&](const Tensors& xs) -> Tensors {
        if constexpr (std::is_base_of_v<BatchNormState, M>) return {m(xs[0], mask)};
        else return {m(xs[0])};
      };
      if (f.has(prefix + "/y"))
        fixture::check_pass(f, group, prefix, dtype, bound, call, named_parameters(m));
      else call({f.get(prefix + "/x0", dtype)});
      for (const auto& key : f.under(prefix + "/after/"))
        for (const auto& [buffer, t] : named_buffers(m))
          if (buffer == key)
            fixture::same(group, prefix + "/after/" + key, t, f.get(prefix + "/after/" + key),
                          bound);
    }
  }
}

constexpr NormConvention kKeras = NormConvention::keras3;

}  // namespace

TEST_CASE(
    "BatchNorm by the keras3 convention equals Keras 3: ten steps and inference, axis, mask") {
  keras_case("bn", BatchNorm1d(3, {.convention = kKeras, .axis = -1}));
  keras_case("bn_sequence", BatchNorm1d(3, {.convention = kKeras, .axis = -1}));
  keras_case("bn_image", BatchNorm2d(2, {.convention = kKeras, .axis = -1}));
  keras_case("bn_axis1", BatchNorm2d(4, {.convention = kKeras}));
  keras_case("bn_axis2", BatchNorm2d(3, {.convention = kKeras, .axis = 2}));
  keras_case("bn_options", BatchNorm1d(3, {.eps = 1e-2, .momentum = 0.7, .convention = kKeras}));
  keras_case("bn_plain", BatchNorm1d(3, {.affine = false, .convention = kKeras}));
  BatchNorm1d scale(3, {.convention = kKeras});
  scale.bias = Tensor();  // center=False
  keras_case("bn_scale", std::move(scale));
  keras_case("bn_mask", BatchNorm1d(3, {.convention = kKeras, .axis = -1}));
  keras_case("bn_mask_image", BatchNorm2d(2, {.convention = kKeras, .axis = -1}));
}

TEST_CASE("LayerNorm equals Keras 3's LayerNormalization, over any axes") {
  keras_case("ln", LayerNorm(6, {.eps = 1e-3}));
  keras_case("ln_axis1", LayerNorm({3, 1}, {.eps = 1e-3, .axes = {1, 3}}));
  keras_case("ln_axes", LayerNorm({3, 5}, {.eps = 1e-3, .axes = {1, 3}}));
  keras_case("ln_last_two", LayerNorm({3, 5}));
  keras_case("ln_plain", LayerNorm(6, {.eps = 1e-3, .elementwise_affine = false}));
  keras_case("ln_scale", LayerNorm(6, {.eps = 1e-3, .bias = false}));
}
