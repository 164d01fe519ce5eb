// Chapter 1: shapes, strides, views and broadcasting.
#include <loupe/loupe.h>

#include <cstdio>
#include <iostream>

using namespace loupe;

// [describe]
void describe(const char* name, const Tensor& t) {
  std::printf("%-22s shape %-10s strides %-10s starts at %lld\n", name,
              to_string(t.shape()).c_str(), to_string(t.strides()).c_str(),
              static_cast<long long>(t.offset()));
}
// [/describe]

// [element]
// Where element (i, j) lies in memory. This is all that strides mean.
float element(const Tensor& t, int64_t i, int64_t j) {
  const float* memory = static_cast<const float*>(t.storage()->data());
  return memory[t.offset() + i * t.strides()[0] + j * t.strides()[1]];
}
// [/element]

void strides() {
  std::printf("== first\n");
  // [first]
  const Tensor x = arange(0, 12, 1, DType::f32).reshape({3, 4});
  std::cout << x << "\n";
  describe("x", x);
  std::printf("element (1, 2) is %g\n", element(x, 1, 2));
  // [/first]

  std::printf("== views\n");
  // [views]
  describe("x.t()", x.t());
  describe("x.slice(0, 1, 3)", x.slice(0, 1, 3));        // rows 1 and 2
  describe("x.slice(1, 0, 4, 2)", x.slice(1, 0, 4, 2));  // every second column
  describe("x[1]", x[1]);                                // row 1, one dimension less
  describe("x[1].expand({3, 4})", x[1].expand({3, 4}));  // row 1, three times
  describe("x.reshape({2, 6})", x.reshape({2, 6}));
  std::printf("element (2, 1) of x.t() is %g\n", element(x.t(), 2, 1));
  // [/views]

  std::printf("== shared\n");
  // [shared]
  const Tensor column = x.slice(1, 1, 2);
  column.fill_(-1);
  std::cout << x << "\n";
  // [/shared]

  std::printf("== reshape\n");
  // [reshape]
  const Tensor flat = x.reshape({12});        // rows follow each other: a view
  const Tensor turned = x.t().reshape({12});  // the columns of x do not: a copy
  std::printf("x.reshape({12}) shares x's memory: %s\n",
              flat.storage() == x.storage() ? "yes" : "no");
  std::printf("x.t().reshape({12}) shares x's memory: %s\n",
              turned.storage() == x.storage() ? "yes" : "no");
  // [/reshape]

  std::printf("== pointer\n");
  // [pointer]
  try {
    x.t().data<float>();  // a plain array of the transposed matrix does not exist
  } catch (const ShapeError& error) { std::printf("%s\n", error.what()); }
  // [/pointer]
}

void broadcasting() {
  std::printf("== broadcast\n");
  // [broadcast]
  const Tensor matrix = tensor({1, 2, 3, 4, 5, 6}, Shape{2, 3});
  const Tensor row = tensor({10, 20, 30});                // (3)
  const Tensor column = tensor({100, 200}, Shape{2, 1});  // (2, 1)
  std::cout << matrix + row << "\n" << matrix + column << "\n" << row + column << "\n";
  // [/broadcast]

  std::printf("== refused\n");
  // [refused]
  try {
    matrix + tensor({1, 2});
  } catch (const ShapeError& error) { std::printf("%s\n", error.what()); }
  // [/refused]

  std::printf("== backward\n");
  // [backward]
  const Tensor bias = zeros({3}).requires_grad_();
  (matrix + bias).sum().backward();
  std::cout << bias.grad() << "\n";
  // [/backward]
}

void trap() {
  std::printf("== trap\n");
  // [trap]
  const Tensor prediction = tensor({1, 2, 3, 4}, Shape{4, 1});  // a layer gives (N, 1)
  const Tensor target = tensor({1, 2, 3, 4});                   // a file gives (N)
  const Tensor difference = prediction - target;
  std::printf("all predictions are right. The mean squared error is %g, over a shape of %s\n",
              square(difference).mean().item(), to_string(difference.shape()).c_str());
  try {
    mse_loss(prediction, target);
  } catch (const ShapeError& error) { std::printf("%s\n", error.what()); }
  // [/trap]
}

void own_bug() {
  std::printf("== own_bug\n");
  // [own_bug]
  // One sample, 3 classes, 4 positions. The classes are the second dimension.
  const Tensor x = arange(0, 12, 1, DType::f64).reshape({1, 3, 4}) * 0.5;
  const Tensor target = zeros({1, 4}, DType::i64);
  std::printf("right: %.6f\n", cross_entropy(x, target).item());
  // Reading the memory as rows of three classes, without looking at the strides:
  const Tensor rows = x.reshape({4, 3});
  std::printf("wrong: %.6f\n", cross_entropy(rows, target.reshape({4})).item());
  // [/own_bug]
}

void channels_last() {
  std::printf("== channels_last\n");
  // [channels_last]
  Rng rng(0);
  const Tensor image = randn(rng, {1, 3, 8, 8});
  describe("image", image);
  const Tensor y = conv2d(image, randn(rng, {16, 3, 3, 3}), Tensor(), {.padding = 1});
  describe("conv2d(image)", y);
  // [/channels_last]
}

int main() {
  strides();
  broadcasting();
  trap();
  own_bug();
  channels_last();
}
