#include <loupe/io/wordpiece.h>

#include "fuzz.h"

using namespace loupe;

// Any text under a small fixed vocabulary.
void target(Bytes bytes) {
  static const WordPiece w = WordPiece::from_vocab(
      "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nab\n##b\n.\ne\n\u4e2d\n\u1112\n##\u1161\n", "f");
  const auto ids = w.encode(as_text(bytes), 32);
  must(ids.size() >= 2 && ids.size() <= 32 && ids.front() == 2 && ids.back() == 3);
  for (const int64_t id : ids) w.token(id);
}
