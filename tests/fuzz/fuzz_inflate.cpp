#include <loupe/io/inflate.h>

#include "fuzz.h"

using namespace loupe;

// Raw deflate streams: without the CRC of gzip, which mutations hardly ever get right.
void target(Bytes bytes) {
  Inflater inflater(bytes, Inflater::Format::raw, "f");
  inflater.read_exactly(bytes.size() * 16, "the data");
  inflater.expect_end();
}
