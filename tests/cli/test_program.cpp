// The commands of the program on the real data of the Debian packages. [heavy]: too slow for the
// sanitizers' builds.
#include "program.h"

using Catch::Matchers::Contains;

TEST_CASE("train cnn learns Fashion-MNIST, writes its folder, and eval agrees", "[heavy]") {
  Folder f;
  const Output o = loupe_program("train cnn --steps 60 --seed 3 --json --out " + f / "run");
  INFO(o.err);
  REQUIRE(o.code == 0);
  const json r = last_event(o);
  REQUIRE(r["event"] == "result");
  REQUIRE(r["test_accuracy"].get<double>() > 0.7);
  REQUIRE(r["parameters"] == 278890);
  REQUIRE(r["steps"] == 60);
  REQUIRE(r["seed"] == 3);
  for (const char* name : {"model.safetensors", "options.json", "metrics.jsonl", "checkpoints"})
    REQUIRE(fs::exists(f / ("run/" + std::string(name))));
  const json options = json::parse(loupe::read_file(f / "run/options.json"));
  REQUIRE(options["data_sha256"].get<std::string>().size() == 64);
  const Output e = loupe_program("eval --json " + f / "run");
  REQUIRE(e.code == 0);
  const json evaluated = last_event(e);
  REQUIRE(evaluated["test_accuracy"] == r["test_accuracy"]);
  int64_t total = 0;
  for (const auto& row : evaluated["confusion"])
    for (const auto& n : row) total += n.get<int64_t>();
  REQUIRE(total == 10000);
  REQUIRE(fs::file_size(f / "run/wrong.png") > 1000);
  REQUIRE_THAT(e.err, Contains("T-shirt"));
  REQUIRE_THAT(loupe_program("summary " + f / "run").out, Contains("278,890 parameters"));
}

TEST_CASE("train gpt learns the word list, sample writes, eval agrees", "[heavy]") {
  Folder f;
  const json r = last_event(loupe_program(
      "train gpt --layers 2 --width 32 --context 32 --steps 150 --json --out " + f / "run"));
  REQUIRE(r["val_loss"].get<double>() < 2.75);
  const json e = last_event(loupe_program("eval --json " + f / "run"));
  REQUIRE(e["val_loss"] == r["val_loss"]);
  const Output s = loupe_program("sample --length 60 --seed 5 " + f / "run");
  REQUIRE(s.code == 0);
  REQUIRE(s.out.size() == 62);  // the prompt's line break, 60 characters, the line's end
  REQUIRE(loupe_program("sample --length 60 --seed 5 " + f / "run").out == s.out);
  REQUIRE(loupe_program("sample --prompt Q " + f / "run").code == 1);  // not in the vocabulary
}

TEST_CASE("every command, on small data") {
  Folder f;
  write_small_mnist(f / "mnist");
  std::ofstream(f / "text") << std::string(40, 'a') + "bcdefgh ijklmn\n" + std::string(400, 'o');
  const json cnn =
      last_event(loupe_program(small_cnn(f / "mnist") + "--steps 3 --out " + f / "cnn"));
  REQUIRE(last_event(loupe_program("eval --json " + f / "cnn"))["test_accuracy"] ==
          cnn["test_accuracy"]);
  REQUIRE_THAT(loupe_program("summary " + f / "cnn").out, Contains("278,890 parameters"));
  const json gpt =
      last_event(loupe_program(kGpt + "--steps 3 --text " + f / "text --out " + f / "gpt"));
  REQUIRE(last_event(loupe_program("eval --json " + f / "gpt"))["val_loss"] == gpt["val_loss"]);
  const Output s = loupe_program("sample --length 30 --prompt ab --seed 5 " + f / "gpt");
  REQUIRE(s.code == 0);
  REQUIRE(s.out.size() == 33);
  REQUIRE(loupe_program("sample --length 30 --prompt ab --seed 5 " + f / "gpt").out == s.out);
  REQUIRE_THAT(loupe_program("summary gpt").out, Contains("parameters"));
  REQUIRE_THAT(loupe_program("inspect " + f / "gpt/model.safetensors").out,
               Contains("transformer.wte.weight"));
  const Output pictures = loupe_program("pictures " + f / "cnn" + " --logdir " + f / "board");
  INFO(pictures.err);
  REQUIRE(pictures.code == 0);
  for (const char* file : {"index.html", "filters-conv1.png", "liked-conv4.png", "depth.svg"})
    REQUIRE(fs::file_size(f / ("cnn/pictures/" + std::string(file))) > 500);
  REQUIRE(fs::file_size(fs::directory_iterator(f / "board")->path()) > 10000);
  REQUIRE(loupe_program("pictures " + f / "gpt" + " --out " + f / "album").code == 0);
  REQUIRE_THAT(loupe::read_file(f / "album/index.html"),
               Contains("attention-transformer.h.0.attn"));
  for (const char* run : {"cnn", "gpt"}) {
    const std::string file = f / run + std::string(".onnx");
    const Output o = loupe_program("export " + f / run + " --fold-batch-norm --onnx " + file);
    INFO(o.err);
    REQUIRE(o.code == 0);
    REQUIRE_THAT(o.out, Contains("wrote " + file));
    REQUIRE_THAT(loupe::read_file(file),
                 Contains(run == std::string("cnn") ? "conv4.weight" : "lm_head"));
  }
  REQUIRE(loupe_program("export " + f / "mnist --onnx " + f / "x.onnx").code == 1);
  REQUIRE(loupe_program("--version").out.rfind("loupe 0.", 0) == 0);
}

TEST_CASE(
    "shadow mode on every training command: a table with ulps, source line, module path and "
    "kernel") {
  Folder f;
  write_small_mnist(f / "mnist");
  std::ofstream(f / "text") << std::string(500, 'a') + "bcdefgh ijklmn\n" + std::string(100, 'o');
  const Output cnn = loupe_program(small_cnn(f / "mnist") + "--shadow 2 --steps 3"),
               gpt = loupe_program(kGpt + "--shadow 2 --steps 3 --text " + f / "text");
  REQUIRE(cnn.code == 0);
  REQUIRE_THAT(cnn.err, Contains("ulps") && Contains("small_cnn.cpp:") && Contains("conv2") &&
                            Contains("winograd") && Contains("bound 6.1e-05"));
  REQUIRE(gpt.code == 0);
  REQUIRE_THAT(gpt.err, Contains("gpt.cpp:") && Contains("transformer.h.0.attn") &&
                            Contains("flash") && !Contains("no f64 twin"));
  // Shadowing changes nothing.
  REQUIRE(last_event(cnn)["state_hash"] ==
          last_event(loupe_program(small_cnn(f / "mnist") + "--steps 3"))["state_hash"]);
}

TEST_CASE("live repeats a run of the page: settings, changes and threads") {
  const std::string line = "live net=spirals norm=batch lr=0.1 seed=2 --steps 30 --json ";
  const json plain = last_event(loupe_program(line));
  CHECK(plain["steps"] == 30);
  CHECK(plain["weights_hash"] == last_event(loupe_program(line + "--threads 1"))["weights_hash"]);
  const std::string changes = "--change 10:lr=0.3 --change 20:optimizer=adam";
  CHECK(plain["weights_hash"] != last_event(loupe_program(line + changes))["weights_hash"]);
  // A change at a step that is not reached is none.
  CHECK(plain["weights_hash"] ==
        last_event(loupe_program(line + "--change 30:lr=0.3"))["weights_hash"]);
  Folder f;
  write_small_mnist(f / "mnist");
  CHECK(last_event(loupe_program("live net=cnn batch=8 --steps 2 --json --data " +
                                 f / "mnist"))["steps"] == 2);
  for (const char* wrong :
       {"live net=none", "live lr", "live --change lr=1", "live --change 1:seed=2",
        "live --change x1:lr=2", "live net=small-cnn norm=dyt --steps 1"})
    CHECK(loupe_program(wrong).code == 1);
  CHECK_THAT(loupe_program("live --change lr=1").err, Contains("STEP:NAME=VALUE"));
}
