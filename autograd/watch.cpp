#include <loupe/autograd/watch.h>
#include <loupe/core/kernel_log.h>

#include <algorithm>

namespace loupe {
namespace {

// The watches of a thread, and where the time of the next op begins at the earliest.
struct Watches final : StretchListener {
  std::vector<Watch*> all;
  double last_end = 0;
  bool in_rule = false;

  void stretch(const char* name, double begin, double end) override {
    last_end = end;
    clear_kernel_log();
    for (Watch* watch : all) watch->stretch(name, {begin, end});
  }
};
thread_local Watches t_watches;

}  // namespace

Watch::Watch() {
  if (t_watches.all.empty()) clear_kernel_log();
  t_watches.all.push_back(this);
  t_watches.last_end = clock_seconds();
  detail::set_stretch_listener(&t_watches);
}

Watch::~Watch() {
  std::erase(t_watches.all, this);
  if (t_watches.all.empty()) detail::set_stretch_listener(nullptr);
}

bool detail::watching() { return stretch_listener() && !t_watches.in_rule; }

detail::WatchedOp::WatchedOp(const std::shared_ptr<Node>& node,
                             std::span<const Tensor* const> inputs, std::span<const Tensor> outputs)
    : node_(node), inputs_(inputs), outputs_(outputs), heard_(watching()) {
  if (!heard_) return;
  end_ = clock_seconds();
  kernel_ = last_kernel();
}

detail::WatchedOp::~WatchedOp() {
  if (!heard_) return;
  const Span time{std::max(t_watches.last_end, entered_at()), end_};
  for (Watch* watch : t_watches.all) watch->forward({node_, inputs_, outputs_, kernel_, time});
  clear_kernel_log();
  t_watches.last_end = clock_seconds();  // what the watches took is nobody's
}

void detail::watch_shadowed(const Node& node, bool backward, double error) {
  for (Watch* watch : t_watches.all) watch->shadowed(node, backward, error);
}

detail::WatchPause::WatchPause() : before_(stretch_listener()) { set_stretch_listener(nullptr); }
detail::WatchPause::~WatchPause() { set_stretch_listener(before_); }

detail::WatchedRule::WatchedRule(const Node& node) : before_(t_watches.in_rule) {
  if (!stretch_listener()) return;
  if (!before_)
    for (Watch* watch : t_watches.all) watch->rule_begins(node);
  t_watches.in_rule = true;
  clear_kernel_log();
  begin_ = clock_seconds();
}

detail::WatchedRule::~WatchedRule() { t_watches.in_rule = before_; }

void detail::WatchedRule::done(const Node& node, const Tensors& dy, const Tensors& dx) {
  if (!stretch_listener() || before_) return;
  const RuleRun run{node, dy, dx, last_kernel(), {begin_, clock_seconds()}};
  for (Watch* watch : t_watches.all) watch->backward(run);
  t_watches.last_end = clock_seconds();
}

}  // namespace loupe
