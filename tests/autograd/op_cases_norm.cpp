// Normalisation.
#include "op_cases.h"

#include <algorithm>
#include <cmath>

namespace loupe::testing {
namespace {

// (x - mean) / sqrt(var + eps) with mean and var over the elements of one group; group(i) is the
// number of position i's.
template <class G>
Array normalized(const Array& x, int64_t groups, double eps, bool centre, const G& group) {
  std::vector<double> count(static_cast<size_t>(groups)), mean(count), var(count);
  const auto at = [&](const Dims& i) { return static_cast<size_t>(group(i)); };
  each(x.shape, [&](const Dims& i) {
    count[at(i)] += 1;
    if (centre) mean[at(i)] += x[i];
  });
  for (size_t g = 0; g < mean.size(); ++g) mean[g] /= count[g];
  each(x.shape, [&](const Dims& i) { var[at(i)] += std::pow(x[i] - mean[at(i)], 2); });
  Array y = x;
  each(x.shape, [&](const Dims& i) {
    y[i] = (x[i] - mean[at(i)]) / std::sqrt(var[at(i)] / count[at(i)] + eps);
  });
  return y;
}

// y * weight + bias where in[1], in[2] are there, as the position's vector(i) says.
template <class V> Array scaled(Array y, const Arrays& in, const V& vector) {
  each(y.shape, [&](const Dims& i) {
    if (in.size() > 1) y[i] *= in[1][vector(i)];
    if (in.size() > 2) y[i] += in[2][vector(i)];
  });
  return y;
}

// Channels of dimension `axis`.
auto channel(int axis) {
  return [axis](const Dims& i) { return Dims{i[axis < 0 ? i.rank() + axis : axis]}; };
}

Array batch_normalized(const Arrays& in, int axis) {
  const auto c = channel(axis);
  return scaled(
      normalized(in[0], in[0].size(axis), 1e-5, true, [&](const Dims& i) { return c(i)[0]; }), in,
      c);
}

// What eval mode uses here: mean 0.1 c, variance 0.5 + 0.25 c, in memory of stride 2.
BatchNormArgs running(const Tensor& x) {
  const int64_t n = x.size(1);
  const auto spread = [&](double start, double step) {
    const Tensor room = raw::empty({n, 2}, x.dtype());
    for (int64_t c = 0; c < n; ++c)
      raw::fill(raw::select(room, 0, c), start + step * static_cast<double>(c));
    return raw::select(room, 1, 0);
  };
  return {.running_mean = spread(0, 0.1), .running_var = spread(0.5, 0.25), .training = false};
}
Array with_running(const Arrays& in) {
  Array y = in[0];
  each(y.shape, [&](const Dims& i) {
    const auto c = static_cast<double>(i[1]);
    y[i] = (y[i] - 0.1 * c) / std::sqrt(0.5 + 0.25 * c + 1e-5);
  });
  return scaled(y, in, channel(1));
}

Array active(Array y) {
  for (double& v : y.v) v = std::max(v, 0.0);
  return y;
}
Array halved(const Array& x) {
  Array y(Shape{x.size(0), x.size(1), x.size(2) / 2, x.size(3) / 2});
  each(y.shape, [&](const Dims& i) {
    y[i] = std::max({x(i[0], i[1], 2 * i[2], 2 * i[3]), x(i[0], i[1], 2 * i[2], 2 * i[3] + 1),
                     x(i[0], i[1], 2 * i[2] + 1, 2 * i[3]),
                     x(i[0], i[1], 2 * i[2] + 1, 2 * i[3] + 1)});
  });
  return y;
}

Tensor weight_of(const Tensors& x) { return x.size() > 1 ? x[1] : Tensor(); }
Tensor bias_of(const Tensors& x) { return x.size() > 2 ? x[2] : Tensor(); }

// x (N, C, ...) with and without weight and bias.
const std::vector<std::vector<Shape>> kChannels{
    {{4, 3}, {3}, {3}},         {{2, 4, 3}, {4}},      {{2, 3, 2, 2}},
    {{1, 2, 5}, {2}, {2}},      {{0, 3, 2}, {3}, {3}}, {{3, 1, 2}, {1}, {1}},
    {{2, 2, 3, 1, 2}, {2}, {2}}};
const std::vector<std::vector<Shape>> kImages{{{2, 3, 4, 4}, {3}, {3}},
                                              {{2, 3, 2, 5}, {3}},
                                              {{3, 2, 3, 2}},
                                              {{1, 2, 4, 2}, {2}, {2}},
                                              {{0, 2, 2, 2}, {2}, {2}}};
const std::vector<Shape> kLargeImages{{4, 24, 14, 10}, {24}, {24}};

OpCase norm(std::string name, std::vector<std::vector<Shape>> shapes, GradFunction f, Naive naive,
            std::vector<Shape> large = {}) {
  OpCase c{.name = std::move(name),
           .shapes = std::move(shapes),
           .f = std::move(f),
           .naive = std::move(naive),
           .f32_tolerance = 1e-5};
  c.large = std::move(large);
  return c;
}

using BatchNormFunction = Tensor (*)(In, In, In, const BatchNormArgs&);

// One function of the family, training and with running statistics; `after` what follows the norm.
template <class A>
std::vector<OpCase> batch_norms(const std::string& name, BatchNormFunction f,
                                const std::vector<std::vector<Shape>>& shapes, A after) {
  return {norm(
              name, shapes, [f](const Tensors& x) { return f(x[0], weight_of(x), bias_of(x), {}); },
              [after](const Arrays& in) { return after(batch_normalized(in, 1)); }, kLargeImages),
          norm(
              name + "(running statistics)", shapes,
              [f](const Tensors& x) { return f(x[0], weight_of(x), bias_of(x), running(x[0])); },
              [after](const Arrays& in) { return after(with_running(in)); }, kLargeImages),
          norm(
              name + "(bias only)", {{{2, 3, 4, 4}, {3}}},
              [f](const Tensors& x) {
                return f(x[0], Tensor(), x[1],
                         {.running_mean = raw::zeros({3}, x[0].dtype()),
                          .running_var = raw::zeros({3}, x[0].dtype())});
              },
              [after](const Arrays& in) {
                const Array ones(in[1].shape, 1);
                return after(batch_normalized({in[0], ones, in[1]}, 1));
              })};
}

// Keras' masked batch norm: positions that do not count, 1e-7 added to the count.
Array masked_norm(const Arrays& in) {
  const Array &x = in[0], &mask = in[3];
  Array y = x;
  for (int64_t c = 0; c < x.size(1); ++c) {
    double n = 1e-7, mean = 0, var = 0;
    const auto positions = [&](const auto& f) {
      each(mask.shape, [&](const Dims& i) {
        Dims at = i;
        at.insert(1, c);
        f(at, mask[i]);
      });
    };
    positions([&](const Dims& i, double m) {
      n += m;
      mean += m * x[i];
    });
    mean /= n;
    positions([&](const Dims& i, double m) { var += m * std::pow(x[i] - mean, 2); });
    positions([&](const Dims& i, double) {
      y[i] = (x[i] - mean) / std::sqrt(var / n + 1e-5) * in[1](c) + in[2](c);
    });
  }
  return y;
}

std::vector<OpCase> channel_norms() {
  std::vector<OpCase> cases{
      norm(
          "batch_norm(last axis)", {{{4, 3}, {3}, {3}}, {{2, 2, 3}, {3}}, {{2, 1, 2, 3}, {3}, {3}}},
          [](const Tensors& x) { return batch_norm(x[0], weight_of(x), bias_of(x), {.axis = -1}); },
          [](const Arrays& in) { return batch_normalized(in, -1); }),
      norm(
          "group_norm",
          {{{2, 4, 3}, {4}, {4}},
           {{2, 6}, {6}},
           {{3, 6, 2, 2}},
           {{1, 4, 2, 2}, {4}, {4}},
           {{0, 4, 3}, {4}, {4}}},
          [](const Tensors& x) { return group_norm(x[0], 2, weight_of(x), bias_of(x)); },
          [](const Arrays& in) {
            const int64_t c = in[0].size(1);
            return scaled(normalized(in[0], 2 * in[0].size(0), 1e-5, true,
                                     [c](const Dims& i) { return 2 * i[0] + i[1] / (c / 2); }),
                          in, channel(1));
          },
          kLargeImages),
      norm(
          "instance_norm",
          {{{2, 4, 3}, {4}, {4}}, {{3, 2, 2, 2}}, {{1, 3, 4}, {3}}, {{0, 2, 3}, {2}, {2}}},
          [](const Tensors& x) { return instance_norm(x[0], weight_of(x), bias_of(x), {}); },
          [](const Arrays& in) {
            const int64_t c = in[0].size(1);
            return scaled(normalized(in[0], c * in[0].size(0), 1e-5, true,
                                     [c](const Dims& i) { return c * i[0] + i[1]; }),
                          in, channel(1));
          },
          kLargeImages),
      norm(
          "instance_norm(running statistics)",
          {{{2, 4, 3}, {4}, {4}}, {{3, 2, 2, 2}}, {{1, 3, 1}, {3}}},
          [](const Tensors& x) {
            return instance_norm(x[0], weight_of(x), bias_of(x), running(x[0]));
          },
          with_running, kLargeImages),
      norm(
          "batch_norm(mask)",
          {{{9, 3}, {3}, {3}, {9}},
           {{2, 3, 4}, {3}, {3}, {2, 4}},
           {{2, 2, 2, 3}, {2}, {2}, {2, 2, 3}}},
          [](const Tensors& x) {
            return batch_norm(x[0], x[1], x[2],
                              {.mask = x[3], .convention = NormConvention::keras3});
          },
          masked_norm),
  };
  cases.back().draw = {Draw{}, Draw{}, Draw{}, mask()};
  return cases;
}

// The last dimensions, as many as the weight has; one without a weight.
int normalized_rank(const Arrays& in) { return in.size() > 1 ? in[1].shape.rank() : 1; }
Array row_normalized(const Arrays& in, bool centre, double eps) {
  const int outer = in[0].shape.rank() - normalized_rank(in);
  int64_t rows = 1;
  for (int d = 0; d < outer; ++d) rows *= in[0].shape[d];
  const auto row = [&](const Dims& i) {
    int64_t n = 0;
    for (int d = 0; d < outer; ++d) n = n * in[0].shape[d] + i[d];
    return n;
  };
  return scaled(normalized(in[0], rows, eps, centre, row), in, [outer](const Dims& i) {
    Dims last;
    for (int d = outer; d < i.rank(); ++d) last.push_back(i[d]);
    return last;
  });
}
Shape normalized_shape(const Tensors& x) {
  return x.size() > 1 ? x[1].shape() : Shape{x[0].size(-1)};
}

std::vector<OpCase> row_norms() {
  return {
      norm(
          "layer_norm",
          {{{2, 3}, {3}, {3}},
           {{2, 3, 4}, {3, 4}, {3, 4}},
           {{2, 3, 4}, {4}},
           {{3}, {3}, {3}},
           {{1, 5}},
           {{0, 3}, {3}, {3}},
           {{2, 3, 2, 2}, {3, 2, 2}, {3, 2, 2}}},
          [](const Tensors& x) {
            return layer_norm(x[0], normalized_shape(x), weight_of(x), bias_of(x));
          },
          [](const Arrays& in) { return row_normalized(in, true, 1e-5); }, {{70, 65}, {65}, {65}}),
      norm(
          "layer_norm(bias only)", {{{2, 3}, {3}}, {{2, 2, 3}, {2, 3}}},
          [](const Tensors& x) { return layer_norm(x[0], x[1].shape(), Tensor(), x[1]); },
          [](const Arrays& in) {
            return row_normalized({in[0], Array(in[1].shape, 1), in[1]}, true, 1e-5);
          }),
      norm(
          "rms_norm",
          {{{2, 3}, {3}},
           {{2, 3, 4}, {3, 4}},
           {{2, 2, 4}},
           {{3}, {3}},
           {{1, 5}, {5}},
           {{0, 3}, {3}}},
          [](const Tensors& x) { return rms_norm(x[0], normalized_shape(x), weight_of(x), 1e-6); },
          [](const Arrays& in) { return row_normalized(in, false, 1e-6); }, {{70, 65}, {65}}),
  };
}

}  // namespace

std::vector<OpCase> norm_cases() {
  std::vector<OpCase> all = channel_norms();
  const auto as_it_is = [](Array y) { return y; };
  for (const auto& part :
       {batch_norms("batch_norm", batch_norm, kChannels, as_it_is),
        batch_norms("batch_norm_relu", batch_norm_relu, kChannels, active),
        batch_norms("batch_norm_relu_max_pool", batch_norm_relu_max_pool, kImages,
                    [](Array y) { return halved(active(std::move(y))); }),
        row_norms()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace loupe::testing
