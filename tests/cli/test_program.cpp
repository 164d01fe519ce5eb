// The program as a user runs it: in a process of its own, on the real data of the Debian packages.
#include "catch.h"

#include <loupe/io/file.h>

#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

namespace fs = std::filesystem;
using nlohmann::json;
using Catch::Matchers::Contains;

namespace {

struct Output {
  int code;
  std::string out, err;
};

// Runs `loupe ARGUMENTS` through the shell.
Output loupe_program(const std::string& arguments, const std::string& environment = "") {
  static int counter = 0;
  const std::string err = fs::temp_directory_path() / ("loupe_err_" + std::to_string(getpid()) + "_" + std::to_string(counter++));
  const std::string line = environment + " " LOUPE_PROGRAM " " + arguments + " 2>" + err;
  std::FILE* pipe = popen(line.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Output o;
  std::array<char, 4096> buffer;
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) o.out.append(buffer.data(), n);
  const int status = pclose(pipe);
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  o.err = loupe::read_file(err);
  fs::remove(err);
  return o;
}

json last_event(const std::string& out) {
  json last;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) last = json::parse(line);
  return last;
}

struct Folder {
  fs::path path = fs::temp_directory_path() / ("loupe_cli_" + std::to_string(getpid()));
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

const std::string kGpt = "train gpt --layers 1 --heads 2 --width 16 --context 16 --batch-size 4 --dropout 0.1 --json ";

}  // namespace

TEST_CASE("train cnn learns Fashion-MNIST, writes its folder, and eval agrees") {
  Folder f;
  const Output o = loupe_program("train cnn --steps 60 --seed 3 --json --out " + f / "run");
  INFO(o.err);
  REQUIRE(o.code == 0);
  const json r = last_event(o.out);
  REQUIRE(r["event"] == "result");
  REQUIRE(r["test_accuracy"].get<double>() > 0.7);
  REQUIRE(r["parameters"] == 278890);
  REQUIRE(r["steps"] == 60);
  REQUIRE(r["seed"] == 3);
  for (const char* name : {"model.safetensors", "options.json", "metrics.jsonl", "checkpoints"}) REQUIRE(fs::exists(f / ("run/" + std::string(name))));
  const json options = json::parse(loupe::read_file(f / "run/options.json"));
  REQUIRE(options["data_sha256"].get<std::string>().size() == 64);
  const Output e = loupe_program("eval --json " + f / "run");
  REQUIRE(e.code == 0);
  const json evaluated = last_event(e.out);
  REQUIRE(evaluated["test_accuracy"] == r["test_accuracy"]);
  int64_t total = 0;
  for (const auto& row : evaluated["confusion"])
    for (const auto& n : row) total += n.get<int64_t>();
  REQUIRE(total == 10000);
  REQUIRE(fs::file_size(f / "run/wrong.png") > 1000);
  REQUIRE_THAT(e.err, Contains("T-shirt"));
  REQUIRE_THAT(loupe_program("summary " + f / "run").out, Contains("278,890 parameters"));
}

TEST_CASE("the same bits at any thread count, at any prefetching, with and without files and TensorBoard") {
  Folder f;
  std::string cnn, gpt;
  for (const std::string& how : {std::string("--threads 1"), std::string("--threads 2"), "--threads 3 --out " + f / "a", "--threads 8 --logdir " + f / "b"}) {
    INFO(how);
    const json c = last_event(loupe_program("train cnn --steps 12 --json " + how).out), g = last_event(loupe_program(kGpt + "--steps 25 " + how).out);
    if (cnn.empty()) {
      cnn = c["weights_hash"];
      gpt = g["weights_hash"];
    }
    REQUIRE(c["weights_hash"] == cnn);
    REQUIRE(g["weights_hash"] == gpt);
  }
  REQUIRE(last_event(loupe_program(kGpt + "--steps 25 --seed 1").out)["weights_hash"] != gpt);
}

TEST_CASE("a killed run resumes to the bits of one that was never stopped; Ctrl-C keeps a checkpoint") {
  Folder f;
  const std::string arguments = kGpt + "--steps 400 --checkpoint-every 20 --out ";
  const json whole = last_event(loupe_program(arguments + f / "whole").out);
  for (const int signal : {SIGKILL, SIGINT}) {
    const std::string out = f / ("cut" + std::to_string(signal));
    const pid_t child = fork();
    if (child == 0) {
      (void)!freopen("/dev/null", "w", stdout);
      (void)!freopen("/dev/null", "w", stderr);
      execl("/bin/sh", "sh", "-c", ("exec " LOUPE_PROGRAM " " + arguments + out).c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 20000 && !fs::exists(out + "/checkpoints/step-000000020.safetensors"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    kill(child, signal);
    int status = 0;
    waitpid(child, &status, 0);
    if (signal == SIGINT && WIFEXITED(status)) REQUIRE((WEXITSTATUS(status) == 130 || WEXITSTATUS(status) == 0));
    const Output resumed = loupe_program(arguments + out + " --resume");
    REQUIRE_THAT(resumed.err, Contains("resumed at step"));
    REQUIRE(last_event(resumed.out)["weights_hash"] == whole["weights_hash"]);
    REQUIRE(last_event(resumed.out)["val_loss"] == whole["val_loss"]);
  }
}

TEST_CASE("train gpt learns the word list, sample writes, eval agrees") {
  Folder f;
  const json r = last_event(loupe_program("train gpt --layers 2 --width 32 --context 32 --steps 150 --json --out " + f / "run").out);
  REQUIRE(r["val_loss"].get<double>() < 2.75);
  const json e = last_event(loupe_program("eval --json " + f / "run").out);
  REQUIRE(e["val_loss"] == r["val_loss"]);
  const Output s = loupe_program("sample --length 60 --seed 5 " + f / "run");
  REQUIRE(s.code == 0);
  REQUIRE(s.out.size() == 62);  // the prompt's line break, 60 characters, the line's end
  REQUIRE(loupe_program("sample --length 60 --seed 5 " + f / "run").out == s.out);
  REQUIRE(loupe_program("sample --prompt Q " + f / "run").code == 1);  // not in the vocabulary
}

TEST_CASE("wrong use is a sentence and a code, never a crash") {
  Folder f;
  fs::create_directories(f.path);
  REQUIRE(loupe_program("").code != 0);
  REQUIRE_THAT(loupe_program("--help").out, Contains("train") && Contains("sample"));
  REQUIRE_THAT(loupe_program("train cnn --help").out, Contains("--batch-size") && Contains("[0.003]"));
  REQUIRE(loupe_program("train cnn --norm laye").code != 0);
  REQUIRE(loupe_program("train cnn --epochs 0").code != 0);
  const Output missing = loupe_program("train cnn --data /nowhere");
  REQUIRE(missing.code == 1);
  REQUIRE_THAT(missing.err, Contains("/nowhere") && Contains("dataset-fashion-mnist"));
  std::ofstream(f / "empty.txt");
  REQUIRE_THAT(loupe_program("train gpt --text " + f / "empty.txt").err, Contains("empty.txt"));
  std::ofstream(f / "short.txt") << "abc";
  REQUIRE(loupe_program("train gpt --text " + f / "short.txt").code == 1);
  std::ofstream(f / "bad.txt") << "abc\xff";
  REQUIRE_THAT(loupe_program("train gpt --text " + f / "bad.txt").err, Contains("offset 3"));
  REQUIRE_THAT(loupe_program("train gpt --resume --steps 1").err, Contains("--out"));
  REQUIRE_THAT(loupe_program("train gpt --width 30 --heads 4 --steps 1").err, Contains("30"));
  const Output nan = loupe_program("train gpt --layers 1 --width 16 --context 16 --steps 50 --lr 1e30 --optimizer sgd --schedule constant");
  REQUIRE(nan.code == 1);
  REQUIRE_THAT(nan.err, Contains("loss is") && Contains("step"));
  REQUIRE_THAT(loupe_program("summary", "LOUPE_CPU=v9").err, Contains("LOUPE_CPU=v9"));
}
