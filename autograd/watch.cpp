#include <loupe/autograd/watch.h>
#include <loupe/core/kernel_log.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe {
namespace {

// The watches of a thread, and where the time of the next op begins at the earliest.
struct Watches final : StretchListener {
  std::vector<Watch*> all;
  double last_end = 0;
  double last_helped = 0;  // detail::helped_seconds() then

  void stretch(const char* name, double begin, double end) override {
    last_end = end;
    last_helped = detail::helped_seconds();
    clear_kernel_log();
    for (Watch* watch : all) watch->stretch(name, {begin, end});
  }
};
thread_local Watches t_watches;

// The calling thread is busy all the time; `helped` are the seconds of the others.
double threads_busy(double helped, Span time) {
  return time.seconds() > 0 ? std::max(0.0, 1 + helped / time.seconds()) : 1;
}

}  // namespace

Watch::Watch() {
  if (t_watches.all.empty()) clear_kernel_log();
  t_watches.all.push_back(this);
  t_watches.last_end = clock_seconds();
  t_watches.last_helped = detail::helped_seconds();
  detail::set_stretch_listener(&t_watches);
}

Watch::~Watch() {
  std::erase(t_watches.all, this);
  if (t_watches.all.empty()) detail::set_stretch_listener(nullptr);
}

void detail::WatchedOp::take_time() {
  end_ = clock_seconds();
  helped_ = helped_seconds() - t_watches.last_helped;
  kernel_ = last_kernel();
}

void detail::WatchedOp::tell() const {
  const Span time{std::max(t_watches.last_end, entered_at()), end_};
  const OpRun run{node_, inputs_, outputs_, kernel_, time, threads_busy(helped_, time)};
  for (Watch* watch : t_watches.all) watch->forward(run);
  clear_kernel_log();
  t_watches.last_end = clock_seconds();  // what the watches took is nobody's
  t_watches.last_helped = helped_seconds();
}

void detail::WatchedRule::begin(const Node& node) {
  for (Watch* watch : t_watches.all) watch->rule_begins(node);
  t_place.watched = false;
  clear_kernel_log();
  helped_ = helped_seconds();
  begin_ = clock_seconds();
}

void detail::WatchedRule::end() { t_place.watched = !t_watches.all.empty(); }

void detail::WatchedRule::tell(const Node& node, const Tensors& dy, const Tensors& dx) const {
  const Span time{begin_, clock_seconds()};
  const double threads = threads_busy(helped_seconds() - helped_, time);
  const RuleRun run{node, dy, dx, last_kernel(), time, threads};
  for (Watch* watch : t_watches.all) watch->backward(run);
  t_watches.last_end = clock_seconds();
  t_watches.last_helped = helped_seconds();
}

void detail::watch_shadowed(const Node& node, bool backward, double error) {
  for (Watch* watch : t_watches.all) watch->shadowed(node, backward, error);
}

void detail::watch_trained(const Named& parameter, std::span<const Tensor> state) {
  for (Watch* watch : t_watches.all) watch->trained(parameter, state);
}

detail::WatchPause::WatchPause() : listener_(stretch_listener()), watched_(t_place.watched) {
  set_stretch_listener(nullptr);
}

detail::WatchPause::~WatchPause() {
  set_stretch_listener(listener_);
  t_place.watched = watched_;
}

}  // namespace loupe
