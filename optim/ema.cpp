#include <loupe/core/raw.h>
#include <loupe/optim/step.h>

#include <map>

namespace loupe {

EmaWeights::EmaWeights(StateDict params, Options o) : params_(std::move(params)), options_(o) {
  if (!(o.decay >= 0 && o.decay <= 1))
    fail<ValueError>("EmaWeights: decay {} must lie in [0, 1]", o.decay);
  if (params_.empty()) fail<ValueError>("EmaWeights: it got no parameters");
  for (const Named& n : params_) {
    if (!n.tensor.defined()) fail<ValueError>("EmaWeights: parameter {} is undefined", n.name);
    if (!is_floating(n.tensor.dtype()))
      fail<ValueError>("EmaWeights: parameter {} is {}", n.name, n.tensor.dtype());
    averages_.push_back({n.name, raw::clone(n.tensor)});
  }
}

namespace {

// to(model, f64) converts parameters in place: their averages follow.
void follow_types(const StateDict& params, StateDict& averages) {
  for (size_t i = 0; i < params.size(); ++i)
    averages[i].tensor = raw::to(averages[i].tensor, params[i].tensor.dtype());
}

}  // namespace

void EmaWeights::update() {
  follow_types(params_, averages_);
  for (size_t i = 0; i < params_.size(); ++i) {
    const Tensor &p = params_[i].tensor, &average = averages_[i].tensor;
    if (updates_ == 0) {
      raw::copy(p, average);
      continue;
    }
    raw::scale(average, options_.decay);
    raw::add_into(average, p, 1 - options_.decay);
  }
  ++updates_;
}

void EmaWeights::swap() {
  if (updates_ == 0) fail<ValueError>("EmaWeights: swap before the first update: nothing to show");
  follow_types(params_, averages_);
  for (size_t i = 0; i < params_.size(); ++i) {
    const Tensor &p = params_[i].tensor, &average = averages_[i].tensor;
    const Tensor before = raw::clone(p);
    raw::copy(average, p);
    raw::copy(before, average);
    p.storage()->bump_version();
  }
}

StateDict EmaWeights::state_dict() const {
  StateDict out{{"updates", full({}, static_cast<double>(updates_), DType::i64)}};
  for (const Named& n : averages_) out.push_back({"average." + n.name, raw::clone(n.tensor)});
  return out;
}

void EmaWeights::load_state_dict(const StateDict& from) {
  if (from.size() != averages_.size() + 1)
    fail<ValueError>("EmaWeights: a state of {} entries, expected \"updates\" and {} averages",
                     from.size(), averages_.size());
  std::map<std::string, const Named*> by_name;
  for (const Named& n : from) by_name[n.name] = &n;
  const auto entry = [&](const std::string& name) -> const Named& {
    const auto found = by_name.find(name);
    if (found == by_name.end()) fail<ValueError>("EmaWeights: the state has no \"{}\"", name);
    return *found->second;
  };
  const int64_t updates = detail::step_count(entry("updates"));
  for (const Named& want : averages_) {
    const Named& have = entry("average." + want.name);
    if (!have.tensor.defined() || have.tensor.shape() != want.tensor.shape() ||
        have.tensor.dtype() != want.tensor.dtype())
      fail<ValueError>("EmaWeights: \"{}\" does not fit the parameter's {} {}", have.name,
                       want.tensor.dtype(), want.tensor.shape());
  }
  for (const Named& n : averages_) raw::copy(entry("average." + n.name).tensor, n.tensor);
  updates_ = updates;
}

}  // namespace loupe
