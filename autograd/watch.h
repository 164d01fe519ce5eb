#pragma once
// Watching: an object that hears of every op its thread runs, forward and backward, with the time
// it took. The profile and the pages of view/ are built on it. When nobody watches, an op costs one
// comparison more.
#include <loupe/autograd/graph.h>
#include <loupe/core/memory.h>
#include <loupe/core/named.h>
#include <loupe/core/place.h>
#include <loupe/core/stretch.h>

#include <span>

namespace loupe {

/// Begin and end, as clock_seconds() counts.
struct Span {
  double begin = 0, end = 0;
  double seconds() const { return end - begin; }
};

/// An op that has run.
struct OpRun {
  /// Shapes, source line and module path. The op fills in its name, its options and what it keeps
  /// right afterwards: ask the node for those at the next event.
  const std::shared_ptr<Node>& node;
  std::span<const Tensor* const> inputs;  // an undefined tensor stands for an absent one
  std::span<const Tensor> outputs;
  const char* kernel;  // that ran, where the op has several; else ""
  Span time;
  double threads;  // that were busy, on the average of its time
};

/// A backward rule that has run.
struct RuleRun {
  const Node& node;
  const Tensors& dy;  // of the outputs; undefined where an output was not used
  const Tensors& dx;  // of the inputs; undefined where no gradient is needed
  const char* kernel;
  Span time;
  double threads;
};

/// Hears of the ops of its thread while it lives. Several may live; each hears all. Ops that run
/// inside a backward rule are the rule's own and not told. The functions below must not throw.
///
/// An op's time begins with the call of the library, or with the end of the op before it in the
/// same call. What a forward() of yours does between two ops counts for the second.
class Watch : Pinned {
 public:
  virtual ~Watch();
  /// An op has run.
  virtual void forward(const OpRun& /*run*/) {}
  /// A rule begins. If it throws, backward() is not called for it.
  virtual void rule_begins(const Node& /*node*/) {}
  /// A rule has run; what its op kept is still there.
  virtual void backward(const RuleRun& /*run*/) {}
  /// A ShadowGuard has compared an op, forward or backward, with its f64 twin: the largest
  /// difference of a tensor, divided by its largest element.
  virtual void shadowed(const Node& /*node*/, bool /*backward*/, double /*error*/) {}
  /// A stretch of work that is no op: "backward" (the whole pass), "optimizer step", "load batch".
  virtual void stretch(const char* /*name*/, Span /*time*/) {}
  /// An optimizer's step has trained this parameter; `state` is what it keeps for it (undefined
  /// where it has none). Told before the stretch "optimizer step" ends.
  virtual void trained(const Named& /*parameter*/, std::span<const Tensor> /*state*/) {}

 protected:
  Watch();
};

namespace detail {
/// Somebody hears of the ops that this thread runs now. The rest below runs only then.
inline bool watching() { return t_place.watched; }

// Lives in link() and note() while an op is recorded: takes the time at which the op ended, and
// tells the watches when the record is complete.
class WatchedOp : Pinned {
 public:
  WatchedOp(const std::shared_ptr<Node>& node, std::span<const Tensor* const> inputs,
            std::span<const Tensor> outputs)
      : node_(node), inputs_(inputs), outputs_(outputs), heard_(watching()) {
    if (heard_) [[unlikely]]
      take_time();
  }
  /// It refers to the node until it dies: a temporary pointer does not live that long.
  WatchedOp(std::shared_ptr<Node>&& node, std::span<const Tensor* const> inputs,
            std::span<const Tensor> outputs) = delete;
  ~WatchedOp() {
    if (heard_) [[unlikely]]
      tell();
  }

 private:
  void take_time();
  void tell() const;
  const std::shared_ptr<Node>& node_;
  std::span<const Tensor* const> inputs_;
  std::span<const Tensor> outputs_;
  const bool heard_;
  double end_ = 0, helped_ = 0;
  const char* kernel_ = "";
};

// Around a backward rule, whose own ops are not told.
class WatchedRule : Pinned {
 public:
  explicit WatchedRule(const Node& node) : heard_(watching()) {
    if (heard_) [[unlikely]]
      begin(node);
  }
  ~WatchedRule() {
    if (heard_) [[unlikely]]
      end();
  }
  /// The rule has given its gradients.
  void done(const Node& node, const Tensors& dy, const Tensors& dx) const {
    if (heard_) [[unlikely]]
      tell(node, dy, dx);
  }

 private:
  void begin(const Node& node);
  static void end();
  void tell(const Node& node, const Tensors& dy, const Tensors& dx) const;
  const bool heard_;
  double begin_ = 0, helped_ = 0;
};

// Called by shadow mode.
void watch_shadowed(const Node& node, bool backward, double error);
// Called by optimizers, if watching().
void watch_trained(const Named& parameter, std::span<const Tensor> state);
// What runs while one lives is not told, nor what it allocates: shadow mode's second computation.
class WatchPause : Pinned {
 public:
  WatchPause();
  ~WatchPause();

 private:
  StretchListener* listener_;
  bool watched_;
  UnheardMemory memory_;
};
}  // namespace detail

}  // namespace loupe
