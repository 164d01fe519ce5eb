// Reverse mode by hand, for numbers. This file needs nothing but a C++ compiler:
//   g++ -std=c++20 02_tape.cpp && ./a.out
#include <cmath>
#include <cstdio>
#include <vector>

// [entry]
// One step of a computation: its value, where its inputs stand on the tape, and its slope towards each.
struct Entry {
  double value;
  int input[2] = {-1, -1};
  double slope[2] = {0, 0};
};

std::vector<Entry> tape;

// A number that remembers its place on the tape.
struct Var {
  int at;
  double value() const { return tape[static_cast<size_t>(at)].value; }
};

Var push(const Entry& entry) {
  tape.push_back(entry);
  return {static_cast<int>(tape.size()) - 1};
}
Var leaf(double value) { return push({value}); }
// [/entry]

// [ops]
Var operator+(Var a, Var b) { return push({a.value() + b.value(), {a.at, b.at}, {1, 1}}); }
Var operator-(Var a, Var b) { return push({a.value() - b.value(), {a.at, b.at}, {1, -1}}); }
Var operator*(Var a, Var b) {
  return push({a.value() * b.value(), {a.at, b.at}, {b.value(), a.value()}});
}
Var tanh(Var a) {
  const double y = std::tanh(a.value());
  return push({y, {a.at, -1}, {1 - y * y, 0}});
}
// [/ops]

// [backward]
// The gradient of y with respect to every entry of the tape.
std::vector<double> backward(Var y) {
  std::vector<double> grad(tape.size(), 0);
  grad[static_cast<size_t>(y.at)] = 1;
  for (size_t i = static_cast<size_t>(y.at) + 1; i-- > 0;) {  // the youngest first
    for (int k = 0; k < 2; ++k) {
      const int in = tape[i].input[k];
      if (in >= 0) grad[static_cast<size_t>(in)] += grad[i] * tape[i].slope[k];
    }
  }
  return grad;
}
// [/backward]

void print_tape(const std::vector<double>& grad) {
  std::printf(" at    value   inputs and slopes       gradient\n");
  for (size_t i = 0; i < tape.size(); ++i) {
    char inputs[64] = "-";
    int used = 0;
    for (int k = 0; k < 2; ++k)
      if (tape[i].input[k] >= 0)
        used += std::snprintf(inputs + used, sizeof inputs - static_cast<size_t>(used),
                              "%d: %.4f  ", tape[i].input[k], tape[i].slope[k]);
    std::printf("%3zu  %7.4f   %-22s %9.4f\n", i, tape[i].value, inputs, grad[i]);
  }
}

double loss_of(double w, double x, double b, double t) {
  const double e = std::tanh(w * x + b) - t;
  return e * e;
}

// [recursive]
// Wrong: it passes a gradient on before all of it has arrived.
void recursive(int at, std::vector<double>& grad) {
  const Entry& entry = tape[static_cast<size_t>(at)];
  for (int k = 0; k < 2; ++k) {
    const int in = entry.input[k];
    if (in < 0) continue;
    grad[static_cast<size_t>(in)] += grad[static_cast<size_t>(at)] * entry.slope[k];
    recursive(in, grad);
  }
}
// [/recursive]

// The number of calls when every call carries its own share of the gradient: right, and slow.
long visits(int at) {
  long count = 1;
  for (int k = 0; k < 2; ++k) {
    const int in = tape[static_cast<size_t>(at)].input[k];
    if (in >= 0) count += visits(in);
  }
  return count;
}

int main() {
  std::printf("== neuron\n");
  // [neuron]
  const Var w = leaf(0.8), x = leaf(1.5), b = leaf(-0.4), t = leaf(1);
  const Var e = tanh(w * x + b) - t;
  const Var loss = e * e;
  const std::vector<double> grad = backward(loss);
  // [/neuron]
  print_tape(grad);

  std::printf("== difference\n");
  // [difference]
  const double h = 1e-6;
  const double up = loss_of(0.8 + h, 1.5, -0.4, 1), down = loss_of(0.8 - h, 1.5, -0.4, 1);
  std::printf("backward: %.8f\ndifference: %.8f\n", grad[0], (up - down) / (2 * h));
  // [/difference]

  std::printf("== twice\n");
  // [twice]
  tape.clear();
  const Var a = leaf(3);
  const Var square = a * a;
  const Var sum = square + square;  // 2 a^2, whose slope is 4 a = 12
  std::vector<double> wrong(tape.size(), 0);
  wrong[static_cast<size_t>(sum.at)] = 1;
  recursive(sum.at, wrong);
  std::printf("youngest first: %g\nrecursive: %g\n", backward(sum)[0], wrong[0]);
  // [/twice]

  std::printf("== visits\n");
  tape.clear();
  Var y = leaf(1);
  for (int i = 1; i <= 20; ++i) {
    y = y + y;
    if (i % 5 == 0)
      std::printf("%2d doublings: the loop visits %2zu entries, the recursion makes %7ld calls\n",
                  i, tape.size(), visits(y.at));
  }

  std::printf("== cost\n");
  for (int n : {10, 100, 1000}) {
    tape.clear();
    std::vector<Var> weights;
    for (int i = 0; i < n; ++i) weights.push_back(leaf(0.01 * i));
    Var total = leaf(0);
    for (const Var& weight : weights) total = total + tanh(weight * weight);
    const double steps = static_cast<double>(tape.size());
    std::printf(
        "%4d inputs. Differences: %4d evaluations, %7.0f steps. Reverse: 2 passes, %4.0f steps\n",
        n, n + 1, steps * (n + 1), 2 * steps);
  }
}
