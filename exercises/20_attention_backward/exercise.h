#pragma once
// Exercise 20: what you write, and what you may use.
#include <loupe/autograd/ops/softmax.h>
#include <loupe/exercises/taught/modules.h>

using namespace loupe;

namespace mine {

struct AttentionGradients {
  Tensor dq, dk, dv;
};

/// q, k, v, dy (T, d): the gradients of y = softmax(q k^T / sqrt(d)) v.
AttentionGradients attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                      const Tensor& dy);

}  // namespace mine
