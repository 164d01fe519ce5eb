#include "exercise.h"

Tensor mine::extend(const Tensor& q, const Tensor& k, const Tensor& v, Cache& cache) {
  // >>> your part
  const int64_t t = q.size(1), before = cache.length, all = before + t;
  cache.keys.slice(1, before, all).copy_(k);
  cache.values.slice(1, before, all).copy_(v);
  cache.length = all;
  const Tensor keys = cache.keys.slice(1, 0, all), values = cache.values.slice(1, 0, all);
  const Tensor scores = matmul(q, keys.t()) / std::sqrt(static_cast<double>(q.size(2)));
  const Tensor future = triu(ones({t, all}), before + 1).to(DType::boolean);
  return matmul(softmax(masked_fill(scores, future, -INFINITY)), values);
  // <<<
}
