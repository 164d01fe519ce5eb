#pragma once
// A BERT-family model from the files that Transformers and sentence-transformers write. What they
// say is done, or known to change no vector, or refused by name.
#include <loupe/cli/console.h>
#include <loupe/io/dataset.h>
#include <loupe/io/wordpiece.h>
#include <loupe/models/bert.h>

namespace loupe::cli {

/// What a config.json says; IoError for a member that is missing, of another kind or no positive
/// size, for what BertEncoder does not compute (another activation, a decoder, relative positions,
/// another model_type), and for a member that is not known. `name` is the file in errors.
BertConfig bert_config(const Json& config, const std::string& name);

/// How the states of a text become its vector: the pooled ones one behind the other, then divided
/// by their length.
struct SentenceHead {
  std::vector<SentencePooling> pooling{SentencePooling::mean};
  bool normalize = true;
};

struct SentenceModel {
  BertEncoder model;  // in eval mode
  WordPiece tokenizer;
  SentenceHead head;
  bool lower_text = false;  // before the tokenizer sees it
  int64_t max_tokens = 0;   // of a text; what is beyond is cut off

  /// Ids of a text; `name` stands for it in errors.
  std::vector<int64_t> encode(const std::string& text, const std::string& name) const;
  /// Vectors (B, width of all poolings) of ids (B, T).
  Tensor embed(const Batch& ids);
};

/// From a folder with config.json, model.safetensors (or its shards) and vocab.txt or
/// tokenizer.json. tokenizer_config.json, modules.json with 1_Pooling/config.json,
/// sentence_bert_config.json and config_sentence_transformers.json are obeyed where they are;
/// without modules.json the mean is taken and divided by its length. IoError for files that are
/// damaged, do not fit together or ask for what is not done here; nothing is allocated by a size
/// that config.json merely claims.
SentenceModel load_sentence_model(const std::string& folder);

}  // namespace loupe::cli
