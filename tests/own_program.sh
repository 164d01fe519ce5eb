#!/bin/sh
# Compiles a program outside the tree by the README's own lines: with g++ alone (`plain`), or with CMake and the library
# installed (`cmake`); or the README's first program, which must learn (`readme`).
# Usage: own_program.sh BUILD_FOLDER plain|cmake|readme
set -eu
tests=$(cd "$(dirname "$0")" && pwd)
readme=$tests/../README.md
build=$(cd "$1" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > my.cpp <<'END'
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/check.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/sequential.h>
#include <loupe/optim/optimizer.h>
#include <iostream>
using namespace loupe;

int main() {
  Rng rng(0);
  Sequential net(Linear(rng, 3, 8), Tanh(), Linear(rng, 8, 1));
  AdamW optimizer(net);
  const Tensor x = randn(rng, {16, 3});
  std::cout << x.shape() << " " << x.dtype() << "\n" << to_string(check_model(net, x));
  for (int i = 0; i < 20; ++i) {
    const Tensor loss = mse_loss(net(x), x.sum({1}, true));
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  }
  try {
    net(zeros({2, 5}));
  } catch (const ShapeError& error) {
    const std::string text = error.what();
    std::cout << text << "\n";
    return text.find("(in 0, my.cpp:24)") == std::string::npos;
  }
  return 1;
}
END
by_hand() {
  mkdir -p loupe/build && ln -s "$build" loupe/build/release
  LOUPE=$folder/loupe sh -ec "$(grep '^g++ .*libloupe.a' "$readme")"
  ./my
}
if [ "$2" = readme ]; then
  sed -n '/^```cpp$/,/^```$/p' "$readme" | sed '1d;$d' > my.cpp
  by_hand | tee losses
  [ "$(wc -l < losses)" = 9 ]
  awk 'END { exit !($1 == "loss" && $2 < 0.5) }' losses
elif [ "$2" = cmake ]; then
  sed -n '/^```cmake$/,/^```$/p' "$readme" | sed '1d;$d' > CMakeLists.txt
  cmake --install "$build" --prefix "$folder/loupe" > install.log || { cat install.log; exit 1; }
  cmake -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$folder/loupe" . > configure.log || { cat configure.log; exit 1; }
  cmake --build build --target my
  ./build/my
else
  by_hand
fi
