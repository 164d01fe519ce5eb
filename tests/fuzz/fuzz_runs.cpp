#include <loupe/lesson/runs.h>

#include "fuzz.h"

using namespace loupe;

// A line of the lesson's runs.jsonl; what was read can be written, and is then read back the same.
void target(Bytes bytes) {
  const lesson::Record record = lesson::from_json(std::string(as_text(bytes)), "runs.jsonl");
  const std::string line = lesson::to_json(record);
  must(lesson::to_json(lesson::from_json(line, "runs.jsonl")) == line);
}
