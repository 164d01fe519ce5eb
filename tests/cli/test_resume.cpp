// Whatever ends a run, it goes on from its last checkpoint and ends in the bits of the run that
// nothing disturbed.
#include "program.h"

#include <loupe/core/random.h>

#include <chrono>
#include <thread>

using Catch::Matchers::Contains;

namespace {

void sleep_ms(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

// What a run leaves, but for the times it took.
std::string metrics_of(const std::string& out) {
  std::string text;
  std::istringstream lines(loupe::read_file(out + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    json j = json::parse(line);
    for (const char* key : {"samples_per_second", "seconds", "train_seconds"}) j.erase(key);
    text += j.dump() + "\n";
  }
  return text;
}

// One training, killed after a random time and resumed, again and again.
void kill_often(const std::string& command, int kills, uint64_t seed) {
  Folder f;
  const auto from = std::chrono::steady_clock::now();
  const json whole = last_event(loupe_program(command + " --out " + f / "whole"));
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - from)
          .count();
  loupe::Rng rng(seed);
  // The longest wait: shorter when runs end before it, longer when they get nowhere.
  int64_t most = std::max<int64_t>(took * 3 / 4, 20);
  int unfinished = 0, progressed = 0;
  std::string out, newest;
  for (int i = 0, round = 0; i < kills; ++i) {
    if (out.empty()) out = f / ("cut" + std::to_string(round++));
    const pid_t child = start_loupe(command + " --resume --out " + out);
    sleep_ms(rng.integer(0, most));
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    std::string latest;
    if (fs::exists(out + "/checkpoints"))
      for (const auto& entry : fs::directory_iterator(out + "/checkpoints"))
        latest = std::max(latest, entry.path().string());
    const bool went_on = latest != newest;
    progressed += went_on;
    newest = latest;
    unfinished += WIFSIGNALED(status);
    if (!WIFSIGNALED(status)) most = std::max<int64_t>(most * 3 / 4, 20);
    if (WIFSIGNALED(status) && !went_on) most = most * 5 / 4;
    // Looked at now and then: the rest is resumed and goes on to be killed.
    if (i % 10 == 9 || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
      const json resumed = last_event(loupe_program(command + " --resume --out " + out));
      REQUIRE(resumed["state_hash"] == whole["state_hash"]);
      REQUIRE(resumed["weights_hash"] == whole["weights_hash"]);
      REQUIRE(metrics_of(out) == metrics_of(f / "whole"));
      out.clear();
    }
  }
  CHECK(unfinished > kills / 3);
  CHECK(progressed > kills / 10);
}

bool has_namespaces() { return shell("unshare -rm mount -t tmpfs none /mnt").code == 0; }

}  // namespace

TEST_CASE(
    "a killed run resumes to the bits of one that was never stopped; Ctrl-C keeps a checkpoint") {
  Folder f;
  const std::string arguments = kGpt + "--steps 400 --checkpoint-every 20 --out ";
  const json whole = last_event(loupe_program(arguments + f / "whole"));
  for (const int signal : {SIGKILL, SIGINT}) {
    const std::string out = f / ("cut" + std::to_string(signal));
    const pid_t child = start_loupe(arguments + out);
    for (int i = 0; i < 20000 && !fs::exists(out + "/checkpoints/step-000000020.safetensors"); ++i)
      sleep_ms(5);
    kill(child, signal);
    int status = 0;
    waitpid(child, &status, 0);
    if (signal == SIGINT && WIFEXITED(status))
      REQUIRE((WEXITSTATUS(status) == 130 || WEXITSTATUS(status) == 0));
    const Output resumed = loupe_program(arguments + out + " --resume");
    REQUIRE_THAT(resumed.err, Contains("resumed at step"));
    const json end = last_event(resumed);
    REQUIRE(end["state_hash"] == whole["state_hash"]);
    REQUIRE(end["weights_hash"] == whole["weights_hash"]);
    REQUIRE(end["val_loss"] == whole["val_loss"]);
    if (signal == SIGKILL)
      REQUIRE(metrics_of(out) == metrics_of(f / "whole"));  // Ctrl-C evaluates once more
  }
}

TEST_CASE("a GPT killed at random moments ends in the same bits", "[heavy]") {
  kill_often(kGpt + "--steps 300 --checkpoint-every 5", 8, 1);
}

TEST_CASE("trainings killed at 100 random moments end in the same bits", "[.full]") {
  Folder f;
  write_small_mnist(f / "mnist");
  kill_often(kGpt + "--steps 400 --checkpoint-every 5", 60, 2);
  kill_often(small_cnn(f / "mnist") + "--steps 24 --checkpoint-every 1", 40, 3);
}

TEST_CASE(
    "resuming starts afresh where there is nothing, and a new run does not touch an earlier one's "
    "checkpoints") {
  Folder f;
  const std::string run = kGpt + "--steps 6 --checkpoint-every 2 --out " + f / "run";
  const Output fresh = loupe_program(run + " --resume");
  REQUIRE_THAT(fresh.err, Contains("no checkpoint yet: starting at step 0"));
  const auto listing = [&] {
    return shell("cd " +
                 f / "run && sha256sum checkpoints/* model.safetensors options.json metrics.jsonl")
        .out;
  };
  const std::string before = listing();
  const Output again = loupe_program(run);
  REQUIRE(again.code == 1);
  REQUIRE_THAT(again.err, Contains("holds checkpoints of an earlier run") && Contains("--resume"));
  // Another model, optimizer or program: a sentence, and nothing is touched.
  const auto other = [&](const std::string& option, const std::string& why) {
    const Output o = loupe_program(run + " --resume " + option);
    INFO(o.err);
    REQUIRE(o.code == 1);
    REQUIRE_THAT(o.err, Contains("step-000000006.safetensors was made with " + why));
  };
  other("--norm rms", "norm \"layer\", this run has \"rms\"");
  other("--optimizer sgd", "lr 0.004, this run has 0.1");
  other("--seed 5", "seed 0, this run has 5");
  other("--clip 1", "clip 0.0, this run has 1.0");
  REQUIRE(listing() == before);
  // A flipped byte in the newest: the one before is taken.
  const std::string newest = f / "run/checkpoints/step-000000006.safetensors";
  std::string bytes = loupe::read_file(newest);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
  std::ofstream(newest, std::ios::binary) << bytes;
  const Output passed = loupe_program(run + " --resume");
  REQUIRE_THAT(passed.err,
               Contains("passed over") && Contains("damaged") && Contains("resumed at step 5"));
  REQUIRE(last_event(passed)["state_hash"] == last_event(fresh)["state_hash"]);
  // More threads change nothing.
  REQUIRE(last_event(loupe_program(run + " --resume --threads 3"))["state_hash"] ==
          last_event(fresh)["state_hash"]);
}

TEST_CASE(
    "a disk that fills up, one that turns read-only, a folder that vanishes: the earlier "
    "checkpoints stay") {
  Folder f;
  const std::string command =
      LOUPE_PROGRAM " " + kGpt + "--steps 40 --checkpoint-every 4 --keep 100";
  const json whole = last_event(shell(command));
  if (has_namespaces()) {
    // 300 kB take a few of the ten checkpoints of about 60 kB.
    const std::string out = " --out /mnt/run", list = "ls /mnt/run/checkpoints; ";
    const Output o =
        shell("unshare -rm sh -c 'mount -t tmpfs -o size=300k none /mnt; " + command + out +
              "; echo code $? >&2; " + list + "mount -o remount,ro /mnt; " + command + out +
              " --resume >/dev/null; echo code $? >&2; " + list +
              "mount -o remount,rw,size=20m /mnt; " + list + command + out + " --resume'");
    INFO(o.err);
    REQUIRE_THAT(o.err, Contains("No space left on device") && Contains("Read-only file system") &&
                            Contains("resumed at step"));
    size_t codes = 0;
    for (size_t at = o.err.find("code 1"); at != std::string::npos;
         at = o.err.find("code 1", at + 1))
      ++codes;
    REQUIRE(codes == 2);
    REQUIRE_THAT(o.out, Contains("step-000000004.safetensors") && !Contains(".partial\nstep"));
    REQUIRE(last_event({0, o.out.substr(o.out.rfind("{\"event\":\"result\"")), ""})["state_hash"] ==
            whole["state_hash"]);
  } else {
    WARN("no user namespaces here: the full and the read-only disk are not tried");
  }
  // A limit on the size of files is an error of write, not the end by a signal.
  const Output limited = shell("ulimit -f 20; " + command + " --out " + f / "limited");
  REQUIRE(limited.code == 1);
  REQUIRE_THAT(limited.err, Contains("File too large"));
  REQUIRE(fs::is_empty(f / "limited/checkpoints"));
  // The folder goes while the run is under way: it is made again.
  const std::string out = f / "gone";
  const pid_t child = start_loupe(kGpt + "--steps 400 --checkpoint-every 4 --out " + out);
  for (int i = 0; i < 20000 && !fs::exists(out + "/checkpoints/step-000000004.safetensors"); ++i)
    sleep_ms(2);
  fs::rename(out, f / "elsewhere");
  int status = 0;
  waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  REQUIRE(fs::exists(out + "/model.safetensors"));
  REQUIRE_THAT(
      loupe_program(kGpt + "--steps 400 --checkpoint-every 4 --resume --out " + f / "elsewhere")
          .err,
      Contains("resumed at step"));
}
