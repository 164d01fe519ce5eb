#include <loupe/io/wordpiece.h>

#include "fuzz.h"

using namespace loupe;

void target(Bytes bytes) {
  const WordPiece w = WordPiece::from_json(as_text(bytes), "f");
  for (const int64_t id : w.encode("an example, e\u0301 \u4e2d [MASK]", 8)) w.token(id);
}
