#include <loupe/io/npy.h>

#include "fuzz.h"

using namespace loupe;

void target(Bytes bytes) { load_npy(bytes, "f"); }
