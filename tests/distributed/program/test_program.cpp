// `mpirun -n N loupe train ...`, as a user runs it.
#include "cli/program.h"

#include <chrono>
#include <cmath>
#include <thread>

using Catch::Matchers::Contains;

namespace {

using Clock = std::chrono::steady_clock;

std::string under_mpirun(int ranks, const std::string& arguments) {
  return "sh " LOUPE_SOURCE_ROOT "/tests/distributed/mpirun.sh " LOUPE_MPIRUN " " +
         std::to_string(ranks) + " " LOUPE_PROGRAM " " + arguments;
}

Output ranks(int n, const std::string& arguments) { return shell(under_mpirun(n, arguments)); }

std::string small_text(const Folder& f) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += std::to_string(i * i % 977) + (i % 7 ? " " : "\n");
  loupe::write_file(f / "text", text);
  return "train gpt --json --layers 1 --heads 2 --width 16 --context 16 --batch-size 7 --text " +
         f / "text";
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream stat(entry.path() / "stat");
    std::string pid, rest;
    stat >> pid;
    std::getline(stat, rest);
    const size_t name_ends = rest.rfind(')');
    if (name_ends == std::string::npos) continue;
    std::istringstream after(rest.substr(name_ends + 1));
    char state = 0;
    pid_t its_parent = 0;
    after >> state >> its_parent;
    if (its_parent == parent) found.push_back(std::stoi(pid));
  }
  return found;
}

// Starts three ranks and returns mpirun's number once the first checkpoint is there.
pid_t start_until_checkpoint(const std::string& train, const std::string& run,
                             const std::string& log) {
  const pid_t mpirun = fork();
  REQUIRE(mpirun >= 0);
  if (mpirun == 0) {
    const std::string line = "exec " + under_mpirun(3, train) + " >" + log + " 2>&1";
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  const auto deadline = Clock::now() + std::chrono::seconds(60);
  while (!fs::exists(run + "/checkpoints/step-000000050.safetensors") && Clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return mpirun;
}

}  // namespace

TEST_CASE("one rank is the program without mpirun, and more follow it") {
  const Folder f;
  const std::string train = small_text(f) + " --steps 30";
  const json alone = last_event(shell("LOUPE_NUM_THREADS=1 " LOUPE_PROGRAM " " + train));
  const json one = last_event(ranks(1, train));
  CHECK(one["weights_hash"] == alone["weights_hash"]);
  CHECK(one["state_hash"] == alone["state_hash"]);
  for (const int n : {2, 3}) {
    const json many = last_event(ranks(n, train));
    CHECK(many["ranks"] == n);
    CHECK(std::fabs(many["val_loss"].get<double>() - one["val_loss"].get<double>()) < 1e-5);
    CHECK(last_event(ranks(n, train))["weights_hash"] == many["weights_hash"]);
  }
}

TEST_CASE("a CNN with synchronised norms trains on several ranks, one sample among them") {
  const Folder f;
  write_small_mnist(f / "data", 34, 40);
  const std::string train = "train cnn --json --dataset mnist --epochs 1 --batch-size 16 --data " +
                            f / "data" + " --sync-norm";
  // The last batch has two images: the third rank has none.
  const Output o = ranks(3, train + " --out " + f / "run");
  INFO(o.err);
  const json e = last_event(o);
  CHECK(o.code == 0);
  CHECK(e["steps"] == 3);
  CHECK(std::count(o.out.begin(), o.out.end(), '\n') == 2);  // one rank speaks: eval and result
  const json options = json::parse(loupe::read_file(f / "run/options.json"));
  CHECK(options["sync_norm"] == true);
  // Every test image counts once, on however many ranks: the weights say what the accuracy is.
  const json again =
      last_event(loupe_program("eval --json --data " + f / "data" + " " + f / "run"));
  CHECK(again["test_accuracy"] == e["test_accuracy"]);
  const Output refused = ranks(2, train + " --logdir " + f / "board");
  CHECK(refused.code != 0);
  CHECK_THAT(refused.err, Contains("--sync-norm"));
}

TEST_CASE("the lesson's runs are spread over the ranks, and its questions have the same answers") {
  const Folder f;
  const std::string lesson = "lesson --tiny --threads 1 --claims C7,C12 --out ";
  const Output alone = loupe_program(lesson + f / "one");
  REQUIRE(alone.code == 0);
  const Output two = ranks(2, lesson + f / "two");
  INFO(two.err);
  REQUIRE(two.code == 0);
  CHECK(std::count(two.err.begin(), two.err.end(), '\n') ==
        std::count(alone.err.begin(), alone.err.end(), '\n'));  // one rank speaks
  CHECK(loupe::read_file(f / "two/questions.jsonl") == loupe::read_file(f / "one/questions.jsonl"));
  // Runs of a file are given to the other ranks, and not repeated.
  const Output again = ranks(3, lesson + f / "two" + " --resume");
  CHECK(again.code == 0);
  const auto lines = [](const std::string& file) {
    const std::string text = loupe::read_file(file);
    return std::count(text.begin(), text.end(), '\n');
  };
  CHECK(lines(f / "two/runs.jsonl") == lines(f / "one/runs.jsonl"));
  CHECK(loupe::read_file(f / "two/questions.jsonl") == loupe::read_file(f / "one/questions.jsonl"));
  const Output refused = ranks(2, "lesson --tiny --claims C7 --out " + f / "two");
  CHECK(refused.code != 0);
  CHECK_THAT(refused.err, Contains("holds runs"));
}

// Failure 12.
TEST_CASE("a checkpoint of three ranks is resumed by any number") {
  const Folder f;
  const std::string train = small_text(f) + " --steps 60 --checkpoint-every 20 --keep 9 --out ";
  const json whole = last_event(ranks(3, train + f / "run"));
  for (const auto& file : fs::directory_iterator(f / "run/checkpoints"))
    if (file.path().filename() > "step-000000020.safetensors") fs::remove(file.path());
  for (const int n : {1, 2, 4}) {
    const std::string own = f / std::to_string(n);
    fs::copy(f / "run", own, fs::copy_options::recursive);
    const Output o = ranks(n, train + own + " --resume");
    CHECK_THAT(o.err, Contains("resumed at step 20"));
    const json other = last_event(o);
    CHECK(other["steps"] == 60);
    // The same batches: nothing but rounding differs.
    CHECK(std::fabs(other["val_loss"].get<double>() - whole["val_loss"].get<double>()) < 1e-5);
  }
}

TEST_CASE("a killed rank ends the job, which resumes to the same bits") {
  const Folder f;
  const std::string train =
      small_text(f) + " --dropout 0.1 --steps 600 --checkpoint-every 50 --out ";
  const json whole = last_event(ranks(3, train + f / "whole"));

  const std::string log = f / "log";
  const pid_t mpirun = start_until_checkpoint(train + f / "run", f / "run", log);
  int struck = 0;
  for (const pid_t pid : children_of(mpirun)) {
    const std::string its = loupe::read_file("/proc/" + std::to_string(pid) + "/environ");
    if (its.find("OMPI_COMM_WORLD_RANK=2") == std::string::npos) continue;
    kill(pid, SIGKILL);
    ++struck;
  }
  REQUIRE(struck == 1);
  const auto killed = Clock::now();
  int status = 0;
  waitpid(mpirun, &status, 0);
  const std::chrono::duration<double> taken = Clock::now() - killed;
  const std::string said = loupe::read_file(log);
  INFO(said);
  CHECK(taken.count() < 8);
  CHECK(status != 0);
  CHECK_THAT(said, Contains("rank 2") && Contains("at step"));

  const json resumed = last_event(ranks(3, train + f / "run" + " --resume"));
  CHECK(resumed["weights_hash"] == whole["weights_hash"]);
  CHECK(resumed["state_hash"] == whole["state_hash"]);

  // Ctrl-C, which mpirun hands on: all ranks stop after the same step, and the first one keeps it.
  const std::string endless = small_text(f) + " --steps 100000 --checkpoint-every 50 --out ";
  const pid_t asked = start_until_checkpoint(endless + f / "asked", f / "asked", log);
  kill(asked, SIGTERM);
  waitpid(asked, &status, 0);
  const std::string last_words = loupe::read_file(log);
  INFO(last_words);
  const size_t at = last_words.find("interrupted at step ");
  REQUIRE(at != std::string::npos);
  char name[64];
  std::snprintf(name, sizeof name, "asked/checkpoints/step-%09d.safetensors",
                std::stoi(last_words.substr(at + 20)));
  CHECK(fs::exists(f / name));
}
