#include <loupe/io/json.h>

#include "fuzz.h"

using namespace loupe;

void target(Bytes bytes) {
  JsonReader r(as_text(bytes), "f");
  r.skip();
  r.end();
}
