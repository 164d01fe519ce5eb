// A run of the program is decided by its seed, data and options alone.
#include "program.h"

using Catch::Matchers::Contains;

TEST_CASE(
    "the same bits at any number of threads, with and without files, TensorBoard and progress bar",
    "[heavy]") {
  Folder f;
  write_small_mnist(f / "mnist");
  const std::string cnn = small_cnn(f / "mnist") + "--steps 12 ", gpt = kGpt + "--steps 25 ";
  const json c = last_event(loupe_program(cnn + "--threads 1")),
             g = last_event(loupe_program(gpt + "--threads 1"));
  const std::string hash_c = c["state_hash"], hash_g = g["state_hash"];
  REQUIRE(hash_c.size() == 64);
  for (const std::string& how :
       {std::string("--threads 1"), std::string("--threads 2"), "--threads 3 --out " + f / "a",
        "--threads 8 --logdir " + f / "b"}) {
    INFO(how);
    const json again_c = last_event(loupe_program(cnn + how)),
               again_g = last_event(
                   loupe_program(gpt + how + (how.find(" --out") != std::string::npos ? "g" : "")));
    REQUIRE(again_c["state_hash"] == hash_c);
    REQUIRE(again_c["weights_hash"] == c["weights_hash"]);
    REQUIRE(again_c["test_accuracy"] == c["test_accuracy"]);
    REQUIRE(again_g["state_hash"] == hash_g);
    REQUIRE(again_g["val_loss"] == g["val_loss"]);
  }
  const Output bar = loupe_on_terminal(gpt);
  REQUIRE_THAT(bar.err, Contains("[###"));
  REQUIRE(last_event(bar)["state_hash"] == hash_g);
  REQUIRE(last_event(loupe_program(gpt + "--seed 1"))["state_hash"] != hash_g);
}

TEST_CASE("the same bits with the pthread and the openmp build of OpenBLAS") {
  const std::string folder = "/usr/lib/x86_64-linux-gnu/openblas-";
  if (!fs::exists(folder + "openmp/libopenblas.so.0") ||
      !fs::exists(folder + "pthread/libopenblas.so.0")) {
    WARN("libopenblas0-openmp and libopenblas0-pthread are not both here");
    return;
  }
  Folder f;
  write_small_mnist(f / "mnist");
  json seen[2];
  std::string version[2];
  for (const int openmp : {0, 1}) {
    const std::string environment = "LD_LIBRARY_PATH=" + folder + (openmp ? "openmp" : "pthread");
    version[openmp] = loupe_program("--version", environment).out;
    for (const std::string& command : {small_cnn(f / "mnist") + "--steps 12", kGpt + "--steps 25"})
      seen[openmp].push_back(last_event(loupe_program(command, environment))["state_hash"]);
  }
  INFO(version[0] << version[1]);
  REQUIRE(version[0] != version[1]);  // it was another library
  REQUIRE(seen[0] == seen[1]);
}
