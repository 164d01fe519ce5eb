#include <loupe/core/elementwise.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::raw {

Plan make_plan(std::initializer_list<const Tensor*> list) {
  const Tensor* const* operand = list.begin();
  const int operands = static_cast<int>(list.size());
  const Shape& shape = operand[0]->shape();
  Plan plan;
  plan.operands = operands;
  bool same = is_row_major(*operand[0]);
  for (int n = 1; same && n < operands; ++n)
    same = operand[n]->shape() == shape && operand[n]->strides() == operand[0]->strides();
  if (same) {  // the common case: one run
    plan.rank = 1;
    plan.size[0] = shape.numel();
    for (int n = 0; n < operands; ++n) plan.stride[n][0] = 1;
    return plan;
  }
  int order[kMaxRank], kept = 0;
  for (int i = shape.rank() - 1; i >= 0; --i)
    if (shape[i] != 1) order[kept++] = i;
  const Strides& lead = operand[0]->strides();
  std::stable_sort(order, order + kept, [&](int a, int b) { return lead[a] < lead[b]; });
  for (int k = 0; k < kept; ++k) {
    int64_t stride[kMaxOperands];
    for (int n = 0; n < operands; ++n) {
      const int axis = order[k] - (shape.rank() - operand[n]->dim());
      stride[n] = axis < 0 || operand[n]->shape()[axis] == 1 ? 0 : operand[n]->strides()[axis];
    }
    const int last = plan.rank - 1;
    bool merge = last >= 0;
    for (int n = 0; merge && n < operands; ++n)
      merge = stride[n] == plan.stride[n][last] * plan.size[last];
    if (merge) {
      plan.size[last] *= shape[order[k]];
      continue;
    }
    plan.size[plan.rank] = shape[order[k]];
    for (int n = 0; n < operands; ++n) plan.stride[n][plan.rank] = stride[n];
    ++plan.rank;
  }
  if (plan.rank == 0) {
    plan.rank = 1;
    plan.size[0] = shape.numel();  // 1, or 0 where some size is 0
  }
  return plan;
}

void detail::run_rows(const Plan& plan, void (*row)(const void*, const int64_t*, int64_t),
                      const void* context) {
  const int64_t inner = plan.size[0];
  int64_t outer = 1;
  for (int d = 1; d < plan.rank; ++d) outer *= plan.size[d];
  if (inner == 0 || outer == 0) return;
  const int64_t cuts = (inner + kElementGrain - 1) / kElementGrain;  // of one row
  const int64_t cut = cuts == 1 ? inner : kElementGrain;
  const int64_t grain = std::max<int64_t>(1, kElementGrain / cut);  // rows of one piece
  parallel_ranges(outer * cuts, grain, [&](int64_t begin, int64_t end) {
    // The odometer starts at row `begin / cuts` and steps from there.
    int64_t index[kMaxRank] = {}, offset[kMaxOperands] = {};
    int64_t rest = begin / cuts;
    for (int d = 1; d < plan.rank; ++d) {
      index[d] = rest % plan.size[d];
      rest /= plan.size[d];
      for (int n = 0; n < plan.operands; ++n) offset[n] += index[d] * plan.stride[n][d];
    }
    for (int64_t at = begin; at < end; ++at) {
      const int64_t first = at % cuts * cut;
      int64_t start[kMaxOperands];
      for (int n = 0; n < plan.operands; ++n) start[n] = offset[n] + first * plan.stride[n][0];
      row(context, start, std::min(cut, inner - first));
      if (at % cuts != cuts - 1) continue;
      for (int d = 1; d < plan.rank; ++d) {
        for (int n = 0; n < plan.operands; ++n) offset[n] += plan.stride[n][d];
        if (++index[d] < plan.size[d]) break;
        for (int n = 0; n < plan.operands; ++n) offset[n] -= plan.size[d] * plan.stride[n][d];
        index[d] = 0;
      }
    }
  });
}

void check_same_dtype(const Tensor& a, const Tensor& b, const char* op) {
  if (a.dtype() != b.dtype())
    fail<DtypeError>("{}: element types differ: {} and {}; convert one with to(...)", op, a.dtype(),
                     b.dtype());
}

Tensor elementwise_result(const Shape& shape, DType dtype,
                          std::initializer_list<const Tensor*> operands) {
  for (const Tensor* t : operands)
    if (t->shape() == shape && is_dense(*t)) return empty_like(*t, dtype);
  return empty(shape, dtype);
}

}  // namespace loupe::raw
