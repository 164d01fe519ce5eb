// GPT-2 as Transformers saves it: config.json and model.safetensors.
#include <loupe/cli/text_model.h>

#include <loupe/io/checkpoint.h>

#include <filesystem>

namespace loupe::cli {

GptConfig gpt2_config(const Json& c, const std::string& name) {
  if (c.has("model_type") && c.get_string("model_type") != "gpt2")
    fail<IoError>("{}: model_type \"{}\"; only \"gpt2\" is known here", name,
                  c.get_string("model_type"));
  const std::string activation =
      c.has("activation_function") ? c.get_string("activation_function") : "gelu_new";
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh")
    fail<IoError>("{}: activation_function \"{}\"; only GPT-2's own \"gelu_new\" is known here",
                  name, activation);
  for (const auto& [key, usual] : {std::pair{"scale_attn_weights", true},
                                   {"scale_attn_by_inverse_layer_idx", false},
                                   {"add_cross_attention", false}})
    if (c.has(key) && c.get_bool(key) != usual)
      fail<IoError>("{}: {} = {} is not computed here", name, key, !usual);
  const auto size = [&](const char* key) {
    const int64_t n = c.get_integer(key);
    if (n < 1 || n > INT32_MAX)
      fail<IoError>("{}: \"{}\" is {}, expected a size from 1 to 2^31 - 1", name, key, n);
    return n;
  };
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
  if (c.norm != NormKind::layer || !c.pre_norm) return "";
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
  const std::string file = path + "/model.safetensors";
  try {
    load_gpt2(model, to_state_dict(load_safetensors(file).tensors));
  } catch (const ValueError& e) { throw ValueError(file + ": " + e.what()); }
}

}  // namespace loupe::cli
