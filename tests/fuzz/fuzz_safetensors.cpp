#include <loupe/io/safetensors.h>

#include "fuzz.h"

using namespace loupe;

// What was read can be written, and is then read back the same.
void target(Bytes bytes) {
  const std::string copy(as_text(bytes));
  const SafetensorsFile file = load_safetensors(as_bytes(copy), nullptr, "f");
  const std::string again = encode_safetensors(file.tensors, file.metadata);
  const SafetensorsFile reread = load_safetensors(as_bytes(again), nullptr, "g");
  must(reread.metadata == file.metadata &&
       encode_safetensors(reread.tensors, reread.metadata) == again);
}
