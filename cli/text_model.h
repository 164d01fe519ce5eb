#pragma once
// The text of a GPT's training, its loss on held-out text, and a trained GPT from a run's folder.
#include <loupe/cli/console.h>
#include <loupe/io/text.h>
#include <loupe/models/gpt.h>

namespace loupe::cli {

struct TextData {
  TextFile file;
  CharVocab vocab;
  std::vector<int32_t> train, held_out;
};
/// A text (the word list for an empty path), its last part held out.
TextData load_text(const std::string& path, double validation);
struct TextScore {
  double loss = 0, accuracy = 0;  // nats a character; share of characters that were the likeliest
};
/// Means over all of `ids` in consecutive windows of the context.
TextScore text_score(Gpt& model, std::span<const int32_t> ids);
/// The model of a run of train gpt, in eval mode.
Gpt load_gpt(const Json& options, const std::string& folder, CharVocab& vocab);

}  // namespace loupe::cli
