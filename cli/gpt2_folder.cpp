// GPT-2 as Transformers saves it: config.json and model.safetensors.
#include <loupe/cli/text_model.h>

#include <loupe/cli/transformers_config.h>
#include <loupe/io/checkpoint.h>
#include <loupe/io/model_folder.h>

#include <filesystem>

namespace loupe::cli {

GptConfig gpt2_config(const Json& c, const std::string& name) {
  expect_text(c, name, "model_type", {"gpt2"});
  expect_architecture(c, name, "GPT2");
  const std::string activation =
      c.has("activation_function") ? c.get_string("activation_function") : "gelu_new";
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh")
    fail<IoError>("{}: activation_function \"{}\"; only GPT-2's own \"gelu_new\" is known here",
                  name, activation);
  expect_flag(c, name, "scale_attn_weights", true);
  expect_flag(c, name, "scale_attn_by_inverse_layer_idx", false);
  expect_flag(c, name, "add_cross_attention", false);
  refuse_unknown_members(
      c, name,
      {"vocab_size", "n_positions", "n_layer", "n_head", "n_embd", "n_inner", "layer_norm_epsilon",
       "activation_function", "tie_word_embeddings", "scale_attn_weights",
       "scale_attn_by_inverse_layer_idx",
       // n_positions once more; a way of computing that f32 does not need; dropout; heads that
       // sum a text up
       "n_ctx", "reorder_and_upcast_attn", "attn_pdrop", "resid_pdrop", "embd_pdrop",
       "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type",
       "summary_use_proj"});
  const auto size = [&](const char* key) { return size_member(c, name, key); };
  return {.vocab = size("vocab_size"),
          .context = size("n_positions"),
          .layers = size("n_layer"),
          .heads = size("n_head"),
          .width = size("n_embd"),
          .inner = c.has("n_inner") ? size("n_inner") : 0,
          .tied = !c.has("tie_word_embeddings") || c.get_bool("tie_word_embeddings"),
          .norm_eps = c.has("layer_norm_epsilon") ? c.get_number("layer_norm_epsilon") : 1e-5};
}

std::string gpt2_config_json(const GptConfig& c) {
  if (c.norm != NormKind::layer || !c.pre_norm || c.peri_norm || c.qk_norm) return "";
  return fmt::format(
      "{{\n  \"architectures\": [\"GPT2LMHeadModel\"],\n  \"model_type\": \"gpt2\",\n  "
      "\"vocab_size\": {},\n  \"n_positions\": "
      "{},\n"
      "  \"n_embd\": {},\n  \"n_layer\": {},\n  \"n_head\": {},\n  \"n_inner\": {},\n  "
      "\"activation_function\": \"gelu_new\",\n"
      "  \"layer_norm_epsilon\": {},\n  \"resid_pdrop\": {},\n  \"embd_pdrop\": {},\n  "
      "\"attn_pdrop\": {},\n"
      "  \"tie_word_embeddings\": {},\n  \"bos_token_id\": null,\n  \"eos_token_id\": null\n}}\n",
      c.vocab, c.context, c.width, c.layers, c.heads,
      c.inner > 0 ? std::to_string(c.inner) : "null", c.norm_eps, c.dropout, c.dropout, c.dropout,
      c.tied);
}

void load_weights(const std::string& path, Gpt& model) {
  if (!std::filesystem::is_directory(path)) {
    load_model(path, model);
    return;
  }
  const FileTensors tensors = load_model_folder(path);
  try {
    load_gpt2(model, to_state_dict(tensors));
  } catch (const ValueError& e) {
    throw ValueError(tensors.file + ": " + e.what() + unread_text(tensors));
  }
}

}  // namespace loupe::cli
