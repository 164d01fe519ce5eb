#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

Tensor attended(const Tensor& q, const Tensor& k, const Tensor& v) {
  return matmul(softmax(matmul(q, k.t()) / std::sqrt(static_cast<double>(q.size(1)))), v);
}

void compare(Check& c, int64_t T, int64_t d) {
  c.trying(fmt::format("q, k, v ({}, {})", T, d));
  const Tensor q = c.normal({T, d}), k = c.normal({T, d}), v = c.normal({T, d}),
               dy = c.normal({T, d});
  const mine::AttentionGradients yours = mine::attention_backward(q, k, v, dy);
  const double root = std::sqrt(static_cast<double>(d));
  const Tensor P = softmax(matmul(q, k.t()) / root), dP = matmul(dy, v.t()), product = dP * P;
  const Tensor dv = differences([&](const Tensor& t) { return attended(q, k, t); }, v, dy);
  c.equal("dv", yours.dv, dv,
          {{"dv is P dy: P must be transposed, as in exercise 3", [&] { return matmul(P, dy); }},
           {"dv is dy itself: it goes through the weights, dv = P^T dy", [&] { return dy; }}},
          1e-7);
  // dq and dk from a gradient of the scores.
  const auto dq_of = [&](const Tensor& dS) { return matmul(dS, k) / root; };
  const auto dk_of = [&](const Tensor& dS) { return matmul(dS.t(), q) / root; };
  const Tensor right_dS = P * (dP - product.sum({-1}, true));
  const auto ideas = [&](const std::function<Tensor(const Tensor&)>& of) {
    return Ideas{
        {"the sum of the softmax's rule is missing: dS = P (dP - sum over the row of dP P)",
         [&, of] { return of(product); }},
        {"the sum of the softmax's rule runs over the columns: it is one number a row",
         [&, of] { return of(P * (dP - product.sum({0}, true))); }},
        {"you subtracted the sum of dP: it is the sum of dP P",
         [&, of] { return of(P * (dP - dP.sum({-1}, true))); }},
        {"you subtracted a mean: it is the sum of dP P over the row",
         [&, of] { return of(P * (dP - product.mean({-1}, true))); }},
        {"P in front of the bracket is missing: dS = P (dP - sum)",
         [&, of] { return of(dP - product.sum({-1}, true)); }},
        {"the softmax is passed over: this is dP, not dS", [&, of] { return of(dP); }},
        {"v is not transposed: dP = dy v^T", [&, of] {
           const Tensor wrong = matmul(dy, v);
           return of(P * (wrong - (wrong * P).sum({-1}, true)));
         }}};
  };
  Ideas of_q = ideas(dq_of), of_k = ideas(dk_of);
  of_q.push_back({"dq has no 1/sqrt(d): the scale is in S, so it is in both gradients",
                  [&] { return matmul(right_dS, k); }});
  of_k.push_back({"dk has no 1/sqrt(d): the scale is in S, so it is in both gradients",
                  [&] { return matmul(right_dS.t(), q); }});
  of_k.push_back({"dk needs dS transposed: column j of the scores belongs to key j",
                  [&] { return matmul(right_dS, q) / root; }});
  of_q.push_back({"dq and dk are exchanged", [&] { return dk_of(right_dS); }});
  c.equal("dq", yours.dq, differences([&](const Tensor& t) { return attended(t, k, v); }, q, dy),
          of_q, 1e-7);
  c.equal("dk", yours.dk, differences([&](const Tensor& t) { return attended(q, t, v); }, k, dy),
          of_k, 1e-7);
}

}  // namespace

void run(Check& c) {
  const int64_t T = c.between(3, 4);
  compare(c, T, T);  // square: what does not fit in sizes can run here
  compare(c, c.between(5, 6), c.between(2, 3));
}

}  // namespace loupe::exercises
