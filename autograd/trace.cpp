#include <loupe/autograd/trace.h>

namespace loupe {
namespace {

thread_local Trace* t_trace = nullptr;

}  // namespace

struct TraceAccess {
  static void add(Trace& trace, Trace::Op op) { trace.ops_.push_back(std::move(op)); }
};

Trace::Trace() : before_(t_trace) { t_trace = this; }
Trace::~Trace() { t_trace = before_; }

bool detail::tracing() { return t_trace != nullptr; }

void detail::trace_op(const std::shared_ptr<Node>& node, std::span<const Tensor* const> inputs,
                      std::span<const Tensor> outputs) {
  if (!t_trace) return;
  Trace::Op op{node, {}, {outputs.begin(), outputs.end()}, {}, {}};
  for (const Tensor* t : inputs) {
    op.inputs.push_back(*t);
    op.versions.push_back(t->defined() ? t->storage()->version() : 0);
  }
  for (const Tensor& t : outputs) op.output_versions.push_back(t.storage()->version());
  TraceAccess::add(*t_trace, std::move(op));
}

}  // namespace loupe
