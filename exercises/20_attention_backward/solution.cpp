#include "exercise.h"

mine::AttentionGradients mine::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                                  const Tensor& dy) {
  // >>> your part
  const double root = std::sqrt(static_cast<double>(q.size(1)));
  const Tensor P = softmax(matmul(q, k.t()) / root);
  const Tensor dv = matmul(P.t(), dy);
  const Tensor dP = matmul(dy, v.t());
  const Tensor dS = P * (dP - (dP * P).sum({-1}, true));
  const Tensor dq = matmul(dS, k) / root;
  const Tensor dk = matmul(dS.t(), q) / root;
  return {dq, dk, dv};
  // <<<
}
