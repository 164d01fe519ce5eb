// Copies between layouts and element types, and fills.
#include <loupe/core/elementwise.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/number.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cstring>

namespace loupe::raw {
namespace {

constexpr int64_t kTile = 16;

// dst and src disagree about the fastest dimension (a transposition at heart): copied in tiles, so
// that the lines of both stay in cache. Dimension `fast` of the plan is src's fastest; dimension 0
// is dst's.
template <class T> void copy_tiled(const Plan& plan, int fast, T* dst, const T* src) {
  const int64_t n0 = plan.size[0], n1 = plan.size[fast];
  const int64_t d0 = plan.stride[0][0], s0 = plan.stride[1][0], d1 = plan.stride[0][fast],
                s1 = plan.stride[1][fast];
  int64_t outer = 1;
  for (int d = 1; d < plan.rank; ++d)
    if (d != fast) outer *= plan.size[d];
  const int64_t bands = (n1 + kTile - 1) / kTile,
                grain = std::max<int64_t>(1, kElementGrain / std::max<int64_t>(n0 * kTile, 1));
  parallel_ranges(outer * bands, grain, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      int64_t rest = at / bands, od = 0, os = 0;
      for (int d = 1; d < plan.rank; ++d) {
        if (d == fast) continue;
        const int64_t i = rest % plan.size[d];
        rest /= plan.size[d];
        od += i * plan.stride[0][d];
        os += i * plan.stride[1][d];
      }
      const int64_t j0 = at % bands * kTile, j1 = std::min(j0 + kTile, n1);
      if constexpr (std::is_same_v<T, float>)  // through registers, where a block fills them
        if (d0 == 1 && n0 >= 8 && j1 - j0 >= 8) {
          kernels::micro().transpose({.m = j1 - j0,
                                      .n = n0,
                                      .t = src + os + j0,
                                      .t_row = s0,
                                      .c = dst + od + j0 * d1,
                                      .c_row = d1});
          continue;
        }
      for (int64_t i0 = 0; i0 < n0; i0 += kTile) {
        const int64_t i1 = std::min(i0 + kTile, n0);
        for (int64_t j = j0; j < j1; ++j)
          for (int64_t i = i0; i < i1; ++i) dst[od + j * d1 + i * d0] = src[os + j * s1 + i * s0];
      }
    }
  });
}

template <class T> void copy_same(const Tensor& src, const Tensor& dst) {
  const Plan plan = make_plan({&dst, &src});
  T* const p = dst.ptr<T>();
  const T* const q = src.ptr<T>();
  for (int d = 1; d < plan.rank; ++d)
    if (plan.stride[1][d] == 1 && plan.stride[1][0] > 1 && plan.size[0] >= 2 && plan.size[d] >= 4)
      return copy_tiled(plan, d, p, q);
  const int64_t sp = plan.stride[0][0], sq = plan.stride[1][0];
  for_rows(plan, [=](const int64_t* at, int64_t n) {
    if (sp == 1 && sq == 1) std::memmove(p + at[0], q + at[1], static_cast<size_t>(n) * sizeof(T));
    else
      for (int64_t i = 0; i < n; ++i) p[at[0] + i * sp] = q[at[1] + i * sq];
  });
}

// Into an integer type that cannot hold every value.
template <class D, class S>
void copy_checked(const Tensor& src, const Tensor& dst, const char* op) {
  const Plan plan = make_plan({&dst, &src});
  D* const p = dst.ptr<D>();
  const S* const q = src.ptr<S>();
  const int64_t sp = plan.stride[0][0], sq = plan.stride[1][0];
  for_rows(plan, [=](const int64_t* at, int64_t n) {
    for (int64_t i = 0; i < n; ++i) p[at[0] + i * sp] = checked_number<D>(q[at[1] + i * sq], op);
  });
}

}  // namespace

void copy(const Tensor& src, const Tensor& dst, const char* op) {
  if (broadcast_shapes(dst.shape(), src.shape(), op) != dst.shape())
    fail<ShapeError>("{}: shape {} does not broadcast to {}", op, src.shape(), dst.shape());
  dispatch(dst.dtype(), [&]<class D>(Type<D>) {
    dispatch(src.dtype(), [&]<class S>(Type<S>) {
      constexpr bool narrower = std::is_integral_v<D> && !std::is_same_v<D, bool> &&
                                (std::is_floating_point_v<S> || sizeof(D) < sizeof(S));
      if constexpr (std::is_same_v<D, S>) copy_same<D>(src, dst);
      else if constexpr (narrower) copy_checked<D, S>(src, dst, op);
      else map1<D, S>(dst, src, [](S x) { return static_cast<D>(x); });
    });
  });
}

void fill(const Tensor& t, Number value) {
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    const T v = checked_number<T>(value, "fill");
    // Nothing is read: the memory may be uninitialised.
    T* const p = t.ptr<T>();
    const Plan plan = make_plan({&t});
    const int64_t step = plan.stride[0][0];
    for_rows(plan, [=](const int64_t* at, int64_t n) {
      T* const q = p + at[0];
      if (step == 1) std::fill_n(q, n, v);
      else
        for (int64_t i = 0; i < n; ++i) q[i * step] = v;
    });
  });
}

}  // namespace loupe::raw
