#include <loupe/io/text.h>

#include "fuzz.h"

using namespace loupe;

// A text of its own characters comes back.
void target(Bytes bytes) {
  const CharVocab vocab = CharVocab::of(as_text(bytes));
  must(vocab.decode(vocab.encode(as_text(bytes))) == as_text(bytes));
  must(CharVocab::from_characters(vocab.characters()).size() == vocab.size());
  CharVocab::from_characters(as_text(bytes));
}
