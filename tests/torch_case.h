#pragma once
// Holds a layer or a function of Loupe against its case in a fixture: outputs, gradients of inputs
// and parameters, buffers.
#include <loupe/autograd/autograd.h>
#include <loupe/layers/state.h>

#include <functional>

#include "fixture.h"

namespace fixture {

/// Bounds, relative to the largest element of the tensor compared. Fixtures are float64 results
/// from inputs float32 can hold.
inline constexpr double kBound64 = 1e-10, kBound32 = 1e-6;

using Call = std::function<Tensors(const Tensors&)>;

/// One pass: forward, backward with the stored upstream gradient; every stored gradient is
/// compared.
inline void check_pass(const Fixture& f, const std::string& group, const std::string& prefix,
                       DType dtype, double bound, const Call& call,
                       const StateDict& parameters = {}) {
  const auto key = [&](const char* what, size_t i, bool bare = false) {
    return prefix + "/" + what + (bare && i == 0 ? "" : std::to_string(i));
  };
  Tensors xs, ys, upstream, wanted;
  std::vector<std::string> names;
  for (size_t i = 0; f.has(key("x", i)); ++i) {
    xs.push_back(f.get(key("x", i), dtype));
    if (!f.has(key("dx", i))) continue;
    xs.back().requires_grad_();
    wanted.push_back(xs.back());
    names.push_back(key("dx", i));
  }
  for (const auto& [name, p] : parameters) {
    wanted.push_back(p);
    names.push_back(prefix + "/grad/" + name);
  }
  const Tensors outputs = call(xs);
  for (size_t i = 0; f.has(key("y", i, true)); ++i) {
    REQUIRE(i < outputs.size());
    same(group, key("y", i, true), outputs[i], f.get(key("y", i, true)), bound);
    ys.push_back(outputs[i]);
    upstream.push_back(f.get(key("dy", i, true), dtype));
  }
  const Tensors grads = grad(ys, wanted, {}, upstream);
  for (size_t i = 0; i < grads.size(); ++i) same(group, names[i], grads[i], f.get(names[i]), bound);
}

/// A layer: the state_dict's names, shapes and order, then each pass with the buffers after it.
template <class M>
void check_layer(const Fixture& f, const std::string& name, DType dtype, M& m,
                 const std::function<Tensors(M&, const Tensors&)>& call, double bound) {
  INFO(name << " in " << loupe::name(dtype));
  to(m, dtype);
  StateDict state;
  for (const auto& key : f.under(name + "/state/"))
    state.push_back({key, f.get(name + "/state/" + key, dtype)});
  load_state_dict(m, state);
  std::string order;
  for (const auto& [key, t] : state_dict(m)) {
    order += (order.empty() ? "" : ";") + key + "=";
    for (int i = 0; i < t.dim(); ++i) order += (i ? "," : "") + std::to_string(t.size(i));
  }
  CHECK(order == f.meta("order/" + name));
  const std::string group = name.substr(0, name.find('_')) + " " + loupe::name(dtype);
  for (const std::string pass : {"0", "1", "2", "eval"}) {
    const std::string prefix = name + "/" + pass;
    if (!f.has(prefix + "/y")) continue;
    train(m, pass != "eval");
    check_pass(
        f, group, prefix, dtype, bound, [&](const Tensors& xs) { return call(m, xs); },
        named_parameters(m));
    for (const auto& [key, t] : named_buffers(m))
      same(group, prefix + "/after/" + key, t, f.get(prefix + "/after/" + key), bound);
  }
}

/// A layer case of layers.safetensors in f64 and f32. Without `call`, the layer takes one tensor.
template <class M>
void layer_case(
    const std::string& name, M m, double bound32 = kBound32,
    const std::function<Tensors(M&, const Tensors&)>& call =
        [](M& layer, const Tensors& xs) { return Tensors{layer(xs[0])}; },
    const char* file = "layers.safetensors") {
  static std::map<std::string, Fixture> files;
  const Fixture& f = files.try_emplace(file, file).first->second;
  check_layer<M>(f, name, DType::f64, m, call, kBound64);
  check_layer<M>(f, name, DType::f32, m, call, bound32);
}

}  // namespace fixture
