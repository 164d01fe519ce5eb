#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

void compare(Check& c, int64_t n, int64_t k, int64_t m) {
  c.trying(fmt::format("a ({}, {}), b ({}, {})", n, k, k, m));
  const Tensor a = c.normal({n, k}), b = c.normal({k, m}), dy = c.normal({n, m});
  const mine::MatmulGradients g = mine::matmul_backward(a, b, dy);
  const auto of_a = [&](const Tensor& t) { return matmul(t, b); };
  const auto of_b = [&](const Tensor& t) { return matmul(a, t); };
  const Tensor da = differences(of_a, a, dy), db = differences(of_b, b, dy);
  c.equal("da", g.da, da,
          {{"da: b must be transposed, the sum runs over its second index",
            [&] { return matmul(dy, b); }},
           {"da: the order is turned around: it is dy b^T", [&] { return matmul(b.t(), dy); }},
           {"da: that is b dy: it is dy b^T", [&] { return matmul(b, dy); }},
           {"da: this is the gradient for a dy of ones: dy comes from what follows in the network",
            [&] { return matmul(ones_like(dy), b.t()); }},
           {"da and db are exchanged", [&] { return db; }},
           {"da: you multiplied element by element: each element of a is in a whole row of y",
            [&] { return dy * b; }}},
          1e-7);
  c.equal("db", g.db, db,
          {{"db: a must be transposed, the sum runs over its first index",
            [&] { return matmul(a, dy); }},
           {"db: the order is turned around: it is a^T dy", [&] { return matmul(dy, a.t()); }},
           {"db: that is dy a: it is a^T dy", [&] { return matmul(dy, a); }},
           {"db: this is the gradient for a dy of ones: dy comes from what follows in the network",
            [&] { return matmul(a.t(), ones_like(dy)); }}},
          1e-7);
}

}  // namespace

void run(Check& c) {
  const int64_t n = c.between(2, 3);
  compare(c, n, n, n);
  compare(c, c.between(2, 3), c.between(4, 5), c.between(6, 7));
  compare(c, 1, c.between(2, 4), 1);
}

}  // namespace loupe::exercises
