#include <loupe/cli/sentence_model.h>
#include <loupe/cli/text_model.h>

#include "fuzz.h"

using namespace loupe;

// Transformers' config.json, and the options.json of a run.
void target(Bytes bytes) {
  const cli::Json json = cli::Json::parse(as_text(bytes), "f");
  try {
    must(parameter_count(cli::bert_config(json, "f")) >= 1);
  } catch (const Error&) {}
  CharVocab vocab;
  must(parameter_count(cli::gpt_config(json, "f", vocab)) >= 1);
}
