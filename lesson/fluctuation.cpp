#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/fluctuation.h>
#include <loupe/lesson/nets.h>

#include <cmath>
#include <set>

namespace loupe::lesson {
namespace {

Tensor where_true(const Tensor& bits) {
  std::vector<int64_t> index;
  const auto on = bits.to(DType::i64).to_vector<int64_t>();
  for (size_t i = 0; i < on.size(); ++i)
    if (on[i]) index.push_back(static_cast<int64_t>(i));
  return from_data(index);
}

Tensor stacked(const std::vector<Tensor>& rows) {
  std::vector<Tensor> up;
  for (const Tensor& t : rows) up.push_back(t.unsqueeze(0));
  return cat(up);
}

}  // namespace

namespace {

// The layers to watch: BatchNorm wherever it is, and one's own norm where the lesson put it.
std::vector<Module*> norms_of(Module& model, Fluctuation::Of which) {
  std::set<Module*> seen;
  std::vector<Module*> all;
  const auto take = [&](Module* m, bool image) {
    if (which == Fluctuation::Of::convolutions && !image) return;
    if (seen.insert(m).second) all.push_back(m);
  };
  for (auto& [path, m] : named_modules(model)) {
    const std::string type = m->type_name();
    const auto* layer = dynamic_cast<const NormLayer*>(m);
    if (type == "BatchNorm1d" || type == "BatchNorm2d") take(m, type == "BatchNorm2d");
    else if (layer && layer->get() && layer->get()->type_name() != "LayerNorm")
      take(layer->get(), layer->place() == Place::image);
  }
  return all;
}

}  // namespace

Fluctuation::Fluctuation(Module& model, Of which) {
  for (Module* m : norms_of(model, which)) {
    watched_.push_back(m);
    means_.emplace_back(), variances_.emplace_back();
    m->add_forward_hook([this, layer = watched_.size() - 1](Module&, const Tensor& x,
                                                            const Tensor&) { see(layer, x); });
  }
}

Fluctuation::~Fluctuation() {
  for (Module* m : watched_) m->clear_forward_hooks();
}

void Fluctuation::see(size_t layer, const Tensor& x) {
  NoGrad guard;
  Tensor rows = x.dim() == 4 ? x.permute({0, 2, 3, 1}).reshape({-1, x.size(1)}) : x;
  if (keep.defined()) rows = index_select(rows, 0, where_true(keep));
  rows = rows.to(DType::f64);
  means_[layer].push_back(mean(rows, {0}));
  variances_[layer].push_back(var(rows, {0}, 0));
  values_ += static_cast<double>(rows.size(0));
}

void Fluctuation::write(Record& r, const std::string& suffix) const {
  if (watched_.empty() || means_[0].size() < 2) return;
  double of_mean = 0, of_variance = 0;
  for (size_t i = 0; i < watched_.size(); ++i) {
    const Tensor m = stacked(means_[i]), v = stacked(variances_[i]);  // (batches, channels)
    of_mean += std::sqrt(mean(var(m, {0}) / mean(v, {0})).item());
    of_variance += mean(std(v, {0}) / mean(v, {0})).item();
  }
  const auto n = static_cast<double>(watched_.size());
  r.metrics["fluctuation_mean" + suffix] = of_mean / n;
  r.metrics["fluctuation_variance" + suffix] = of_variance / n;
  r.metrics["values" + suffix] = values_ / n / static_cast<double>(means_[0].size());
}

}  // namespace loupe::lesson
