// Chapter 2: the graph that Loupe records, and what backward() does with it.
#include <loupe/loupe.h>

#include <cstdio>
#include <set>

using namespace loupe;

// [walk]
// Every op that leads to `t`, the youngest first: the order in which backward() meets them.
std::vector<Node*> ops_of(const Tensor& t) {
  std::vector<Node*> found, waiting{t.grad_meta()->fn.get()};
  std::set<Node*> seen;
  while (!waiting.empty()) {
    Node* node = waiting.back();
    waiting.pop_back();
    if (node == nullptr || !seen.insert(node).second) continue;
    found.push_back(node);
    for (size_t i = 0; i < node->input_count(); ++i)
      if (node->needs(i)) waiting.push_back(node->edge(i)->fn.get());
  }
  std::sort(found.begin(), found.end(), [](Node* a, Node* b) { return a->birth() > b->birth(); });
  return found;
}
// [/walk]

void print_ops(const Tensor& t) {
  for (Node* node : ops_of(t)) {
    int64_t bytes = 0;
    for (const SavedTensor* saved : node->saved()) bytes += saved->bytes();
    std::printf("%-14s output %-6s keeps %4lld bytes, line %d\n", node->name(),
                to_string(node->output_shape(0)).c_str(), static_cast<long long>(bytes),
                node->site().line);
  }
}

int main() {
  std::printf("== neuron\n");
  // [neuron]
  const Tensor w = scalar(0.8, DType::f64).requires_grad_();
  const Tensor x = scalar(1.5, DType::f64).requires_grad_();
  const Tensor b = scalar(-0.4, DType::f64).requires_grad_();
  const Tensor e = tanh(w * x + b) - 1;
  const Tensor loss = e * e;
  loss.backward();
  std::printf("dw %.4f  dx %.4f  db %.4f\n", w.grad().item(), x.grad().item(), b.grad().item());
  // [/neuron]

  std::printf("== layer\n");
  // [layer]
  Rng rng(0);
  const Tensor input = randn(rng, {64, 20});
  const Tensor weight = (randn(rng, {20, 10}) * 0.1).detach().requires_grad_();
  const Tensor bias = zeros({10}).requires_grad_();
  const Tensor out = tanh(matmul(input, weight) + bias);
  const Tensor mean = (out * out).mean();
  print_ops(mean);
  // [/layer]

  std::printf("== freed\n");
  // [freed]
  mean.backward();
  try {
    mean.backward();
  } catch (const GradError& error) { std::printf("%s\n", error.what()); }
  // [/freed]

  std::printf("== again\n");
  // [again]
  const Tensor z = scalar(2, DType::f64).requires_grad_();
  const Tensor first = grad({z * z * z}, {z}, {.create_graph = true})[0];  // 3 z^2
  const Tensor second = grad({first}, {z})[0];                             // 6 z
  std::printf("first %g, second %g\n", first.item(), second.item());
  // [/again]

  std::printf("== chain\n");
  // [chain]
  const Tensor start = scalar(1, DType::f64).requires_grad_();
  Tensor chain = start;
  for (int i = 0; i < 100000; ++i) chain = chain + 1e-5;
  chain.backward();
  std::printf("after a chain of 100,000 ops the gradient is %g\n", start.grad().item());
  // [/chain]
}
