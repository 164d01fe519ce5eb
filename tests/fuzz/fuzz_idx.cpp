#include <loupe/io/idx.h>

#include "fuzz.h"

using namespace loupe;

void target(Bytes bytes) { read_idx(bytes, "f"); }
