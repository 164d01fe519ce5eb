#!/bin/sh
# The library as two files (cmake/amalgamate.py): a program of its own compiles with them, without OpenBLAS, zlib or OpenSSL.
#   amalgamation.sh compiles|runs
# `compiles` asks the compiler for errors only, in a quarter of a minute; `runs` takes minutes, trains and compares.
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 "$source/cmake/amalgamate.py" .
cat > my.cpp <<'END'
#include "loupe.h"
#include <cstdio>
using namespace loupe;

int main() {
  Rng rng(0);
  Sequential net(Linear(rng, 3, 16), Tanh(), LayerNorm(16), Linear(rng, 16, 1));
  AdamW optimizer(net, {.lr = 0.02});
  const Tensor x = randn(rng, {64, 3}), y = (x * x).sum({1}, true);
  for (int i = 0; i < 200; ++i) {
    const Tensor loss = mse_loss(net(x), y);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (i % 50 == 0 || i == 199) std::printf("%.4f\n", loss.item());
  }
  const Tensor image = randn(rng, {2, 3, 8, 8}, DType::f64);
  const auto f = [](const Tensors& in) { return conv2d(in[0], in[1], Tensor(), {.padding = {1, 1}}); };
  std::printf("%d\n", gradcheck(f, {image, randn(rng, {4, 3, 3, 3}, DType::f64)}) ? 1 : 0);
}
END
if [ "$1" = compiles ]; then
  g++ -std=c++20 -fsyntax-only -w loupe.cpp
  g++ -std=c++20 -fsyntax-only -Wall -Wextra my.cpp
  exit
fi
g++ -std=c++20 -O1 -w my.cpp loupe.cpp -pthread -o my
./my | tee out
awk 'NR == 1 { first = $1 } NR == 5 { last = $1 } NR == 6 { checked = $1 } END { exit !(last < first / 50 && checked == 1) }' out
