#pragma once
// A libFuzzer target is a function over any bytes that may throw nothing but loupe::Error. Defines
// the entry point.
#include <loupe/io/file.h>

#include <cstdlib>

void target(loupe::Bytes bytes);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    target({data, size});
  } catch (const loupe::Error&) {}
  return 0;
}

/// Stops the fuzzer: a property that must hold for every input does not.
inline void must(bool holds) {
  if (!holds) std::abort();
}
