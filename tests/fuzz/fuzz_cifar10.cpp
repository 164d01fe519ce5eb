#include <loupe/io/cifar10.h>

#include "fuzz.h"

using namespace loupe;

void target(Bytes bytes) {
  must(read_cifar10(bytes, "f").pixels.size() + bytes.size() / 3073 == bytes.size());
}
