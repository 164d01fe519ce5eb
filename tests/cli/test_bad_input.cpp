// Wrong use and bad data are a sentence and an exit code, never a crash.
#include "program.h"

using Catch::Matchers::Contains;

TEST_CASE("wrong use is a sentence and a code") {
  Folder f;
  REQUIRE(loupe_program("").code != 0);
  REQUIRE_THAT(loupe_program("--help").out, Contains("train") && Contains("sample"));
  REQUIRE_THAT(loupe_program("train cnn --help").out,
               Contains("--batch-size") && Contains("[0.003]"));
  REQUIRE(loupe_program("train cnn --norm laye").code != 0);
  REQUIRE(loupe_program("train cnn --epochs 0").code != 0);
  REQUIRE(loupe_program("train cnn --lr nan").code != 0);
  const Output missing = loupe_program("train cnn --data /nowhere");
  REQUIRE(missing.code == 1);
  REQUIRE_THAT(missing.err, Contains("/nowhere") && Contains("dataset-fashion-mnist"));
  REQUIRE_THAT(loupe_program("train gpt --resume --steps 1").err, Contains("--out"));
  REQUIRE_THAT(loupe_program("train gpt --width 30 --heads 4 --steps 1").err, Contains("30"));
  REQUIRE_THAT(loupe_program("summary", "LOUPE_CPU=v9").err, Contains("LOUPE_CPU=v9"));
  // More than there is: an exception, not an abort.
  const Output wide = loupe_program("train gpt --width 1000000000 --steps 1");
  REQUIRE(wide.code == 1);
  REQUIRE_THAT(wide.err, Contains("allocate: no memory for"));
}

TEST_CASE("texts: empty, short, not UTF-8, one character") {
  Folder f;
  const auto train = [&](const std::string& text) {
    std::ofstream(f / "text", std::ios::binary) << text;
    return loupe_program(kGpt + "--steps 2 --text " + f / "text");
  };
  const auto refused = [&](const std::string& text, const std::string& why) {
    const Output o = train(text);
    INFO(o.err);
    REQUIRE(o.code == 1);
    REQUIRE_THAT(o.err, Contains(why));
  };
  refused("", "text: is empty, expected text");
  refused("abc", "a text of 3 characters is too short for a context of 16");
  refused(std::string(100, 'a') + "\xff", "text: offset 100: byte 0xff is not valid UTF-8");
  refused("\xc0\x80", "text: offset 0: byte 0xc0 is not valid UTF-8");
  REQUIRE(train(std::string(100, 'a')).code == 0);  // nothing to learn is no error
  REQUIRE(last_event(train(std::string(100, 'a')))["val_loss"] == 0);
}

TEST_CASE("images: labels beyond the classes, another size, no images, damaged files") {
  Folder f;
  const auto refused = [&](const std::string& why) {
    const Output o = loupe_program(small_cnn(f / "mnist") + "--steps 2");
    INFO(o.err);
    REQUIRE(o.code == 1);
    REQUIRE_THAT(o.err, Contains(why));
  };
  write_small_mnist(f / "mnist", 96, 40, 10);
  refused("train-labels-idx1-ubyte: offset 18: label 10, expected 0 to 9");
  write_small_mnist(f / "mnist", 96, 40, 9, 32);
  refused("train-images-idx3-ubyte: images of 32 x 32, expected 28 x 28");
  write_small_mnist(f / "mnist", 0);
  refused("0 labels for 0 images");
  write_small_mnist(f / "mnist");
  std::ofstream(f / "mnist/t10k-images-idx3-ubyte", std::ios::app) << "more";
  refused("t10k-images-idx3-ubyte: offset 31376: 4 bytes more than the IDX header says");
  std::ofstream(f / "mnist/t10k-images-idx3-ubyte").close();
  refused("t10k-images-idx3-ubyte: offset 0: truncated");
}

TEST_CASE(
    "a loss that turns NaN stops the run with step and layer, before the weights are touched") {
  Folder f;
  const Output o = loupe_program(
      kGpt +
      "--steps 50 --lr 1e30 --optimizer sgd --schedule constant --checkpoint-every 1 --out " +
      f / "run");
  INFO(o.err);
  REQUIRE(o.code == 1);
  REQUIRE_THAT(o.err, Contains("train: the ") && Contains(" at step ") &&
                          Contains("models/gpt.cpp:") && Contains("in transformer") &&
                          Contains("NaN or Inf") && Contains("the last checkpoint is of step"));
  for (const auto& entry : fs::directory_iterator(f / "run/checkpoints")) {
    const Output weights = loupe_program("inspect " + entry.path().string());
    REQUIRE(weights.code == 0);
  }
  // Weights that are broken from the start: the first layer that meets them.
  write_small_mnist(f / "mnist");
  REQUIRE(loupe_program(small_cnn(f / "mnist") + "--steps 1 --norm none --out " + f / "cnn").code ==
          0);
  const std::string file = f / "cnn/model.safetensors";
  std::string bytes = loupe::read_file(file);
  for (size_t i = 0; i < 4; ++i)
    bytes[bytes.size() - 4 + i] = '\xff';  // the last element of the last tensor
  std::ofstream(file, std::ios::binary) << bytes;
  const Output nan =
      loupe_program(small_cnn(f / "mnist") + "--steps 2 --norm none --init-from " + file);
  REQUIRE(nan.code == 1);
  REQUIRE_THAT(nan.err, Contains("train: the loss is nan at step 1: linear (") &&
                            Contains("models/small_cnn.cpp:") && Contains("in fc"));
  REQUIRE_THAT(
      loupe_program(small_cnn(f / "mnist") + "--steps 2 --norm none --anomaly --init-from " + file)
          .err,
      Contains("train: step 1: linear ("));
}

TEST_CASE("files of models: config.json, options.json and weights that do not fit together") {
  Folder f;
  write_small_mnist(f / "mnist");
  std::ofstream(f / "text") << std::string(300, 'a') + "bcdefgh";
  REQUIRE(loupe_program(kGpt + "--steps 1 --text " + f / "text --out " + f / "gpt").code == 0);
  const json options = json::parse(loupe::read_file(f / "gpt/options.json"));
  const auto refused = [&](const char* key, const json& value, const std::string& why) {
    json changed = options;
    changed[key] = value;
    if (value.is_discarded()) changed.erase(key);
    std::ofstream(f / "gpt/options.json") << changed.dump();
    const Output o = loupe_program("sample --prompt a " + f / "gpt");
    INFO(o.err);
    REQUIRE(o.code == 1);
    REQUIRE_THAT(o.err, Contains(why));
  };
  refused("width", 1000000000, "options.json: a model of");
  refused("width", 1.5, "options.json: \"width\" is not a whole number");
  refused("layers", -1, "options.json: \"layers\" is -1");
  refused("heads", 3, "width 16 is not a multiple of 3 heads");
  refused("norm", "batch", "model.safetensors: ");
  refused("vocab", "ba",
          "options.json: offset 1: the characters of a vocabulary must be distinct and ascending");
  refused("context", json(json::value_t::discarded), "options.json: \"context\" is missing");
  std::ofstream(f / "gpt/options.json") << "[1]";
  REQUIRE_THAT(loupe_program("eval " + f / "gpt").err, Contains("options.json: not a JSON object"));

  fs::create_directories(f / "bert");
  fs::copy_file(f / "gpt/model.safetensors", f / "bert/model.safetensors");
  const auto embed = [&](const std::string& config) {
    std::ofstream(f / "bert/config.json") << config;
    const Output o = loupe_program("embed --model " + f / "bert text");
    REQUIRE(o.code == 1);
    return o.err;
  };
  const std::string sizes =
      "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"intermediate_size\":8,\"hidden_size\":4";
  REQUIRE_THAT(embed("{" + sizes + ",\"vocab_size\":2000000000}"),
               Contains("config.json: a model of") && Contains("model.safetensors holds"));
  REQUIRE_THAT(embed("{" + sizes + ",\"vocab_size\":0}"),
               Contains("config.json: \"vocab_size\" is 0"));
  REQUIRE_THAT(embed("{" + sizes + "}"), Contains("config.json: \"vocab_size\" is missing"));
  REQUIRE_THAT(embed("{" + sizes + ",\"vocab_size\":9,\"hidden_act\":\"relu\"}"),
               Contains("config.json: hidden_act \"relu\""));
  REQUIRE_THAT(embed("{"), Contains("config.json: not a JSON object"));
}
