#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/trace.h>
#include <loupe/layers/check.h>
#include <loupe/layers/state.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <ostream>
#include <set>

namespace loupe {

namespace {

using Kind = ModelCheck::Kind;

// A model's buffers and streams, put back at the end: a pass in train mode moves them.
class Restore : Pinned {
 public:
  explicit Restore(Module& m) {
    for (const Named& n : named_buffers(m)) buffers_.emplace_back(n.tensor, raw::clone(n.tensor));
    for (const auto& [name, rng] : named_streams(m)) streams_.emplace_back(rng, rng->state());
  }
  ~Restore() {
    NoGrad guard;
    for (const auto& [tensor, before] : buffers_) tensor.copy_(before);
    for (const auto& [rng, before] : streams_) rng->set_state(before);
  }

 private:
  std::vector<std::pair<Tensor, Tensor>> buffers_;
  std::vector<std::pair<Rng*, Rng::State>> streams_;
};

double largest_magnitude(const Tensor& t) {
  double largest = 0;
  for (const double x : t.to_vector<double>()) {
    if (std::isnan(x)) return x;
    largest = std::max(largest, std::abs(x));
  }
  return largest;
}

double share_of_zeros(const Tensor& t) {
  const std::vector<double> values = t.to_vector<double>();
  return static_cast<double>(std::count(values.begin(), values.end(), 0.0)) /
         static_cast<double>(std::max<size_t>(values.size(), 1));
}

bool all_zero(const Tensor& t) { return t.numel() > 0 && largest_magnitude(t) == 0; }

std::string where(const Node& node) {
  return fmt::format("{} ({})", node.name(), to_string(node.site()));
}

std::string place_of(const std::string& path) { return path.empty() ? "(model)" : path; }

// One check at work: the trace of a pass, and what it says about the model.
class ModelChecker {
 public:
  ModelChecker(Module& m, const ModelCheck::Options& options) : model_(m), options_(options) {}

  ModelCheck run(const std::function<Tensor()>& forward, const Tensor& input) {
    const Restore restore(model_);
    const GradMode recording(true);
    input_ = input;
    std::vector<std::pair<std::string, std::string>> strangers;
    Tensor loss;
    {
      const detail::StrangerScope scope(model_, strangers);
      const Trace trace;
      loss = forward();
      ops_ = trace.ops();
    }
    if (!loss.defined() || loss.numel() != 1)
      fail<GradError>("check_model: the loss must be one number, got {}",
                      loss.defined() ? to_string(loss.shape()) : "an undefined tensor");
    unlisted_parameters();
    for (const auto& [type, path] : strangers)
      find(Kind::unlisted_module, type,
           fmt::format("was called in {} and is in no visit(): its parameters are not trained, "
                       "saved or loaded",
                       place_of(path)));
    parameters(loss);
    tied();
    activations();
    return std::move(result_);
  }

 private:
  void find(Kind kind, const std::string& name, std::string detail) {
    result_.findings.push_back({kind, name, std::move(detail)});
  }

  // The first op that reads a tensor.
  const Trace::Op* reader(const Tensor& t) const {
    for (const Trace::Op& op : ops_)
      for (const Tensor& x : op.inputs)
        if (x.defined() && x.is_same(t)) return &op;
    return nullptr;
  }

  void unlisted_parameters() {
    Tensors known{input_};
    for (const Named& n : state_dict(model_)) known.push_back(n.tensor);
    for (const Trace::Op& op : ops_)
      for (const Tensor& x : op.inputs) {
        if (!x.defined() || !x.requires_grad() || !x.is_leaf()) continue;
        if (std::any_of(known.begin(), known.end(),
                        [&](const Tensor& k) { return k.defined() && k.is_same(x); }))
          continue;
        known.push_back(x);
        find(Kind::unlisted_parameter, place_of(op.node->module_path()),
             fmt::format("a {} tensor {} with requires_grad_(), read by {}, is in no visit(): list "
                         "it, or it is not trained, saved or loaded",
                         x.dtype(), x.shape(), where(*op.node)));
      }
  }

  void parameters(const Tensor& loss) {
    const StateDict named = named_parameters(model_);
    Tensors wanted;
    for (const Named& n : named)
      if (n.tensor.requires_grad()) wanted.push_back(n.tensor);
    Tensors gradients(wanted.size());
    if (loss.requires_grad() && !wanted.empty())
      gradients = grad({loss}, wanted, {.allow_unused = true});
    size_t next = 0;
    for (const Named& n : named) {
      const Trace::Op* const read = reader(n.tensor);
      ModelCheck::Parameter p{.name = n.name, .shape = n.tensor.shape()};
      p.requires_grad = n.tensor.requires_grad();
      p.used = read != nullptr;
      const Tensor gradient = p.requires_grad ? gradients[next++] : Tensor();
      p.has_gradient = gradient.defined();
      if (p.has_gradient) p.largest_gradient = largest_magnitude(gradient);
      judge(p, read);
      result_.parameters.push_back(p);
    }
  }

  void judge(const ModelCheck::Parameter& p, const Trace::Op* read) {
    if (!p.requires_grad)
      find(Kind::no_requires_grad, p.name,
           "is listed without requires_grad_(): it is not trained. Frozen on purpose? A constant "
           "belongs in buffers()");
    if (!p.used) {
      find(Kind::unused, p.name, "no op read it in this pass");
    } else if (p.requires_grad && !p.has_gradient) {
      find(Kind::no_gradient, p.name,
           fmt::format("{} reads it, but the loss does not depend on it: detach(), NoGrad, or a "
                       "result that is not used",
                       where(*read->node)));
    } else if (p.has_gradient && !std::isfinite(p.largest_gradient)) {
      find(Kind::bad_gradient, p.name, "its gradient has a NaN or Inf");
    } else if (p.has_gradient && p.largest_gradient == 0 && p.shape.numel() > 0) {
      find(Kind::zero_gradient, p.name,
           fmt::format("every element of its gradient is 0; it is read by {}", where(*read->node)));
    }
  }

  void tied() {
    const StateDict all = state_dict(model_);
    for (size_t i = 0; i < all.size(); ++i) {
      std::string others;
      bool first = true;
      for (size_t j = 0; j < all.size(); ++j) {
        if (i == j || !all[i].tensor.is_same(all[j].tensor)) continue;
        first = first && i < j;
        others += (others.empty() ? "" : ", ") + all[j].name;
      }
      if (first && !others.empty())
        find(Kind::tied, all[i].name, "is the same tensor as " + others);
    }
  }

  void activations() {
    std::set<std::string> exploded;  // one finding a module: the first op says where it began
    for (const Trace::Op& op : ops_)
      for (const Tensor& y : op.outputs) {
        if (!y.defined() || !is_floating(y.dtype())) continue;
        const std::string& path = op.node->module_path();
        ModelCheck::Activation a{path, op.node->name(), to_string(op.node->site()), y.shape()};
        a.largest = largest_magnitude(y);
        a.zeros = share_of_zeros(y);
        result_.activations.push_back(a);
        const bool nonfinite = !std::isfinite(a.largest);
        if ((nonfinite || a.largest > options_.huge) && exploded.insert(path).second)
          find(Kind::exploding, place_of(path),
               nonfinite
                   ? fmt::format("the output of {} has a NaN or Inf", where(*op.node))
                   : fmt::format("the output of {} goes up to {:.3g}", where(*op.node), a.largest));
        if (a.zeros == 1 && y.numel() > 0 && !all_zero(op.inputs[0]))
          find(Kind::dead, place_of(path),
               fmt::format("the output of {}, shape {}, is 0 everywhere", where(*op.node),
                           y.shape()));
      }
  }

  Module& model_;
  ModelCheck::Options options_;
  Tensor input_;
  std::vector<Trace::Op> ops_;
  ModelCheck result_;
};

// Words of `text` in lines of at most `width`; a longer word is cut.
std::vector<std::string> wrapped(std::string text, size_t width) {
  std::vector<std::string> lines;
  while (text.size() > width) {
    size_t at = text.rfind(' ', width);
    const bool cut = at == std::string::npos || at == 0;
    if (cut) at = width;
    lines.push_back(text.substr(0, at));
    text.erase(0, cut ? at : at + 1);
  }
  lines.push_back(text);
  return lines;
}

}  // namespace

bool ModelCheck::ok() const {
  return std::all_of(findings.begin(), findings.end(),
                     [](const Finding& f) { return f.kind == Kind::tied; });
}

bool ModelCheck::found(Kind kind, const std::string& name) const {
  return std::any_of(findings.begin(), findings.end(), [&](const Finding& f) {
    return f.kind == kind && (name.empty() || f.name == name);
  });
}

const char* name(ModelCheck::Kind kind) {
  switch (kind) {
    case Kind::unlisted_parameter: return "unlisted parameter";
    case Kind::unlisted_module: return "unlisted module";
    case Kind::no_requires_grad: return "no requires_grad";
    case Kind::unused: return "unused";
    case Kind::no_gradient: return "no gradient";
    case Kind::zero_gradient: return "zero gradient";
    case Kind::bad_gradient: return "NaN gradient";
    case Kind::tied: return "tied";
    case Kind::dead: return "dead";
    case Kind::exploding: break;
  }
  return "exploding";
}

std::string to_string(const ModelCheck& check) {
  constexpr size_t kColumns = 80, kKind = 18, kMostName = 22;
  size_t width = 5;
  for (const auto& f : check.findings) width = std::max(width, std::min(f.name.size(), kMostName));
  const size_t rest = kColumns - kKind - width - 4;
  std::string out = fmt::format("{:<{}}  {:<{}}  {}\n", "finding", kKind, "where", width, "what");
  for (const auto& f : check.findings) {
    const std::vector<std::string> names = wrapped(f.name, width), lines = wrapped(f.detail, rest);
    for (size_t i = 0; i < std::max(names.size(), lines.size()); ++i) {
      const std::string row =
          fmt::format("{:<{}}  {:<{}}  {}", i == 0 ? name(f.kind) : "", kKind,
                      i < names.size() ? names[i] : "", width, i < lines.size() ? lines[i] : "");
      out += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
    }
  }
  return out + fmt::format("{} parameters, {} ops: {}\n", check.parameters.size(),
                           check.activations.size(),
                           check.ok() ? "nothing wrong was found"
                                      : fmt::format("{} findings", check.findings.size()));
}

ModelCheck check_model(Module& model, In input,
                       const std::function<Tensor(const Tensor& output)>& loss,
                       ModelCheck::Options options) {
  const auto run = [&] {
    const Tensor y = model.call(input);
    if (loss) return loss(y);
    Rng rng(1);
    return sum(y * randn(rng, y.shape(), y.dtype()));
  };
  return ModelChecker(model, options).run(run, input);
}

ModelCheck check_model(Module& model, const std::function<Tensor()>& run,
                       ModelCheck::Options options) {
  if (!run) fail<ValueError>("check_model: the function is empty");
  return ModelChecker(model, options).run(run, Tensor());
}

std::ostream& operator<<(std::ostream& out, const ModelCheck& check) {
  return out << to_string(check);
}

}  // namespace loupe
