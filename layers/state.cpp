#include <loupe/layers/state.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <unordered_map>

namespace loupe {
namespace {

// Walks a tree of modules; hands on what a module owns, then its children.
struct Walker final : Visitor {
  struct Item {
    std::string name;
    Tensor* tensor;
    bool buffer;
  };
  std::string prefix;
  std::vector<Item> tensors;
  std::vector<std::pair<std::string, Module*>> modules;
  std::vector<std::pair<std::string, Rng*>> streams;

  explicit Walker(Module& root) { enter("", root); }

 private:
  std::vector<Item> buffers_;
  std::vector<std::pair<std::string, Module*>> children_;

  void enter(const std::string& path, Module& m) {
    modules.emplace_back(path, &m);
    prefix = path.empty() ? "" : path + ".";
    std::vector<Item> outer_buffers;
    std::vector<std::pair<std::string, Module*>> outer_children;
    std::swap(buffers_, outer_buffers);
    std::swap(children_, outer_children);
    m.visit(*this);
    for (Item& b : buffers_) tensors.push_back(std::move(b));
    const auto children = std::move(children_);
    buffers_ = std::move(outer_buffers);
    children_ = std::move(outer_children);
    for (const auto& [name, child] : children)
      enter(path.empty() ? name : path + "." + name, *child);
  }
  void parameter(const std::string& name, Tensor& t) override {
    tensors.push_back({prefix + name, &t, false});
  }
  void buffer(const std::string& name, Tensor& t) override {
    buffers_.push_back({prefix + name, &t, true});
  }
  void module(const std::string& name, Module& m) override { children_.emplace_back(name, &m); }
  void stream(const char* name, Rng& rng) override { streams.emplace_back(prefix + name, &rng); }
};

std::string join(const std::vector<std::string>& names) {
  std::string s;
  for (const auto& n : names) s += (s.empty() ? "" : ", ") + n;
  return s;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.is_same(b)) return true;
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const Tensor x = raw::row_major(a), y = raw::row_major(b);
  return dispatch(a.dtype(), [&]<class T>(Type<T>) {
    return std::memcmp(x.ptr<T>(), y.ptr<T>(), static_cast<size_t>(x.numel()) * sizeof(T)) == 0;
  });
}

/// A BatchNorm's count, which checkpoints from before PyTorch 0.4.1 lack: it then stays as it is.
bool may_be_missing(const Named& own) {
  const std::string_view name = own.name, count = "num_batches_tracked";
  return own.tensor.dim() == 0 && (name == count || name.ends_with(".num_batches_tracked"));
}

/// A scalar may be given as (1), as files from before PyTorch 0.4 have it.
bool shape_fits(const Tensor& given, const Tensor& own) {
  return given.shape() == own.shape() || (own.dim() == 0 && given.shape() == Shape{1});
}

}  // namespace

StateDict named_parameters(Module& m) {
  StateDict out;
  for (const auto& item : Walker(m).tensors) {
    if (item.buffer) continue;
    const bool seen = std::any_of(out.begin(), out.end(),
                                  [&](const Named& n) { return n.tensor.is_same(*item.tensor); });
    if (!seen) out.push_back({item.name, *item.tensor});
  }
  return out;
}

std::vector<Tensor> parameters(Module& m) {
  std::vector<Tensor> out;
  for (const Named& n : named_parameters(m)) out.push_back(n.tensor);
  return out;
}

StateDict named_buffers(Module& m) {
  StateDict out;
  for (const auto& item : Walker(m).tensors)
    if (item.buffer) out.push_back({item.name, *item.tensor});
  return out;
}

StateDict state_dict(Module& m) {
  StateDict out;
  for (const auto& item : Walker(m).tensors) out.push_back({item.name, *item.tensor});
  return out;
}

std::vector<std::pair<std::string, Module*>> named_modules(Module& m) { return Walker(m).modules; }
std::vector<std::pair<std::string, Rng*>> named_streams(Module& m) { return Walker(m).streams; }

int64_t parameter_count(Module& m) {
  int64_t n = 0;
  for (const Tensor& t : parameters(m)) n += t.numel();
  return n;
}

LoadReport load_state_dict(Module& m, const StateDict& from, const LoadOptions& options) {
  std::map<std::string, const Tensor*> given;
  LoadReport report;
  for (const Named& n : from) {
    if (!n.name.starts_with(options.prefix)) {
      report.unexpected.push_back(n.name);
      continue;
    }
    std::string name = n.name.substr(options.prefix.size());
    if (const auto r = options.rename.find(name); r != options.rename.end()) name = r->second;
    if (!given.emplace(name, &n.tensor).second)
      fail<ValueError>("load_state_dict: the state has {} twice", name);
  }
  const StateDict own = state_dict(m);
  std::vector<std::string> misfits, contradictory;
  std::set<std::string> used;
  for (const Named& n : own) {
    const auto g = given.find(n.name);
    if (g == given.end()) {
      // A tied tensor may be given once, under any of its names.
      const bool tied = std::any_of(own.begin(), own.end(), [&](const Named& o) {
        return o.name != n.name && o.tensor.is_same(n.tensor) && given.count(o.name);
      });
      if (!tied && !may_be_missing(n)) report.missing.push_back(n.name);
      continue;
    }
    used.insert(n.name);
    const Tensor& t = *g->second;
    if (!t.defined()) misfits.push_back(n.name + " is undefined");
    else if (!shape_fits(t, n.tensor))
      misfits.push_back(
          fmt::format("{} is {}, the model has {}", n.name, t.shape(), n.tensor.shape()));
    else if (t.dtype() != n.tensor.dtype() &&
             !(is_floating(t.dtype()) && is_floating(n.tensor.dtype())))
      misfits.push_back(
          fmt::format("{} is {}, the model has {}", n.name, t.dtype(), n.tensor.dtype()));
    for (const Named& o : own) {
      if (&o == &n) break;
      const auto other = given.find(o.name);
      if (o.tensor.is_same(n.tensor) && other != given.end() && other->second->defined() &&
          t.defined() && !same_bits(*other->second, t))
        contradictory.push_back(o.name + " and " + n.name);
    }
  }
  for (const auto& [name, t] : given)
    if (!used.count(name)) report.unexpected.push_back(name);
  const bool incomplete = options.strict && (!report.missing.empty() || !report.unexpected.empty());
  if (incomplete || !misfits.empty() || !contradictory.empty()) {
    std::string text = "load_state_dict: the state does not fit the model";
    if (options.strict && !report.missing.empty()) text += "; missing: " + join(report.missing);
    if (options.strict && !report.unexpected.empty())
      text += "; unexpected: " + join(report.unexpected);
    if (!misfits.empty()) text += "; other tensors: " + join(misfits);
    if (!contradictory.empty())
      text += "; one tensor in the model, two values in the state: " + join(contradictory);
    throw ValueError(text);
  }
  NoGrad guard;
  for (const Named& n : own)
    if (const auto g = given.find(n.name); g != given.end())
      n.tensor.copy_(raw::reshape(*g->second, n.tensor.shape()));
  return report;
}

void copy_state(Module& from, Module& to) { load_state_dict(to, state_dict(from)); }

void train(Module& m, bool on) {
  for (const auto& [name, module] : named_modules(m)) module->set_training(on);
}

EvalScope::EvalScope(Module& m) {
  for (const auto& [name, module] : named_modules(m)) {
    before_.emplace_back(module, module->is_training());
    module->set_training(false);
  }
}
EvalScope::~EvalScope() {
  for (auto b = before_.rbegin(); b != before_.rend(); ++b)
    b->first->set_training(b->second);  // a module may be there twice
}

void zero_grad(Module& m) {
  for (const Tensor& t : parameters(m)) t.zero_grad();
}

void requires_grad_(Module& m, bool on) {
  for (Tensor t : parameters(m)) t.requires_grad_(on);
}

void to(Module& m, DType dtype) {
  if (!is_floating(dtype))
    fail<DtypeError>("to: a model's parameters are f32 or f64, not {}", dtype);
  for (const auto& item : Walker(m).tensors) {  // a tied tensor is converted at its first name
    Tensor& t = *item.tensor;
    if (!is_floating(t.dtype()) || t.dtype() == dtype) continue;
    const Tensor gradient = t.grad();
    t.set_data(raw::to(t, dtype));
    if (gradient.defined()) t.set_grad(raw::to(gradient, dtype));
  }
}

HookScope::HookScope(Module& m, const ForwardHook& hook) {
  for (const auto& [name, module] : named_modules(m))
    handles_.push_back(module->add_forward_hook(hook));
}

HookScope::~HookScope() {
  for (HookHandle& handle : handles_) handle.remove();
}

namespace {

// 1234567 -> "1,234,567".
std::string grouped(int64_t n) {
  std::string s = std::to_string(n);
  for (int i = static_cast<int>(s.size()) - 3; i > 0; i -= 3) s.insert(static_cast<size_t>(i), ",");
  return s;
}

std::string in_units(double flops) {
  for (const char* unit : {"", "k", "M", "G"}) {
    int digits = 0;  // behind the point: three in all
    if (*unit && flops < 100) digits = flops < 10 ? 2 : 1;
    if (flops < 1000) return fmt::format("{:.{}f}{}", flops, digits, unit);
    flops /= 1000;
  }
  return fmt::format("{:.2f}T", flops);
}

std::string shortened(const std::string& s, size_t width) {
  return s.size() <= width ? s : s.substr(0, width - 2) + "..";
}

// Of a name the end says more: "..attention.self.query".
std::string shortened_name(const std::string& s, size_t width) {
  return s.size() <= width ? s : ".." + s.substr(s.size() - (width - 2));
}

// Widths of name, type, options, shape and parameters, made to fit a line with the FLOPs behind
// them: options give way first (0: none are shown), then names, types, shapes.
void fit_columns(size_t (&w)[5], size_t columns) {
  constexpr size_t kFlops = 7, kGap = 2;
  const auto over = [&] {
    const size_t gaps = w[2] == 0 ? 4 : 5;
    const size_t total = w[0] + w[1] + w[2] + w[3] + w[4] + kFlops + kGap * gaps;
    return total > columns ? total - columns : 0;
  };
  constexpr size_t kLeastOptions = 8, kLeast = 12;
  const size_t options = w[2] - std::min(w[2], over());
  w[2] = options < std::min(w[2], kLeastOptions) ? 0 : options;
  for (const size_t column : {size_t{0}, size_t{1}, size_t{3}})
    if (w[column] > kLeast) w[column] = std::max(kLeast, w[column] - std::min(w[column], over()));
}

}  // namespace

std::string summary(Module& m, const Tensor& input, size_t columns) {
  struct Row {
    std::string name, type, options, shape, params;
    int64_t flops = 0;
  };
  std::map<Module*, Row> rows;
  const auto modules = named_modules(m);
  {
    const EvalScope evaluating(m);
    const HookScope hooks(m, [&rows](Module& mod, const Tensor& x, const Tensor& y) {
      Row& r = rows[&mod];
      r.shape = to_string(y.shape());
      r.flops += mod.flops(x.shape(), y.shape());
    });
    no_grad([&] { m.call(input); });
  }
  std::vector<Row> table{{"layer", "type", "options", "output shape", "parameters"}};
  int64_t total_flops = 0;
  for (size_t i = 0; i < modules.size(); ++i) {
    const auto& [name, module] = modules[i];
    Row r = rows[module];
    r.name = name.empty() ? "(model)" : name;
    r.type = module->type_name();
    r.options = module->describe();
    int64_t own = 0;
    struct Own final : Visitor {
      int64_t* n;
      void parameter(const std::string&, Tensor& t) override { *n += t.numel(); }
      void module(const std::string&, Module&) override {}
    } visitor;
    visitor.n = &own;
    module->visit(visitor);
    r.params = own ? grouped(own) : "";
    total_flops += r.flops;
    table.push_back(r);
  }
  size_t w[5] = {};
  const auto cells = [](const Row& r) {
    return std::array<const std::string*, 5>{&r.name, &r.type, &r.options, &r.shape, &r.params};
  };
  for (const Row& r : table)
    for (size_t c = 0; c < 5; ++c) w[c] = std::max(w[c], cells(r)[c]->size());
  if (columns > 0) fit_columns(w, columns);
  std::string out;
  for (size_t i = 0; i < table.size(); ++i) {
    const Row& r = table[i];
    const std::string options =
        w[2] == 0 ? "" : fmt::format("{:<{}}  ", shortened(r.options, w[2]), w[2]);
    out += fmt::format("{:<{}}  {:<{}}  {}{:<{}}  {:>{}}  {:>7}\n", shortened_name(r.name, w[0]),
                       w[0], shortened(r.type, w[1]), w[1], options, shortened(r.shape, w[3]), w[3],
                       r.params, w[4],
                       i == 0    ? "FLOPs"
                       : r.flops ? in_units(static_cast<double>(r.flops))
                                 : "");
  }
  out += fmt::format("{} parameters, {} FLOPs forward for input {}\n", grouped(parameter_count(m)),
                     in_units(static_cast<double>(total_flops)), input.shape());
  return out;
}

}  // namespace loupe
