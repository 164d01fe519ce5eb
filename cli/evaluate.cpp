// `loupe eval` and `loupe summary`.
#include <loupe/cli/commands.h>
#include <loupe/cli/image_model.h>
#include <loupe/io/checkpoint.h>
#include <loupe/cli/text_model.h>
#include <loupe/cli/training.h>

#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>
#include <loupe/io/png.h>
#include <loupe/models/bert.h>
#include <loupe/view/see.h>

#include <algorithm>
#include <functional>
#include <cmath>

namespace loupe::cli {
namespace {

int eval_cnn(const EvalOptions& o, const Json& options, Console& console) {
  const std::string dataset = options.get_string("dataset");
  const ImageData data = load_images(dataset, o.data.empty() ? options.get_string("data") : o.data);
  const ImageModel model = load_image_model(options, o.run).model;
  loupe::eval(*model);
  const Predictions p = predict(*model, data.test);
  Json result("result");
  result.set("test_accuracy", p.accuracy).set("test_loss", p.loss);
  const size_t classes = data.test.classes.size();
  std::vector<std::vector<int64_t>> confusion(classes, std::vector<int64_t>(classes));
  const auto truth = data.test.labels.to_vector<int64_t>();
  for (size_t i = 0; i < truth.size(); ++i)
    ++confusion[static_cast<size_t>(truth[i])][static_cast<size_t>(p.labels[i])];
  console.say(fmt::format("test accuracy {:.2f} %, loss {:.4f}, {} of {} images wrong",
                          100 * p.accuracy, p.loss, p.wrong.size(), truth.size()));
  if (options.has("augment") && options.get_bool("augment")) {
    const AugmentOptions views = augmentation(dataset, data.test);
    const double over_views = predict(*model, data.test, nullptr, &views).accuracy;
    console.say(
        fmt::format("{:.2f} % with the mean over the views of each image", 100 * over_views));
    result.set("test_accuracy_over_views", over_views);
  }
  console.say("\nrows: what it is; columns: what the model said");
  std::string head = fmt::format("{:>14}", "");
  for (size_t j = 0; j < classes; ++j) head += fmt::format(" {:>5}", j);
  console.say(head + "  right");
  for (size_t i = 0; i < classes; ++i) {
    std::string line = fmt::format("{:>2} {:<11.11}", i, data.test.classes[i]);
    int64_t total = 0;
    for (int64_t n : confusion[i]) {
      line += n ? fmt::format(" {:>5}", n) : "     .";
      total += n;
    }
    console.say(line +
                fmt::format(" {:>5.1f}%", 100.0 * static_cast<double>(confusion[i][i]) /
                                              static_cast<double>(std::max<int64_t>(total, 1))));
  }
  const std::string picture = (o.out.empty() ? o.run : o.out) + "/wrong.png";
  write_png(picture, contact_sheet(data.test, p.wrong));
  console.say("\nthe images it got wrong: " + picture);
  console.event(result.set("confusion", confusion).set("wrong_images", picture));
  return 0;
}

int eval_gpt(const EvalOptions& o, const Json& options, Console& console) {
  CharVocab vocab;
  Gpt model = load_gpt(options, o.run, vocab);
  const bool same = o.text.empty();
  const TextData data = load_text(
      same ? (options.get_bool("default_text") ? "" : options.get_string("text")) : o.text,
      same ? options.get_number("validation") : 0);
  const std::vector<int32_t> all = vocab.encode(data.file.text, data.file.path);
  const std::vector<int32_t> ids =
      same ? std::vector<int32_t>(all.end() - static_cast<std::ptrdiff_t>(data.held_out.size()),
                                  all.end())
           : all;
  if (ids.size() < 2)
    fail<ValueError>(
        "eval: {} has {} characters, and 2 are the least: each but the first is predicted",
        data.file.path, ids.size());
  const double loss = text_score(model, ids).loss;
  console.say(fmt::format(
      "loss {:.4f} nats per character (perplexity {:.2f}) over {} characters of {}{}", loss,
      std::exp(loss), ids.size() - 1, data.file.path, same ? ", the held-out part" : ""));
  console.event(Json("result")
                    .set("val_loss", loss)
                    .set("characters", static_cast<int64_t>(ids.size()) - 1)
                    .set("text", data.file.path));
  return 0;
}

}  // namespace

int eval(const EvalOptions& o) {
  Console console(o.json);
  if (o.threads > 0) set_thread_limit(o.threads);
  const Json options = Json::read_file(o.run + "/options.json");
  const std::string command = options.get_string("command");
  if (command == "train cnn") return eval_cnn(o, options, console);
  if (command == "train gpt") return eval_gpt(o, options, console);
  fail<ValueError>("{}: a run of \"{}\" cannot be evaluated", o.run, command);
}

void with_model(const std::string& name, int64_t batch_size,
                const std::function<void(Module&, const Tensor& x)>& f) {
  Rng rng(0);
  const auto image = [&](int64_t channels, int64_t size) {
    return zeros({batch_size, channels, size, size});
  };
  if (name == "small-cnn") {
    SmallCnn m(rng);
    return f(m, image(1, 28));
  }
  if (name == "resnet20") {
    ResNetCifar m(rng);
    return f(m, image(3, 32));
  }
  if (name == "gpt") {
    Gpt m(rng);
    return f(m, zeros({batch_size, m.config.context}, DType::i64));
  }
  if (name == "bert") {
    BertEncoder m(rng);
    return f(m, zeros({batch_size, 128}, DType::i64));
  }
  const Json options = Json::read_file(name + "/options.json");
  if (options.get_string("command") == "train gpt") {
    CharVocab vocab;
    Gpt m = load_gpt(options, name, vocab);
    return f(m, zeros({batch_size, m.config.context}, DType::i64));
  }
  const RunImageModel run = load_image_model(options, name);
  f(*run.model, image(run.image[1], run.image[2]));
}

int summary(const SummaryOptions& o) {
  Console console(false);
  constexpr size_t kTerminal = 80;
  with_model(o.model, o.batch_size,
             [&](Module& m, const Tensor& x) { console.say(loupe::summary(m, x, kTerminal)); });
  return 0;
}

// A training step on an input of zeros: what it computes costs the same for any input.
int see_model(const SeeModelOptions& o) {
  Console console(false);
  if (o.threads > 0) set_thread_limit(o.threads);
  with_model(o.model, o.batch_size, [&](Module& m, const Tensor& x) {
    const auto step = [&] {
      const Tensor y = m.call(x);
      mean(y * y).backward();
    };
    step();  // fills caches and memory
    zero_grad(m);
    see(o.out, m, step,
        {.title = fmt::format("{}, batch of {}", m.type_name(), o.batch_size), .shadow = o.shadow});
  });
  console.say("written to " + o.out + ": open it in a browser");
  return 0;
}

}  // namespace loupe::cli
