#include <loupe/io/inflate.h>

#include "fuzz.h"

using namespace loupe;

// Whole gzip files, of several members too; their CRC is checked by zlib.
void target(Bytes bytes) {
  Inflater inflater(bytes, Inflater::Format::gzip, "f");
  std::vector<uint8_t> piece(4096);
  while (inflater.read(piece.data(), piece.size()) == piece.size()) {}
  inflater.expect_end();
}
