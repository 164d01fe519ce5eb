#include <loupe/cli/transformers_config.h>
#include <loupe/core/error.h>

#include <algorithm>

namespace loupe::cli {
namespace {

// Members of every configuration in Transformers, versions 2 to 5, that change no state of a
// model in evaluation.
constexpr std::string_view kHarmless[] = {
    // where it came from
    "_name_or_path", "name_or_path", "_commit_hash", "architectures", "transformers_version",
    "model_type", "language", "tokenizer_class", "processor_class", "transformers.js_config",
    // how numbers are kept and computed
    "torch_dtype", "dtype", "use_bfloat16", "torchscript", "_attn_implementation",
    "_attn_implementation_autoset", "attn_implementation", "_attn_implementation_internal",
    "_experts_implementation", "gradient_checkpointing", "use_cache", "output_past",
    "chunk_size_feed_forward", "tf_legacy_loss",
    // what is returned
    "return_dict", "return_dict_in_generate", "output_attentions", "output_hidden_states",
    "output_scores",
    // training
    "initializer_range", "finetuning_task", "task_specific_params", "problem_type", "num_labels",
    "id2label", "label2id", "_num_labels", "keys_to_ignore_at_inference",
    // special tokens
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "cls_token_id", "mask_token_id",
    "unk_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id",
    "prefix",
    // generating texts
    "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
    "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
    "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
    "num_return_sequences", "remove_invalid_values", "exponential_decay_length_penalty",
    "suppress_tokens", "begin_suppress_tokens", "generation_config"};

bool is_empty(const std::string& text) { return text == "{}" || text == "[]"; }

}  // namespace

void refuse_unknown_members(const Json& config, const std::string& name,
                            std::initializer_list<std::string_view> known) {
  for (const std::string& key : config.keys()) {
    if (!config.has(key)) continue;  // null: the default
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    if (std::find(std::begin(kHarmless), std::end(kHarmless), key) != std::end(kHarmless)) continue;
    if (is_empty(config.member_text(key))) continue;
    // Encoder and decoder at once: no is the only answer there is here.
    if ((key == "is_encoder_decoder" || key == "tie_encoder_decoder" || key == "is_decoder" ||
         key == "add_cross_attention") &&
        config.member_text(key) == "false")
      continue;
    fail<IoError>("{}: \"{}\": {} is not known here and might change what the model computes", name,
                  key, config.member_text(key).substr(0, 40));
  }
}

void expect_flag(const Json& config, const std::string& name, const std::string& key, bool only) {
  if (config.has(key) && config.get_bool(key) != only)
    fail<IoError>("{}: {} = {} is not computed here", name, key, !only);
}

void expect_text(const Json& config, const std::string& name, const std::string& key,
                 std::initializer_list<std::string_view> only) {
  if (!config.has(key)) return;
  const std::string text = config.get_string(key);
  if (std::find(only.begin(), only.end(), text) == only.end())
    fail<IoError>("{}: {} \"{}\"; only \"{}\" is known here", name, key, text, *only.begin());
}

void expect_architecture(const Json& config, const std::string& name, std::string_view family) {
  if (!config.has("architectures")) return;
  for (const std::string& one : config.get_strings("architectures"))
    if (!one.starts_with(family))
      fail<IoError>("{}: architectures \"{}\"; only those of {} are known here", name, one, family);
}

int64_t size_member(const Json& config, const std::string& name, const std::string& key,
                    int64_t otherwise) {
  const int64_t n = otherwise > 0 && !config.has(key) ? otherwise : config.get_integer(key);
  if (n < 1 || n > INT32_MAX)
    fail<IoError>("{}: \"{}\" is {}, expected a size from 1 to 2^31 - 1", name, key, n);
  return n;
}

}  // namespace loupe::cli
