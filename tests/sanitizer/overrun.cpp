// Writes one element past a tensor, on purpose: AddressSanitizer must stop it. Built in the asan
// preset only.
#include <loupe/core/tensor.h>

#include <cstdio>

int main() {
  const loupe::Tensor t = loupe::zeros({4, 5});
  float* const p = t.ptr<float>();
  volatile int64_t beyond = t.numel();
  p[beyond] = 1;
  std::puts("the overrun went unnoticed");
  return 0;
}
