// `loupe export`: a trained model as an ONNX file.
#include <loupe/cli/commands.h>
#include <loupe/cli/image_model.h>
#include <loupe/cli/sentence_model.h>
#include <loupe/cli/text_model.h>
#include <loupe/io/checkpoint.h>
#include <loupe/io/onnx.h>

#include <filesystem>

namespace loupe::cli {
namespace {

void export_gpt(const ExportOptions& o, const Json& options, const OnnxOptions& onnx) {
  CharVocab vocab;
  Gpt model = load_gpt(options, o.run, vocab);
  Rng rng(0);
  const GptConfig& c = model.config;
  OnnxOptions named = onnx;
  named.input = "ids";
  named.outputs = {"logits"};
  save_onnx(model, randint(rng, 0, c.vocab, {2, c.context}), o.onnx, named);
}

void export_cnn(const ExportOptions& o, const Json& options, const OnnxOptions& onnx) {
  const RunImageModel run = load_image_model(options, o.run);
  Shape two = run.image;
  two[0] = 2;
  Rng rng(0);
  OnnxOptions named = onnx;
  named.input = "images";
  named.outputs = {"logits"};
  save_onnx(*run.model, randn(rng, two), o.onnx, named);
}

// A folder of Transformers' BertModel: token ids and the mask of real tokens, as `loupe embed`
// reads it.
void export_bert(const ExportOptions& o, const OnnxOptions& onnx) {
  SentenceModel sentence = load_sentence_model(o.run);
  const int64_t tokens = std::min<int64_t>(sentence.max_tokens, 128);
  Rng rng(0);
  OnnxOptions named = onnx;
  named.outputs = {"hidden"};
  save_onnx(
      sentence.model,
      {{"ids", randint(rng, 0, sentence.model.config.vocab, {2, tokens})},
       {"mask", randint(rng, 0, 2, {2, tokens})}},
      [&](const Tensors& x) { return Tensors{sentence.model(x[0], Tensor(), x[1])}; }, o.onnx,
      named);
}

}  // namespace

int export_model(const ExportOptions& o) {
  Console console(false);
  const OnnxOptions onnx{.fold_batch_norm = o.fold_batch_norm};
  if (!std::filesystem::exists(o.run + "/options.json")) {
    export_bert(o, onnx);
  } else {
    const Json options = Json::read_file(o.run + "/options.json");
    const std::string command = options.get_string("command");
    if (command == "train gpt") export_gpt(o, options, onnx);
    else if (command == "train cnn") export_cnn(o, options, onnx);
    else fail<ValueError>("{}: a run of \"{}\" cannot be exported", o.run, command);
  }
  console.say(fmt::format("wrote {}, {} bytes", o.onnx, std::filesystem::file_size(o.onnx)));
  return 0;
}

}  // namespace loupe::cli
