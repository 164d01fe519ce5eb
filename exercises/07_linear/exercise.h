#pragma once
// Exercise 7: what you write, and what you may use.
#include <loupe/exercises/taught/modules.h>

using namespace loupe;

namespace mine {

/// A fully connected layer: x (N, in) -> x W^T + b (N, out).
std::unique_ptr<Module> make_linear(Rng& rng, int64_t in, int64_t out);

}  // namespace mine
