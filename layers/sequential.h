#pragma once
// Containers of modules.
#include <loupe/layers/module.h>

namespace loupe {

/// Modules called one after the other, named "0", "1", ...:
///   Sequential net(Linear(rng, 784, 128), ReLU(), Linear(rng, 128, 10));
/// BatchNorm2d followed by ReLU, or by ReLU and MaxPool2d of 2, and Linear followed by ReLU run as
/// one op (layers/fused.h) unless a hook watches one of them.
class Sequential : public Layer<Sequential> {
 public:
  Sequential() = default;
  template <class... Modules>
  requires(std::is_base_of_v<Module, Modules>&&...) explicit Sequential(Modules... modules) {
    (push_back(std::move(modules)), ...);
  }
  template <class M> void push_back(M module) {
    modules_.push_back(std::make_unique<M>(std::move(module)));
  }

  Tensor forward(In x);
  void visit(Visitor& v) override;
  std::string type_name() const override { return "Sequential"; }
  size_t size() const { return modules_.size(); }
  /// IndexError outside.
  Module& operator[](size_t i);
  /// Another module in place i. IndexError outside.
  template <class M> void replace(size_t i, M module) {
    (*this)[i];
    modules_[i] = std::make_unique<M>(std::move(module));
  }

 private:
  std::vector<std::unique_ptr<Module>> modules_;
};

/// x as it is: holds a place.
class Identity : public Layer<Identity> {
 public:
  Tensor forward(In x) const { return x; }
  void visit(Visitor& /*v*/) override {}
  std::string type_name() const override { return "Identity"; }
};

/// (N, ...) -> (N, all the rest), in the logical order.
class Flatten : public Layer<Flatten> {
 public:
  Tensor forward(In x) const { return x->flatten(1, -1, x.here); }
  void visit(Visitor& /*v*/) override {}
  std::string type_name() const override { return "Flatten"; }
};

/// Modules of one type, named "0", "1", ...; has no forward of its own.
template <class M> class ModuleList : public Layer<ModuleList<M>> {
 public:
  void push_back(M module) { modules_.push_back(std::move(module)); }
  size_t size() const { return modules_.size(); }
  /// IndexError outside.
  M& operator[](size_t i) {
    if (i >= modules_.size()) fail<IndexError>("ModuleList: module {} of {}", i, modules_.size());
    return modules_[i];
  }
  auto begin() { return modules_.begin(); }
  auto end() { return modules_.end(); }
  void visit(Visitor& v) override {
    for (size_t i = 0; i < modules_.size(); ++i) v.child(std::to_string(i), modules_[i]);
  }
  std::string type_name() const override { return "ModuleList"; }

 private:
  std::vector<M> modules_;
};

}  // namespace loupe
