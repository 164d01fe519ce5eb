#pragma once
// The loops of elementwise operations: a plan merges dimensions, an inner loop is vectorised for unit and zero strides.
// For the sources under core/ and autograd/ops that define such operations; users never see it.
#include <loupe/core/cpu.h>
#include <loupe/core/raw.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::raw {

/// How N operands of one (broadcast) shape are walked: dimension 0 is the innermost. Dimensions of size 1 are dropped,
/// the others sorted by operand 0's strides, and neighbours merged where all operands allow it.
template <int N> struct Plan {
  int rank = 0;
  int64_t size[kMaxRank] = {};
  int64_t stride[N][kMaxRank] = {};
};

/// operand[0] has the full shape; the others broadcast to it.
template <int N> Plan<N> make_plan(const Tensor* const (&operand)[N]) {
  const Shape& shape = operand[0]->shape();
  bool same = is_row_major(*operand[0]);
  for (int n = 1; same && n < N; ++n) same = operand[n]->shape() == shape && operand[n]->strides() == operand[0]->strides();
  if (same) {  // the common case: one run
    Plan<N> run;
    run.rank = 1;
    run.size[0] = shape.numel();
    for (int n = 0; n < N; ++n) run.stride[n][0] = 1;
    return run;
  }
  int order[kMaxRank], kept = 0;
  for (int i = shape.rank() - 1; i >= 0; --i)
    if (shape[i] != 1) order[kept++] = i;
  const Strides& lead = operand[0]->strides();
  std::stable_sort(order, order + kept, [&](int a, int b) { return lead[a] < lead[b]; });
  Plan<N> plan;
  for (int k = 0; k < kept; ++k) {
    int64_t stride[N];
    for (int n = 0; n < N; ++n) {
      const int axis = order[k] - (shape.rank() - operand[n]->dim());
      stride[n] = axis < 0 || operand[n]->shape()[axis] == 1 ? 0 : operand[n]->strides()[axis];
    }
    const int last = plan.rank - 1;
    bool merge = last >= 0;
    for (int n = 0; merge && n < N; ++n) merge = stride[n] == plan.stride[n][last] * plan.size[last];
    if (merge) {
      plan.size[last] *= shape[order[k]];
      continue;
    }
    plan.size[plan.rank] = shape[order[k]];
    for (int n = 0; n < N; ++n) plan.stride[n][plan.rank] = stride[n];
    ++plan.rank;
  }
  if (plan.rank == 0) {
    plan.rank = 1;
    plan.size[0] = shape.numel();  // 1, or 0 where some size is 0
  }
  return plan;
}

inline constexpr int64_t kElementGrain = 16384;  // elements of one piece

/// Calls row(offsets, n) for runs of up to kElementGrain elements along the innermost dimension; in pieces, on threads.
template <int N, class Row> void for_rows(const Plan<N>& plan, const Row& row) {
  const int64_t inner = plan.size[0];
  int64_t outer = 1;
  for (int d = 1; d < plan.rank; ++d) outer *= plan.size[d];
  if (inner == 0 || outer == 0) return;
  const int64_t cuts = (inner + kElementGrain - 1) / kElementGrain;  // of one row
  const int64_t cut = cuts == 1 ? inner : kElementGrain;
  const int64_t grain = std::max<int64_t>(1, kElementGrain / cut);    // rows of one piece
  parallel_ranges(outer * cuts, grain, [&](int64_t begin, int64_t end) {
    // The odometer starts at row `begin / cuts` and steps from there.
    int64_t index[kMaxRank] = {}, offset[N] = {};
    int64_t rest = begin / cuts;
    for (int d = 1; d < plan.rank; ++d) {
      index[d] = rest % plan.size[d];
      rest /= plan.size[d];
      for (int n = 0; n < N; ++n) offset[n] += index[d] * plan.stride[n][d];
    }
    for (int64_t at = begin; at < end; ++at) {
      const int64_t first = at % cuts * cut;
      int64_t start[N];
      for (int n = 0; n < N; ++n) start[n] = offset[n] + first * plan.stride[n][0];
      row(start, std::min(cut, inner - first));
      if (at % cuts != cuts - 1) continue;
      for (int d = 1; d < plan.rank; ++d) {
        for (int n = 0; n < N; ++n) offset[n] += plan.stride[n][d];
        if (++index[d] < plan.size[d]) break;
        for (int n = 0; n < N; ++n) offset[n] -= plan.size[d] * plan.stride[n][d];
        index[d] = 0;
      }
    }
  });
}

/// out[i] = f(a[i]).
template <class R, class A, class F> void map1(const Tensor& out, const Tensor& a, F f) {
  const auto plan = make_plan<2>({&out, &a});
  R* const r = out.ptr<R>();
  const A* const x = a.ptr<A>();
  const int64_t sr = plan.stride[0][0], sa = plan.stride[1][0];
  for_rows(plan, [=](const int64_t* at, int64_t n) {
    R* const p = r + at[0];
    const A* const q = x + at[1];
    simd([=] {
      if (sr == 1 && sa == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] = f(q[i]);
      } else if (sr == 1 && sa == 0) {
        const R value = f(q[0]);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] = value;
      } else {
        for (int64_t i = 0; i < n; ++i) p[i * sr] = f(q[i * sa]);
      }
    });
  });
}

/// out[i] = f(a[i], b[i]).
template <class R, class A, class B, class F> void map2(const Tensor& out, const Tensor& a, const Tensor& b, F f) {
  const auto plan = make_plan<3>({&out, &a, &b});
  R* const r = out.ptr<R>();
  const A* const x = a.ptr<A>();
  const B* const y = b.ptr<B>();
  const int64_t sr = plan.stride[0][0], sa = plan.stride[1][0], sb = plan.stride[2][0];
  for_rows(plan, [=](const int64_t* at, int64_t n) {
    R* const p = r + at[0];
    const A* const q = x + at[1];
    const B* const s = y + at[2];
    simd([=] {
      if (sr == 1 && sa == 1 && sb == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] = f(q[i], s[i]);
      } else if (sr == 1 && sa == 1 && sb == 0) {
        const B value = s[0];
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] = f(q[i], value);
      } else if (sr == 1 && sa == 0 && sb == 1) {
        const A value = q[0];
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] = f(value, s[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) p[i * sr] = f(q[i * sa], s[i * sb]);
      }
    });
  });
}

/// out[i] = f(a[i], b[i], c[i]).
template <class R, class A, class B, class C, class F>
void map3(const Tensor& out, const Tensor& a, const Tensor& b, const Tensor& c, F f) {
  const auto plan = make_plan<4>({&out, &a, &b, &c});
  R* const r = out.ptr<R>();
  const A* const x = a.ptr<A>();
  const B* const y = b.ptr<B>();
  const C* const z = c.ptr<C>();
  const int64_t sr = plan.stride[0][0], sa = plan.stride[1][0], sb = plan.stride[2][0], sc = plan.stride[3][0];
  for_rows(plan, [=](const int64_t* at, int64_t n) {
    R* const p = r + at[0];
    const A* const q = x + at[1];
    const B* const s = y + at[2];
    const C* const u = z + at[3];
    simd([=] {
      if (sr == 1 && sa == 1 && sb == 1 && sc == 1) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] = f(q[i], s[i], u[i]);
      } else {
        for (int64_t i = 0; i < n; ++i) p[i * sr] = f(q[i * sa], s[i * sb], u[i * sc]);
      }
    });
  });
}

/// The result of an elementwise op: the broadcast shape, with the strides of the first dense operand that has it.
inline Tensor elementwise_result(const Shape& shape, DType dtype, std::initializer_list<const Tensor*> operands) {
  for (const Tensor* t : operands)
    if (t->shape() == shape && is_dense(*t)) return empty_like(*t, dtype);
  return empty(shape, dtype);
}

}  // namespace loupe::raw
