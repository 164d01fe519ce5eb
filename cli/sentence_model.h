#pragma once
// A BERT-family model from the files Transformers writes.
#include <loupe/cli/console.h>
#include <loupe/io/wordpiece.h>
#include <loupe/models/bert.h>

namespace loupe::cli {

/// What a config.json says; IoError for a member that is missing, of another kind or no positive
/// size, and for another activation than the exact gelu. `name` is the file in errors.
BertConfig bert_config(const Json& config, const std::string& name);

struct SentenceModel {
  BertEncoder model;  // in eval mode
  WordPiece tokenizer;
  int64_t max_tokens;  // of a text; what is beyond is cut off
};
/// From a folder with config.json, model.safetensors and vocab.txt or tokenizer.json. IoError for
/// files that are damaged or do not fit together; nothing is allocated by a size that config.json
/// merely claims.
SentenceModel load_sentence_model(const std::string& folder);

}  // namespace loupe::cli
