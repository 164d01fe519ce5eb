// The program among others: full disks, closed descriptors, broken pipes, signals.
#include "program.h"

#include <fcntl.h>

#include <chrono>
#include <functional>
#include <thread>

using Catch::Matchers::Contains;

namespace {

struct Runs {
  Folder f;
  std::string cnn, gpt, mnist;
  Runs() : cnn(f / "cnn"), gpt(f / "gpt"), mnist(f / "mnist") {
    write_small_mnist(mnist);
    std::ofstream(f / "text") << std::string(40, 'a') + "bcdefgh ijklmn\n" + std::string(400, 'o');
    REQUIRE(loupe_program(small_cnn(mnist) + "--steps 1 --out " + cnn).code == 0);
    REQUIRE(loupe_program(kGpt + "--steps 1 --text " + f / "text --out " + gpt).code == 0);
  }
};

const std::string kSentences = std::string(LOUPE_FIXTURES) + "/files/sentences";

void sleep_ms(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

struct Ended {
  int status;
  double seconds;  // from the signal to the end
  int code() const { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }
};

/// Starts a command, sends a signal once `ready` says so, and waits.
Ended end_by(const std::string& arguments, int signal, const std::function<bool()>& ready) {
  const pid_t child = start_loupe(arguments);
  // Before it is the program it is a copy of this one, with this one's handlers.
  const std::string name = "/proc/" + std::to_string(child) + "/comm";
  for (int i = 0; i < 20000 && loupe::read_file(name) != "loupe\n"; ++i) sleep_ms(1);
  for (int i = 0; i < 20000 && !ready(); ++i) sleep_ms(5);
  const auto from = std::chrono::steady_clock::now();
  kill(child, signal);
  Ended e{};
  REQUIRE(waitpid(child, &e.status, 0) == child);
  e.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  return e;
}

std::function<bool()> after_ms(int64_t ms) {
  return [until = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms)] {
    return std::chrono::steady_clock::now() >= until;
  };
}

}  // namespace

TEST_CASE("output to a full disk is an error of every command") {
  if (access("/dev/full", W_OK) != 0) return;
  const Runs r;
  const std::string commands[] = {"--version",
                                  "--help",
                                  "train cnn --help",
                                  "inspect " + r.cnn + "/model.safetensors",
                                  "inspect --json " + r.cnn + "/model.safetensors",
                                  "eval " + r.cnn,
                                  "eval --json " + r.gpt,
                                  "sample --length 5 " + r.gpt,
                                  "sample --json --length 5 " + r.gpt,
                                  "embed --model " + kSentences + " hello",
                                  "embed --json --model " + kSentences + " hello",
                                  "summary gpt",
                                  "bench --seconds 0.01 --work mlp",
                                  "bench --json --seconds 0.01 --work mlp",
                                  small_cnn(r.mnist) + "--steps 1"};
  for (const std::string& command : commands) {
    INFO(command);
    const Output o = loupe_program(command + " >/dev/full");
    CHECK(o.code == 1);
    CHECK_THAT(o.err, Contains("standard output: cannot write: No space left on device"));
    CHECK(loupe_program(command + " >/dev/null").code == 0);
  }
}

TEST_CASE("descriptors that were closed at the start are no file's") {
  const Runs r;
  const std::string weights = r.cnn + "/model.safetensors", before = loupe::read_file(weights);
  const Output no_out = loupe_program("inspect " + weights + " >&-");
  CHECK(no_out.code == 1);
  CHECK_THAT(no_out.err, Contains("standard output: cannot write"));
  CHECK(loupe_program("inspect " + weights + " 2>&-").code == 0);
  CHECK(loupe_program("inspect " + weights + " <&-").code == 0);
  CHECK(loupe_program("inspect " + weights + " <&- 2>&-").code == 0);
  CHECK(loupe_program("inspect /nowhere <&- >&- 2>&-").code != 0);
  CHECK_THAT(loupe_program("embed --model " + kSentences + " --file - <&-").err,
             Contains("standard input: cannot read"));
  CHECK(loupe::read_file(weights) == before);
  // A training whose standard error is closed writes no word of it into its files.
  const std::string out = r.f / "closed";
  CHECK(loupe_program(small_cnn(r.mnist) + "--steps 3 --out " + out + " <&- 2>&-").code == 0);
  std::istringstream lines(loupe::read_file(out + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) CHECK(json::parse(line).is_object());
  CHECK(loupe_program("inspect " + out + "/model.safetensors").code == 0);
}

TEST_CASE("a reader that goes away ends the program in silence") {
  const Runs r;
  for (const char* shield : {"", "trap '' PIPE; "}) {
    const Output o = shell(std::string(shield) + "{ " LOUPE_PROGRAM " sample --length 3000 " +
                           r.gpt + "; echo code $? >&2; } | true");
    INFO(o.err);
    CHECK_THAT(o.err, Contains("code 141"));
    CHECK_THAT(o.err, !Contains("loupe:"));
  }
  CHECK(shell(LOUPE_PROGRAM " --help | head -1").err.empty());
}

TEST_CASE("the first Ctrl-C or SIGTERM ends every command, with the status that says so") {
  const Runs r;
  // A text and a model for which these commands take minutes.
  const std::string large = r.f / "large";
  std::string text;
  for (int i = 0; i < 300000; ++i) text += static_cast<char>('a' + i * 15LL % 26);
  std::ofstream(r.f / "long") << text;
  REQUIRE(loupe_program("train gpt --layers 2 --heads 2 --width 128 --context 64 --steps 1 "
                        "--validation 0.001 --text " +
                        r.f / "long --out " + large)
              .code == 0);
  const std::string train =
      "train gpt --layers 2 --heads 2 --width 128 --steps 100000 --text " + r.f / "long";
  const std::string commands[] = {"bench --seconds 1000 --work mlp",
                                  "sample --length 1000000 " + large,
                                  "eval --text " + r.f / "long " + large, train};
  for (const std::string& command : commands)
    for (const int signal : {SIGINT, SIGTERM}) {
      INFO(command << " " << signal);
      const Ended e = end_by(command, signal, after_ms(400));
      CHECK(e.code() == 128 + signal);
      CHECK(e.seconds < 10);
    }
  // At once after the start, too: before there is a first step.
  for (const int64_t ms : {0, 20, 60}) {
    const Ended e = end_by(train, SIGINT, after_ms(ms));
    CHECK(e.code() == 130);
  }
}

TEST_CASE("Ctrl-C says where it stopped and how to go on; the bar goes on from there") {
  const Runs r;
  const std::string out = r.f / "cut", log = r.f / "log";
  const std::string command =
      "train gpt --layers 1 --heads 2 --width 16 --context 16 --batch-size 4 --steps 300 "
      "--checkpoint-every 20 --text " +
      r.f / "text --out " + out;
  const pid_t child = fork();
  if (child == 0) {
    const std::string line = "exec " LOUPE_PROGRAM " " + command + " >" + log + " 2>&1";
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  for (int i = 0; i < 20000 && !fs::exists(out + "/checkpoints/step-000000020.safetensors"); ++i)
    sleep_ms(2);
  kill(child, SIGINT);
  int status = 0;
  waitpid(child, &status, 0);
  const std::string said = loupe::read_file(log);
  INFO(said);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 130);
  CHECK_THAT(said, Contains("interrupted at step ") && Contains(" of 300; go on with") &&
                       Contains("--resume") && !Contains("next: loupe sample"));
  CHECK_THAT(said, !Contains("0:00 left"));
  const Output resumed = loupe_on_terminal(command + " --resume");
  CHECK(resumed.code == 0);
  CHECK_THAT(resumed.err, Contains("/300 loss") && !Contains(" 1/") && !Contains("] 1/"));
  CHECK(resumed.err.find("300/300") != std::string::npos);
  // Without a folder there is nothing to go on with.
  std::ofstream(log).close();  // what is read below must come from the next run
  const pid_t bare = fork();
  if (bare == 0) {
    const std::string line = "exec " LOUPE_PROGRAM " " + kGpt + "--steps 100000 --text " +
                             r.f / "text >/dev/null 2>" + log;
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  for (int i = 0; i < 4000 && loupe::read_file(log).find("samples/s") == std::string::npos; ++i)
    sleep_ms(5);
  kill(bare, SIGTERM);
  waitpid(bare, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 143);
  CHECK_THAT(loupe::read_file(log), Contains("a run with --out can be resumed"));
}
