#pragma once
// The text of a GPT's training, its loss on held-out text, and GPTs from folders: a run's, or
// Transformers'.
#include <loupe/cli/console.h>
#include <loupe/distributed/communicator.h>
#include <loupe/io/text.h>
#include <loupe/models/gpt.h>

namespace loupe::cli {

struct TextData {
  TextFile file;
  CharVocab vocab;
  std::vector<int32_t> train, held_out;
};
/// A text (the word list for an empty path), its last part held out. `vocab` empty: the text's own
/// characters.
TextData load_text(const std::string& path, double validation, const CharVocab& vocab = {});
struct TextScore {
  double loss = 0, accuracy = 0;  // nats a character; share of characters that were the likeliest
};
/// Means over all of `ids` in consecutive windows of the context. With ranks each takes some of the
/// batches, every character once, and all get the bits that one process gets.
TextScore text_score(Gpt& model, std::span<const int32_t> ids, Communicator* ranks = nullptr);
/// What a config.json of Transformers' GPT2LMHeadModel says. IoError for a member that is missing
/// or of another kind, and for what Gpt does not compute (another activation, cross attention,
/// other scales of the scores). `name` is the file in errors.
GptConfig gpt2_config(const Json& config, const std::string& name);
/// The config.json with which Transformers reads a Gpt's model.safetensors; empty for a Gpt that is
/// no GPT-2 (another norm).
std::string gpt2_config_json(const GptConfig& config);
/// From a safetensors file of Loupe's, or from the model.safetensors in a folder of Transformers'.
void load_weights(const std::string& path, Gpt& model);

/// What the options.json of a run of train gpt says, and its vocabulary; IoError as Json's. `name`
/// is the file in errors.
GptConfig gpt_config(const Json& options, const std::string& name, CharVocab& vocab);
/// The model of such a run, in eval mode; nothing is allocated by a size that options.json merely
/// claims.
Gpt load_gpt(const Json& options, const std::string& folder, CharVocab& vocab);

}  // namespace loupe::cli
