#pragma once
// What the tests that run under mpirun share. Every rank runs every case, in the same order.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/core/raw.h>
#include <loupe/distributed/communicator.h>

#include "catch.h"
#include "worst.h"

#include <cmath>
#include <numeric>

namespace ranks {

using namespace loupe;

/// A rank that fails leaves the others waiting: not for long.
inline CommunicatorOptions options() { return {.timeout = 20}; }

/// Sizes of the ranks' shares of n samples: a case of each kind.
inline std::vector<std::vector<int64_t>> splits(int ranks, int64_t n) {
  std::vector<std::vector<int64_t>> all;
  const size_t r = static_cast<size_t>(ranks);
  std::vector<int64_t> even(r), first(r, 1), last(r, 0), middle(r, 0);
  for (size_t i = 0; i < r; ++i) even[i] = Share{static_cast<int64_t>(i), ranks}.of(n).size();
  all.push_back(even);
  first.back() = n - ranks + 1;  // 1 + 7
  all.push_back(first);
  last.back() = n;  // empty shares, then everything
  all.push_back(last);
  middle[r / 2] = n;
  all.push_back(middle);
  if (ranks == 2) all.push_back({3, n - 3});
  return all;
}

/// This rank's rows of t.
inline Tensor rows(const Tensor& t, const std::vector<int64_t>& sizes, int rank) {
  const auto end = sizes.begin() + rank;
  const int64_t first = std::accumulate(sizes.begin(), end, int64_t{0});
  return raw::row_major(raw::slice(t, 0, first, first + *end, 1));
}

/// The largest |a - b|, relative to the largest |b|; 0 for nothing.
inline double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.defined());
  REQUIRE(b.defined());
  REQUIRE(a.shape() == b.shape());
  double worst = 0, scale = 1e-30;
  const Tensor x = raw::row_major(raw::to(a, DType::f64)),
               y = raw::row_major(raw::to(b, DType::f64));
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double got = x.ptr<double>()[i], want = y.ptr<double>()[i];
    worst = worst_of(worst, std::fabs(got - want));
    scale = std::max(scale, std::fabs(want));
  }
  return worst / scale;
}

}  // namespace ranks
