// Linear, convolution, attention, cross-entropy and Adam by numbers.
#include "explain_parts.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace loupe::explaining {
namespace {

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c(a.rows, b.columns);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < b.columns; ++j)
      for (int64_t k = 0; k < a.columns; ++k) c(i, j) += a(i, k) * b(k, j);
  return c;
}

Matrix transposed(const Matrix& m) {
  Matrix t(m.columns, m.rows);
  for (int64_t i = 0; i < m.rows; ++i)
    for (int64_t j = 0; j < m.columns; ++j) t(j, i) = m(i, j);
  return t;
}

// "1 * 0.3 + 2 * (-0.1)".
std::string sum_of_products(const std::vector<std::pair<double, double>>& terms) {
  std::string out;
  for (const auto& [a, b] : terms)
    out += (out.empty() ? "" : " + ") + signed_term(a) + " * " + signed_term(b);
  return out;
}

}  // namespace

Document linear_by_numbers(const ExplainOptions& o) {
  const Matrix x = input_matrix(o, Matrix::of({{1, 2, 3}, {4, 0, 2}}));
  const int64_t outputs = 2;
  const Matrix w = pattern(outputs, x.columns), dy = Matrix::of(std::vector<std::vector<double>>(
                                                    static_cast<size_t>(x.rows), {1, -2}));
  const std::vector<double> b{0.5, -1};
  const int64_t i = element("row", o.row, x.rows), j = element("column", o.column, outputs);
  Matrix y = product(x, transposed(w));
  for (int64_t r = 0; r < y.rows; ++r)
    for (int64_t c = 0; c < outputs; ++c) y(r, c) += b[static_cast<size_t>(c)];
  const Matrix dx = product(dy, w), dw = product(transposed(dy), x);

  const Tensor tx = x.tensor().requires_grad_(), tw = w.tensor().requires_grad_();
  const Tensor ty = linear(tx, tw, vector_tensor(b));
  ty.backward(dy.tensor());
  const double worst =
      std::max({difference("linear", y, ty), difference("linear dx", dx, tx.grad()),
                difference("linear dW", dw, tw.grad())});

  Document d("Linear");
  d.paragraph("Each output is a weighted sum of all inputs of its sample: y = x W^T + b.");
  d.grid(sample_grid(x, "The input x."));
  d.grid(plain_grid(w, "The weight W: a row for each output.", j));
  d.heading(fmt::format("Forward: sample {}, output {}", i, j));
  std::vector<std::pair<double, double>> terms;
  for (int64_t k = 0; k < x.columns; ++k) terms.push_back({x(i, k), w(j, k)});
  d.lines(fmt::format("y = {} + {} = {}", sum_of_products(terms),
                      signed_term(b[static_cast<size_t>(j)]), decimal(y(i, j))));
  d.grid(plain_grid(y, "The output y.", i, j));
  d.heading("Backward");
  d.paragraph(
      "An input reaches every output of its sample: dx = dy W. A weight is used by every sample: "
      "dW = dy^T x. The bias is added to every sample: db is the sum of dy over the samples.");
  d.grid(plain_grid(dy, "The gradient dy that arrives from above.", i));
  terms.clear();
  for (int64_t k = 0; k < outputs; ++k) terms.push_back({dy(i, k), w(k, 0)});
  std::string lines = fmt::format("dx of sample {}, input 0 = {} = {}\n", i, sum_of_products(terms),
                                  decimal(dx(i, 0)));
  terms.clear();
  for (int64_t r = 0; r < x.rows; ++r) terms.push_back({dy(r, j), x(r, 0)});
  d.lines(lines + fmt::format("dW of output {}, input 0  = {} = {}", j, sum_of_products(terms),
                              decimal(dw(j, 0))));
  d.paragraph(checked_sentence(worst));
  return d;
}

Document conv2d_by_numbers(const ExplainOptions& o) {
  const Matrix x =
      input_matrix(o, Matrix::of({{1, 2, 0, 1}, {3, 1, 2, 0}, {0, 2, 1, 3}, {2, 0, 1, 1}}));
  if (x.rows < 3 || x.columns < 3)
    fail<ShapeError>("explain: conv2d with a kernel of 3 x 3 needs an image of at least 3 x 3");
  const Matrix w = Matrix::of({{1, 0, -1}, {2, 0, -2}, {1, 0, -1}});  // a Sobel filter
  Matrix y(x.rows - 2, x.columns - 2);
  for (int64_t i = 0; i < y.rows; ++i)
    for (int64_t j = 0; j < y.columns; ++j)
      for (int64_t a = 0; a < 3; ++a)
        for (int64_t c = 0; c < 3; ++c) y(i, j) += x(i + a, j + c) * w(a, c);
  const Matrix dy = pattern(y.rows, y.columns);
  Matrix dx(x.rows, x.columns), dw(3, 3);
  for (int64_t i = 0; i < y.rows; ++i)
    for (int64_t j = 0; j < y.columns; ++j)
      for (int64_t a = 0; a < 3; ++a)
        for (int64_t c = 0; c < 3; ++c) {
          dx(i + a, j + c) += dy(i, j) * w(a, c);
          dw(a, c) += dy(i, j) * x(i + a, j + c);
        }
  const int64_t i = element("row", o.row, y.rows), j = element("column", o.column, y.columns);

  const Tensor tx = x.tensor().reshape({1, 1, x.rows, x.columns}).detach().requires_grad_();
  const Tensor tw = w.tensor().reshape({1, 1, 3, 3}).detach().requires_grad_();
  const Tensor ty = conv2d(tx, tw, Tensor());
  ty.backward(dy.tensor().reshape(ty.shape()));
  const double worst =
      std::max({difference("conv2d", y, ty), difference("conv2d dx", dx, tx.grad()),
                difference("conv2d dW", dw, tw.grad())});

  Document d("Convolution");
  d.paragraph(
      "The kernel slides over the image. Each output is the sum of the products of the kernel and "
      "the pixels under it. (The field says convolution; the kernel is not flipped, so a "
      "mathematician says correlation.)");
  NumberGrid image = plain_grid(x, "The image. Cells with a letter lie under the kernel.");
  for (int64_t r = 0; r < x.rows; ++r) {
    image.groups.emplace_back();
    for (int64_t c = 0; c < x.columns; ++c)
      image.groups.back().push_back(r >= i && r < i + 3 && c >= j && c < j + 3 ? 0 : -1);
  }
  d.grid(image);
  d.grid(plain_grid(w, "The kernel W (a Sobel filter: it finds vertical edges)."));
  d.heading(fmt::format("Forward: output ({}, {})", i, j));
  d.lines("y_ij = sum over a, c of x_(i+a)(j+c) W_ac");
  std::string lines = "y = ";
  for (int64_t a = 0; a < 3; ++a) {
    std::vector<std::pair<double, double>> terms;
    for (int64_t c = 0; c < 3; ++c) terms.push_back({x(i + a, j + c), w(a, c)});
    lines += (a > 0 ? "\n  + " : "") + sum_of_products(terms);
  }
  d.lines(lines + " = " + decimal(y(i, j)));
  d.grid(plain_grid(y, "The output y: smaller by 2, since there is no padding.", i, j));
  d.heading("Backward");
  d.paragraph(
      "A pixel takes part in up to nine outputs; its gradient is the sum over them: dx is the "
      "convolution of dy, with zeros around it, by the kernel turned by 180 degrees. A weight "
      "takes "
      "part in every output: dW is the correlation of the image with dy.");
  d.grid(plain_grid(dy, "The gradient dy that arrives from above."));
  std::vector<std::pair<double, double>> terms;
  for (int64_t r = 0; r < y.rows; ++r)
    for (int64_t c = 0; c < y.columns; ++c)
      if (1 - r >= 0 && 1 - r < 3 && 1 - c >= 0 && 1 - c < 3)
        terms.push_back({dy(r, c), w(1 - r, 1 - c)});
  d.lines(fmt::format("dx of pixel (1, 1) = {} = {}", sum_of_products(terms), decimal(dx(1, 1))));
  d.grid(plain_grid(dx, "The gradient dx.", 1, 1));
  d.grid(plain_grid(dw, "The gradient dW."));
  d.paragraph(checked_sentence(worst));
  return d;
}

namespace {

// Rows of softmax, and its gradient from that of its result.
Matrix softmax_rows(const Matrix& s) {
  Matrix p(s.rows, s.columns);
  for (int64_t i = 0; i < s.rows; ++i) {
    double largest = s(i, 0), sum = 0;
    for (int64_t j = 1; j < s.columns; ++j) largest = std::max(largest, s(i, j));
    for (int64_t j = 0; j < s.columns; ++j) sum += std::exp(s(i, j) - largest);
    for (int64_t j = 0; j < s.columns; ++j) p(i, j) = std::exp(s(i, j) - largest) / sum;
  }
  return p;
}

Matrix softmax_gradient(const Matrix& p, const Matrix& dp) {
  Matrix ds(p.rows, p.columns);
  for (int64_t i = 0; i < p.rows; ++i) {
    double dot = 0;
    for (int64_t j = 0; j < p.columns; ++j) dot += p(i, j) * dp(i, j);
    for (int64_t j = 0; j < p.columns; ++j) ds(i, j) = p(i, j) * (dp(i, j) - dot);
  }
  return ds;
}

}  // namespace

Document attention_by_numbers(const ExplainOptions& o) {
  const Matrix x = input_matrix(o, Matrix::of({{1, 0}, {0, 2}, {1, 1}}));
  const int64_t i = element("row", o.row, x.rows);
  const double scale = 1 / std::sqrt(static_cast<double>(x.columns));
  // Queries, keys and values are the tokens themselves: no weights hide what attention does.
  Matrix scores = product(x, transposed(x));
  for (double& s : scores.values) s *= scale;
  const Matrix p = softmax_rows(scores), y = product(p, x);
  const Matrix dy = pattern(y.rows, y.columns);
  const Matrix dv = product(transposed(p), dy), dp = product(dy, transposed(x));
  const Matrix ds = softmax_gradient(p, dp);
  Matrix dq = product(ds, x), dk = product(transposed(ds), x);
  for (double& v : dq.values) v *= scale;
  for (double& v : dk.values) v *= scale;

  const Shape whole{1, 1, x.rows, x.columns};
  const auto leaf = [&] { return x.tensor().reshape(whole).detach().requires_grad_(); };
  const Tensor q = leaf(), k = leaf(), v = leaf();
  const Tensor ty = scaled_dot_product_attention(q, k, v, {});
  ty.backward(dy.tensor().reshape(whole));
  const double worst = std::max(
      {difference("attention", y, ty), difference("attention dq", dq, q.grad()),
       difference("attention dk", dk, k.grad()), difference("attention dv", dv, v.grad())});

  Document d("Attention");
  d.paragraph(
      "Each token (row) asks all tokens: the scores are the dot products of its query with their "
      "keys, softmax makes weights of them that sum to 1, and the result is the weighted sum of "
      "the "
      "values. Here query, key and value are the token itself.");
  d.lines("P = softmax(Q K^T / sqrt(width))      y = P V");
  d.grid(plain_grid(x, "The tokens.", i));
  d.heading(fmt::format("Forward: token {}", i));
  std::string lines;
  for (int64_t j = 0; j < x.rows; ++j) {
    std::vector<std::pair<double, double>> terms;
    for (int64_t c = 0; c < x.columns; ++c) terms.push_back({x(i, c), x(j, c)});
    lines += fmt::format("score of token {} = ({}) / sqrt({}) = {}\n", j, sum_of_products(terms),
                         x.columns, decimal(scores(i, j)));
  }
  for (int64_t j = 0; j < x.rows; ++j)
    lines += fmt::format("weight of token {} = exp({}) / sum of all exp = {}\n", j,
                         decimal(scores(i, j)), decimal(p(i, j)));
  std::vector<std::pair<double, double>> terms;
  for (int64_t j = 0; j < x.rows; ++j) terms.push_back({p(i, j), x(j, 0)});
  lines += fmt::format("y, first number = {} = {}", sum_of_products(terms), decimal(y(i, 0)));
  d.lines(lines);
  d.grid(plain_grid(p, "The weights P: each row sums to 1.", i));
  d.grid(plain_grid(y, "The output y.", i, 0));
  d.heading("Backward");
  d.paragraph(
      "dV = P^T dy and dP = dy V^T. Softmax passes on dS = P (dP - sum of P dP over the row): what "
      "all weights of a row gain together is lost. Then dQ = dS K / sqrt(width) and "
      "dK = dS^T Q / sqrt(width).");
  d.grid(plain_grid(dy, "The gradient dy that arrives from above.", i));
  double dot = 0;
  for (int64_t j = 0; j < x.rows; ++j) dot += p(i, j) * dp(i, j);
  lines = fmt::format("sum of P dP over row {} = {}\n", i, decimal(dot));
  for (int64_t j = 0; j < x.rows; ++j)
    lines += fmt::format("dS of token {} = {} * ({} - {}) = {}\n", j, decimal(p(i, j)),
                         decimal(dp(i, j)), signed_term(dot), decimal(ds(i, j)));
  terms.clear();
  for (int64_t j = 0; j < x.rows; ++j) terms.push_back({ds(i, j), x(j, 0)});
  d.lines(lines + fmt::format("dq, first number = ({}) / sqrt({}) = {}", sum_of_products(terms),
                              x.columns, decimal(dq(i, 0))));
  d.paragraph(checked_sentence(worst));
  return d;
}

Document cross_entropy_by_numbers(const ExplainOptions& o) {
  const Matrix x = input_matrix(o, Matrix::of({{2, 1, 0}, {1, 3, 2}}));
  const int64_t i = element("row", o.row, x.rows), j = element("column", o.column, x.columns);
  std::vector<int64_t> labels;
  for (int64_t r = 0; r < x.rows; ++r) labels.push_back((2 * r) % x.columns);
  const double n = static_cast<double>(x.rows);
  const Matrix p = softmax_rows(x);
  double loss = 0;
  Matrix dx(x.rows, x.columns);
  for (int64_t r = 0; r < x.rows; ++r) {
    const int64_t label = labels[static_cast<size_t>(r)];
    loss -= std::log(p(r, label)) / n;
    for (int64_t c = 0; c < x.columns; ++c) dx(r, c) = (p(r, c) - (c == label ? 1 : 0)) / n;
  }
  const Tensor logits = x.tensor().requires_grad_();
  const Tensor library = cross_entropy(logits, from_data(labels, Shape{x.rows}));
  library.backward();
  const double worst = std::max(difference("cross_entropy", Matrix::of({{loss}}), library),
                                difference("cross_entropy dx", dx, logits.grad()));

  Document d("Softmax and cross-entropy");
  d.paragraph(
      "Softmax makes probabilities of the logits. The loss is minus the logarithm of the "
      "probability "
      "of the true class, in the mean over the samples.");
  d.lines(
      "p_ij = exp(x_ij) / sum_k exp(x_ik)      loss = -1/N sum_i log p_i,label(i)\n"
      "In code the row's largest logit is taken off first: exp cannot overflow then.");
  NumberGrid grid =
      plain_grid(x, "The logits. The letter marks the true class of each sample.", i, j);
  for (int64_t r = 0; r < x.rows; ++r) {
    grid.rows.push_back(fmt::format("sample {}", r));
    grid.groups.emplace_back();
    for (int64_t c = 0; c < x.columns; ++c)
      grid.groups.back().push_back(c == labels[static_cast<size_t>(r)] ? 0 : -1);
  }
  for (int64_t c = 0; c < x.columns; ++c) grid.columns.push_back(fmt::format("class {}", c));
  d.grid(grid);
  d.heading(fmt::format("Forward: sample {}", i));
  const int64_t label = labels[static_cast<size_t>(i)];
  double largest = x(i, 0), sum = 0;
  for (int64_t c = 1; c < x.columns; ++c) largest = std::max(largest, x(i, c));
  std::string lines = fmt::format("largest logit = {}\n", decimal(largest)), terms;
  for (int64_t c = 0; c < x.columns; ++c) {
    const double e = std::exp(x(i, c) - largest);
    sum += e;
    terms += (terms.empty() ? "" : " + ") + decimal(e);
  }
  lines += fmt::format("sum of exp(x - largest) = {} = {}\n", terms, decimal(sum));
  lines += fmt::format("p of class {} = exp({} - {}) / {} = {}\n", j, signed_term(x(i, j)),
                       signed_term(largest), decimal(sum), decimal(p(i, j)));
  lines += fmt::format("loss of this sample = -log p of class {} = -log {} = {}\n", label,
                       decimal(p(i, label)), decimal(-std::log(p(i, label))));
  d.lines(lines + fmt::format("loss = mean over the samples = {}", decimal(loss)));
  d.heading("Backward");
  d.paragraph(
      "The two derivatives cancel to the simplest rule of the field: dx = (p - 1 for the true "
      "class, "
      "p for the others) / N. A row's gradients sum to 0.");
  d.lines(fmt::format("dx of class {} = ({} - {}) / {} = {}", j, decimal(p(i, j)),
                      j == label ? 1 : 0, x.rows, decimal(dx(i, j))));
  d.grid(plain_grid(dx, "The gradient dx.", i, j));
  d.paragraph(checked_sentence(worst));
  return d;
}

Document adam_by_numbers(const ExplainOptions& o) {
  const Matrix given = input_matrix(o, Matrix::of({{0.5, 0.3, -0.2}}));
  if (given.rows != 1)
    fail<ShapeError>("explain: adam takes one row, a gradient for each step; got {} rows",
                     given.rows);
  constexpr double lr = 0.1, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, start = 1;
  const int64_t steps = given.columns;
  const Tensor w = from_data(std::vector<double>{start}).requires_grad_();
  Adam adam(std::vector<ParamGroup>{{.params = {{"w", w}}}}, {.lr = lr});
  double value = start, m = 0, v = 0, worst = 0;
  std::string lines;
  for (int64_t t = 1; t <= steps; ++t) {
    const double g = given(0, t - 1);
    const double time = static_cast<double>(t);
    const double m_before = m, v_before = v, before = value;
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    const double m_hat = m / (1 - std::pow(beta1, time)), v_hat = v / (1 - std::pow(beta2, time));
    value -= lr * m_hat / (std::sqrt(v_hat) + eps);
    lines += fmt::format("step {}, gradient {}\n", t, decimal(g));
    lines += fmt::format("  m  = 0.9 * {} + 0.1 * {} = {}\n", signed_term(m_before), signed_term(g),
                         decimal(m));
    lines +=
        fmt::format("  v  = 0.999 * {:.6g} + 0.001 * {}^2 = {:.6g}\n", v_before, signed_term(g), v);
    lines += fmt::format("  m^ = m / (1 - 0.9^{}) = {}      v^ = v / (1 - 0.999^{}) = {}\n", t,
                         decimal(m_hat), t, decimal(v_hat));
    lines += fmt::format("  w  = {} - 0.1 * {} / (sqrt({}) + 1e-08) = {}{}", decimal(before),
                         signed_term(m_hat), decimal(v_hat), decimal(value), t < steps ? "\n" : "");
    w.zero_grad();
    (w * g).sum().backward();
    adam.step();
    worst = std::max(worst, difference("adam", Matrix::of({{value}}), w));
  }
  Document d("Adam");
  d.paragraph(
      "Adam keeps two running averages for each parameter: m of the gradient and v of its square. "
      "Both start at 0 and are too small at first; dividing by 1 - beta^t corrects that. The step "
      "is "
      "lr m^ / (sqrt(v^) + eps): its size hardly depends on the size of the gradient.");
  d.lines(
      "m = beta1 m + (1 - beta1) g             m^ = m / (1 - beta1^t)\n"
      "v = beta2 v + (1 - beta2) g^2           v^ = v / (1 - beta2^t)\n"
      "w = w - lr m^ / (sqrt(v^) + eps)\n"
      "lr = 0.1, beta1 = 0.9, beta2 = 0.999, eps = 1e-8");
  d.heading("One parameter that starts at 1");
  d.lines(lines);
  d.paragraph(
      "Note the first step: m^ / sqrt(v^) is the sign of the gradient, so the parameter moves by "
      "lr, "
      "however small the gradient is.");
  d.paragraph(checked_sentence(worst));
  return d;
}

}  // namespace loupe::explaining
