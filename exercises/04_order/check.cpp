#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <deque>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

using Graph = std::vector<mine::Node>;
using Order = std::vector<size_t>;

Order youngest_first(const Graph& graph, size_t loss, bool all = false) {
  std::vector<bool> wanted(graph.size(), all);
  wanted[loss] = true;
  Order order;
  for (size_t i = loss + 1; i-- > 0;) {
    if (!wanted[i]) continue;
    order.push_back(i);
    for (size_t input : graph[i].inputs) wanted[input] = true;
  }
  return order;
}

void depth_first(const Graph& graph, size_t at, bool once, std::vector<bool>& met, Order& order) {
  if (once && met[at]) return;
  met[at] = true;
  order.push_back(at);
  for (size_t input : graph[at].inputs) depth_first(graph, input, once, met, order);
}

Order depth_first(const Graph& graph, size_t loss, bool once) {
  std::vector<bool> met(graph.size());
  Order order;
  depth_first(graph, loss, once, met, order);
  return order;
}

Order breadth_first(const Graph& graph, size_t loss) {
  std::vector<bool> met(graph.size());
  std::deque<size_t> waiting{loss};
  met[loss] = true;
  Order order;
  while (!waiting.empty()) {
    const size_t at = waiting.front();
    waiting.pop_front();
    order.push_back(at);
    for (size_t input : graph[at].inputs)
      if (!met[input]) met[input] = true, waiting.push_back(input);
  }
  return order;
}

// What breaks the rule; empty if nothing does.
std::string broken(const Graph& graph, size_t loss, const Order& order) {
  const Order right = youngest_first(graph, loss);
  std::vector<bool> wanted(graph.size()), met(graph.size());
  for (size_t i : right) wanted[i] = true;
  for (size_t at : order) {
    if (at >= graph.size()) return fmt::format("there is no node {}", at);
    if (!wanted[at]) return fmt::format("node {} is met, but the loss does not depend on it", at);
    if (met[at]) return fmt::format("node {} is met twice", at);
    met[at] = true;
    for (size_t input : graph[at].inputs)
      if (met[input])
        return fmt::format(
            "node {} is met before node {}, which uses it: its gradient is not "
            "complete",
            input, at);
  }
  for (size_t i : right)
    if (!met[i]) return fmt::format("node {} is not met, but the loss depends on it", i);
  return "";
}

Tensor as_numbers(const Order& order) {
  return numbers(std::vector<double>(order.begin(), order.end()));
}

void compare(Check& c, const std::string& name, const Graph& graph, size_t loss) {
  std::string text;
  for (size_t i = 0; i < graph.size() && i < 12; ++i)
    if (!graph[i].inputs.empty())
      text += fmt::format("; {} uses {}", i, fmt::join(graph[i].inputs, ", "));
  c.trying(name + ", loss " + std::to_string(loss) + (graph.size() < 12 ? text : ""));
  const Order yours = mine::backward_order(graph, loss);
  const std::string rule = broken(graph, loss, yours);
  if (rule.empty()) return;
  const Order right = youngest_first(graph, loss);
  c.equal("the order, at place ", as_numbers(yours), as_numbers(right),
          {{"you went depth first and met a node before another one that uses it",
            [&] { return as_numbers(depth_first(graph, loss, true)); }},
           {"a node is met once for each way to it: on a chain of 50 diamonds that is 2^50 times",
            [&] { return as_numbers(depth_first(graph, loss, false)); }},
           {"you went breadth first: a short way to a node does not say that the long one is done",
            [&] { return as_numbers(breadth_first(graph, loss)); }},
           {"you met nodes that the loss does not depend on",
            [&] { return as_numbers(youngest_first(graph, loss, true)); }},
           {"the order is turned around: backward starts at the loss",
            [&] { return as_numbers(Order(right.rbegin(), right.rend())); }},
           {"only the loss and its own inputs are met: go on from there",
            [&] {
              Order near{loss};
              for (size_t input : graph[loss].inputs) near.push_back(input);
              return as_numbers(near);
            }},
           {rule, [&] { return as_numbers(yours); }}});
  c.expect(false, rule);
}

}  // namespace

void run(Check& c) {
  compare(c, "a chain", {{{}}, {{0}}, {{1}}, {{2}}}, 3);
  compare(c, "a node that is not used", {{{}}, {{}}, {{0}}, {{1}}, {{2}}}, 4);
  compare(c, "a + a", {{{}}, {{0, 0}}}, 1);
  compare(c, "a diamond", {{{}}, {{0}}, {{1}}, {{1, 2}}}, 3);
  compare(c, "a long and a short way", {{{}}, {{0}}, {{1}}, {{2}}, {{3, 1}}}, 4);
  Graph random;
  for (size_t i = 0; i < 10; ++i) {
    mine::Node node;
    for (int64_t n = i < 2 ? 0 : c.between(1, 3); n > 0; --n)
      node.inputs.push_back(static_cast<size_t>(c.between(0, static_cast<int64_t>(i) - 1)));
    random.push_back(node);
  }
  compare(c, "a random graph", random, 9);
  Graph diamonds{{{}}};
  for (size_t i = 0; i < 60; ++i) diamonds.push_back({{i, i}});
  compare(c, "60 diamonds in a row", diamonds, 60);
  Graph deep{{{}}};
  for (size_t i = 0; i + 1 < 200000; ++i) deep.push_back({{i}});
  compare(c, "a chain of 200,000 nodes (one call for each does not fit on the stack)", deep,
          deep.size() - 1);
}

}  // namespace loupe::exercises
