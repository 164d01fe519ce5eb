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
  REQUIRE_THAT(o.err, Contains("train: the ") && Contains(" at step ") && Contains("gpt.cpp:") &&
                          Contains("in transformer") && Contains("NaN or Inf") &&
                          Contains("the last checkpoint is of step"));
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
                            Contains("small_cnn.cpp:") && Contains("in fc"));
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

TEST_CASE("a number that is none, or outside its range, is named with the range") {
  const std::pair<const char*, const char*> cases[] = {
      {"train cnn --lr abc", "\"abc\" is not a number above 0"},
      {"train cnn --lr 0", "\"0\" is not a number above 0"},
      {"train cnn --lr -1", "\"-1\" is not a number above 0"},
      {"train cnn --lr nan", "\"nan\" is not a number above 0"},
      {"train cnn --lr inf", "\"inf\" is not a number above 0"},
      {"train cnn --weight-decay -1", "\"-1\" is not a number of at least 0"},
      {"train cnn --weight-decay nan", "\"nan\" is not"},
      {"train cnn --clip -1", "\"-1\" is not a number of at least 0"},
      {"train cnn --clip nan", "\"nan\" is not"},
      {"train cnn --label-smoothing nan", "\"nan\" is not a number from 0 to 0.9"},
      {"train cnn --validation -1", "\"-1\" is not a whole number of at least 0"},
      {"train cnn --validation 1.5", "\"1.5\" is not a whole number"},
      {"train cnn --epochs 0", "\"0\" is not a whole number of at least 1"},
      {"train cnn --epochs -1", "\"-1\" is not a whole number of at least 1"},
      {"train cnn --steps 1e3", "\"1e3\" is not a whole number of at least 1"},
      {"train cnn --steps 99999999999999999999", "is not a whole number of at least 1"},
      {"train cnn --batch-size -1", "\"-1\" is not a whole number of at least 1"},
      {"train cnn --checkpoint-every -1", "\"-1\" is not a whole number of at least 0"},
      {"train cnn --threads 257", "\"257\" is not a whole number from 0 to 256"},
      {"train gpt --validation nan", "\"nan\" is not a number from 0.001 to 0.9"},
      {"train gpt --dropout nan", "\"nan\" is not a number from 0 to 0.99"},
      {"train gpt --width -1", "\"-1\" is not a whole number of at least 1"},
      {"sample . --temperature nan", "\"nan\" is not a number of at least 0"},
      {"sample . --prompt ''", "is empty"},
      {"bench --seconds inf", "\"inf\" is not a number above 0"},
      {"lesson --seeds 0", "\"0\" is not a whole number from 1 to 1000"},
      {"train cnn --out ''", "is empty"},
      {"train cnn --seed -1", "\"-1\" is not a whole number from 0 to 2^64 - 1"},
      {"sample . --seed x", "\"x\" is not a whole number from 0"},
  };
  for (const auto& [arguments, why] : cases) {
    const Output o = loupe_program(arguments);
    INFO(arguments << "\n" << o.err);
    CHECK(o.code != 0);
    CHECK_THAT(o.err, Contains(why));
    CHECK(o.err.size() < 300);
  }
}

TEST_CASE("a word that is no command or option is named with the one that was meant") {
  const std::pair<const char*, const char*> cases[] = {
      {"trian", "no command \"trian\"; did you mean train?"},
      {"evaluate", "no command \"evaluate\"; there are train, eval"},
      {"train cn", "no network \"cn\"; did you mean cnn?"},
      {"train cnn --epoch 3", "cnn: there is no option --epoch; did you mean --epochs?"},
      {"train gpt --batchsize=3",
       "gpt: there is no option --batchsize; did you mean --batch-size?"},
      {"sample . --promt x", "sample: there is no option --promt; did you mean --prompt?"},
  };
  for (const auto& [arguments, why] : cases) {
    const Output o = loupe_program(arguments);
    INFO(arguments << "\n" << o.err);
    CHECK(o.code != 0);
    CHECK_THAT(o.err, Contains(why));
  }
}

TEST_CASE("every LOUPE_ variable is checked at the start") {
  const std::pair<const char*, const char*> refused[] = {
      {"LOUPE_FUSION=off", "LOUPE_FUSION=off: expected 0 (off) or 1 (on)"},
      {"LOUPE_WINOGRAD=yes", "LOUPE_WINOGRAD=yes: expected 0 (off) or 1 (on)"},
      {"LOUPE_NUM_THREADS=2x", "LOUPE_NUM_THREADS: \"2x\" is not a whole number from 1"},
      {"LOUPE_NUM_THREADS=0", "LOUPE_NUM_THREADS: \"0\" is not a whole number from 1"},
      {"LOUPE_CPU=v9", "LOUPE_CPU=v9"}};
  for (const auto& [variable, why] : refused) {
    const Output o = loupe_program("--version", variable);
    INFO(variable << "\n" << o.err);
    CHECK(o.code == 1);
    CHECK_THAT(o.err, Contains(why));
  }
  for (const char* good : {"LOUPE_FUSION=0", "LOUPE_FUSION=1", "LOUPE_WINOGRAD=0",
                           "LOUPE_FUSION=", "LOUPE_NUM_THREADS=3", "LOUPE_CPU=baseline"}) {
    const Output o = loupe_program("--version", good);
    CHECK(o.code == 0);
    CHECK(o.err.empty());
  }
  const Output unknown = loupe_program("--version", "LOUPE_FUSON=0");
  CHECK_THAT(unknown.err, Contains("LOUPE_FUSON means nothing here") && Contains("LOUPE_FUSION"));
}

TEST_CASE("a config.json that is no JSON is an error with line and column") {
  Folder f;
  fs::create_directories(f / "m");
  const std::pair<const char*, const char*> cases[] = {
      {"{\n  \"a\": 1,\n  \"layer_norm_eps\": NaN\n}", "3:21: NaN is no number of JSON's"},
      {"{\"a\": -Infinity}", "1:7: -Infinity is no number of JSON's"},
      {"{\n  // sizes\n  \"a\": 1}", "2:3: JSON has no comments"},
      {"{\n  \"a\": 1, /* b */\n}", "2:11: JSON has no comments"},
      {"{\"a\": 1,\n", "2:1, where it ends too early"},
      {"{\"a\" 1}", "1:6"},
      {"{\"a\": 1e999}", "out of range"},
      {"[1]", "not a JSON object"},
      {"", "1:1, where it ends too early"},
  };
  for (const auto& [text, why] : cases) {
    std::ofstream(f / "m/config.json") << text;
    const Output o = loupe_program("embed --model " + f / "m text");
    INFO(text << "\n" << o.err);
    CHECK(o.code == 1);
    CHECK_THAT(o.err, Contains("config.json: not a JSON object") && Contains(why));
  }
}

TEST_CASE(
    "text without a line break: what training recommends works; nothing held out is an error") {
  Folder f;
  const auto train = [&](const std::string& text, const std::string& more) {
    std::ofstream(f / "text", std::ios::binary) << text;
    return loupe_program(kGpt + "--steps 1 --text " + f / "text " + more);
  };
  std::string text;
  for (int i = 0; i < 40; ++i) text += "no line breaks here ";
  const Output trained = train(text, "--out " + f / "run");
  REQUIRE_THAT(trained.err, Contains("next: loupe sample "));
  const Output s = loupe_program("sample --length 20 " + f / "run");
  INFO(s.err);
  REQUIRE(s.code == 0);
  REQUIRE(s.out.size() == 22);  // the first character, 20 more, the line's end
  REQUIRE(s.out[0] == ' ');
  for (const auto& [share, left] : {std::pair{"0.001", "leaves 0"}, {"0.002", "leaves 1"}}) {
    const Output o = train(text, std::string("--validation ") + share);
    INFO(o.err);
    CHECK(o.code == 1);
    CHECK_THAT(o.err,
               Contains(left) && Contains("of the 800 characters") && Contains("2 are the least"));
    CHECK_THAT(o.err, !Contains("step"));
  }
  CHECK(train(text, "--validation 0.003").code == 0);
  std::ofstream(f / "one") << "n";
  CHECK_THAT(loupe_program("eval --text " + f / "one " + f / "run").err,
             Contains("has 1 characters, and 2 are the least"));
}

TEST_CASE("summary stays within 80 columns") {
  for (const char* model :
       {"small-cnn --batch-size 128", "resnet20 --batch-size 16", "gpt", "bert"}) {
    const Output o = loupe_program(std::string("summary ") + model);
    REQUIRE(o.code == 0);
    std::istringstream lines(o.out);
    size_t widest = 0;
    for (std::string line; std::getline(lines, line);) widest = std::max(widest, line.size());
    INFO(o.out);
    CHECK(widest <= 80);
    CHECK(widest > 50);
  }
  CHECK_THAT(loupe_program("summary bert").out, Contains("attention.self.query"));
}
