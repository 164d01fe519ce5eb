// The scheduler: results independent of workers and order, resume, shared runs, errors and
// stopping.
#include <loupe/core/threads.h>
#include <loupe/lesson/effort.h>
#include <loupe/lesson/runs.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <random>

#include "catch.h"

using namespace loupe;
using namespace loupe::lesson;

namespace {
Job job(const std::string& arm, uint64_t seed, std::atomic<int>& made) {
  Job j;
  j.record.claim = "C0";
  j.record.arm = arm;
  j.record.seed = seed;
  j.record.config = {{"norm", arm}, {"lr", "0.1"}};
  j.make = [&made, arm](Record& r) {
    std::this_thread::sleep_for(std::chrono::milliseconds((r.seed * 7) % 5));
    r.metrics["accuracy"] = 1.0 / 3 + static_cast<double>(r.seed) * (arm == "batch" ? 0.1 : 0.2);
    r.metrics["threads"] = thread_limit();
    r.series["loss"] = {2.3, NAN};
    r.dead = r.seed == 4;
    ++made;
  };
  return j;
}
std::string temporary(const char* name) {
  const auto path =
      std::filesystem::temp_directory_path() / fmt::format("loupe_{}_{}", name, ::getpid());
  std::filesystem::remove(path);
  return path.string();
}
}  // namespace

TEST_CASE("runs come back in the order asked for, whatever the workers did", "[runs]") {
  std::atomic<int> made{0};
  std::vector<Job> jobs;
  for (uint64_t s = 1; s <= 9; ++s)
    for (const char* arm : {"layer", "batch"}) jobs.push_back(job(arm, s, made));
  jobs.push_back(jobs[0]);  // the same run for another claim
  jobs.back().record.claim = "C1";
  std::vector<double> first;
  for (int workers : {1, 4}) {
    made = 0;
    Scheduler s({.workers = workers});
    const Records r = s.run(jobs);
    REQUIRE(r.size() == 19);
    CHECK(made == 18);
    CHECK(r[0].arm == "layer");
    CHECK(r[17].seed == 9);
    CHECK(r[18]["accuracy"] == r[0]["accuracy"]);
    CHECK(r[3]["threads"] == 1);  // each run has one thread
    if (first.empty()) first = values(r, "accuracy");
    CHECK(values(r, "accuracy") == first);
    CHECK(outcomes(r, "accuracy")[6].dead);
    CHECK_THROWS_AS(r[0]["nothing"], ValueError);
  }
}

TEST_CASE("a finished run is not repeated; another configuration is", "[runs]") {
  const std::string file = temporary("runs.jsonl");
  std::atomic<int> made{0};
  { Scheduler({.workers = 2, .file = file}).run({job("batch", 1, made), job("batch", 2, made)}); }
  CHECK(made == 2);
  std::ofstream(file, std::ios::app) << "{\"claim\":\"C0\",\"ar";  // killed while writing
  {
    Scheduler s({.workers = 2, .file = file, .resume = true});
    Job other = job("batch", 1, made);
    other.record.config["lr"] = "0.2";
    const Records r = s.run({job("batch", 1, made), job("batch", 3, made), other});
    CHECK(made == 4);  // seed 3 and lr 0.2
    CHECK(s.resumed() == 2);
    CHECK(r[0]["accuracy"] == 1.0 / 3 + 0.1);  // every digit survived the file
    CHECK(std::isnan(r[0].series.at("loss")[1]));
    CHECK(s.finished().size() == 3);  // of what was asked for; seed 2 stays in the file
    const std::string csv = to_csv(s.finished());
    CHECK(std::ranges::count(csv, '\n') == 4);
    CHECK(
        csv.rfind(
            "claim,arm,role,seed,dead,seconds,version,commit,instruction_set,config.lr,config.norm,"
            "accuracy,threads\n",
            0) == 0);
  }
  std::filesystem::remove(file);
  CHECK_THROWS_AS(from_json("{\"claim\":3}", "x"), IoError);
  CHECK_THROWS_WITH(from_json("{}", "runs.jsonl"), Catch::Matchers::Contains("runs.jsonl") &&
                                                       Catch::Matchers::Contains("\"arm\""));
  Record dead;
  dead.dead = true;
  CHECK(dead.outcome("anything").dead);  // a dead run may lack a metric
}

TEST_CASE("nothing is overwritten by accident; another program's runs stay and are not taken",
          "[runs]") {
  const std::string file = temporary("foreign.jsonl");
  std::atomic<int> made{0};
  { Scheduler({.workers = 1, .file = file}).run({job("batch", 1, made), job("batch", 2, made)}); }
  CHECK_THROWS_WITH(
      Scheduler({.workers = 1, .file = file}),
      Catch::Matchers::Contains("--resume") && Catch::Matchers::Contains("--overwrite"));
  const auto read = [&file] {
    std::ifstream in(file);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  };
  std::string text = read();
  CHECK(text.find(R"("instruction_set":)") != std::string::npos);
  const size_t at = text.find(R"("version":")");
  REQUIRE(at != std::string::npos);
  std::ofstream(file) << text.replace(at + 11, 1, "x");  // the first run is another version's
  made = 0;
  {
    Scheduler s({.workers = 1, .file = file, .resume = true});
    CHECK(s.resumed() == 1);
    CHECK(s.foreign() == 1);
    CHECK(s.finished().empty());  // nothing was asked for yet
    CHECK(s.run({job("batch", 1, made), job("batch", 2, made)}).size() == 2);
    CHECK(made == 1);
    CHECK(s.finished().size() == 2);
  }
  CHECK(std::ranges::count(read(), '\n') == 3);  // the other version's run is still there
  {
    Scheduler s({.workers = 1, .file = file, .overwrite = true});
    s.run({job("batch", 5, made)});
  }
  CHECK(std::ranges::count(read(), '\n') == 1);
  std::filesystem::remove(file);
}

TEST_CASE("an error in a run reaches the caller; a stop ends the waiting", "[runs]") {
  std::atomic<int> made{0};
  Scheduler s({.workers = 2});
  Job bad = job("batch", 1, made);
  bad.make = [](Record&) { fail<ShapeError>("conv2d: no"); };
  CHECK_THROWS_AS(s.run({bad}), ShapeError);
  CHECK(s.run({job("batch", 2, made)}).size() == 1);  // the workers are still there

  std::atomic<bool> stop{false};
  int told = 0;  // who was told of finished runs
  Scheduler({.workers = 1, .finished = [&told](const Record& r) { told += r["accuracy"] > 0; }})
      .run({job("batch", 1, made), job("batch", 2, made)});
  CHECK(told == 2);

  Scheduler t({.workers = 1, .stop = [&stop] { return stop.load(); }});
  Job pull = job("batch", 1, made);
  pull.make = [&stop](Record& r) { stop = true, r.metrics["x"] = 1; };
  CHECK_THROWS_AS(t.run({pull, job("batch", 2, made), job("batch", 3, made)}), Stopped);
  CHECK(t.finished().size() == 1);  // the run that was under way is kept
}

TEST_CASE("progress names the run and counts what was planned", "[runs]") {
  std::atomic<int> made{0};
  std::vector<Progress> seen;
  Scheduler s({.workers = 1, .progress = [&](const Progress& p) { seen.push_back(p); }});
  s.plan({job("batch", 1, made), job("batch", 2, made), job("layer", 1, made)});
  s.run({job("batch", 1, made)});
  REQUIRE(seen.size() == 2);
  CHECK(seen[1].done == 1);
  CHECK(seen[1].total == 3);
  CHECK(seen[1].arm == "batch");
  CHECK(seen[1].seconds_left > 0);
}

namespace {

// A lesson without trainings: kinds of runs, whose costs are wrong by a factor for the machine (2)
// and by one for each kind (12 %), and whose times spread (10 %). Two workers take the next run as
// they get free.
struct Simulated {
  struct Run {
    std::string kind;
    double cost, seconds;
  };
  explicit Simulated(uint64_t seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal;
    const double machine = std::exp2(normal(random));
    for (int k = 0; k < 40; ++k) {
      const double cost = 0.1 + std::abs(normal(random));
      const double wrong = std::exp(0.12 * normal(random));
      for (int i = 0; i < 8; ++i)
        runs.push_back(
            {fmt::format("{}", k), cost, cost * machine * wrong * std::exp(0.1 * normal(random))});
    }
  }
  std::vector<Run> runs;
};

}  // namespace

TEST_CASE("E13: the time left is right within a fifth from the tenth second on", "[runs]") {
  int told = 0, wrong = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Simulated lesson(seed);
    TimeLeft left;
    for (const auto& r : lesson.runs) left.expect(r.kind, r.cost);
    struct Worker {
      double free = 0, since = 0;
      const Simulated::Run* run = nullptr;
    };
    struct Told {
      double at, seconds;
    };
    Worker workers[2];
    std::vector<Told> all;
    double now = 0;
    for (size_t next = 0; next < lesson.runs.size() || workers[0].run || workers[1].run;) {
      Worker& w = workers[0].run && (!workers[1].run || workers[0].free < workers[1].free)
                      ? workers[0]
                      : workers[1];
      if (next < lesson.runs.size() && (!workers[0].run || !workers[1].run)) {
        Worker& idle = workers[0].run ? workers[1] : workers[0];
        idle = {now + lesson.runs[next].seconds, now, &lesson.runs[next]};
        ++next;
        continue;
      }
      now = w.free;
      left.done(w.run->kind, w.run->cost, now - w.since);
      w.run = nullptr;
      const Worker& other = workers[0].run ? workers[0] : workers[1];
      all.push_back({now, left.seconds(2, other.run ? now - other.since : 0)});
    }
    for (const Told& t : all) {
      if (t.at < 10) continue;
      ++told;
      wrong += std::abs(t.seconds - (now - t.at)) > 0.2 * (now - t.at) + 2;
    }
  }
  CHECK(told > 3000);
  CHECK(wrong == 0);
}

TEST_CASE("what was planned for a claim that is settled is not waited for", "[runs]") {
  std::atomic<int> made{0};
  Progress last;
  Scheduler s({.workers = 1, .progress = [&](const Progress& p) { last = p; }});
  Job shared = job("layer", 1, made);
  s.plan({job("batch", 1, made), job("batch", 2, made), shared});
  shared.record.claim = "C1";
  s.plan({shared});
  s.settled("C0");
  s.run({job("batch", 1, made)});
  CHECK(last.total == 2);  // what C1 still wants, too
  s.settled("C1");
  s.run({job("batch", 2, made)});
  CHECK(last.total == 2);
  CHECK(last.seconds_left == 0);
}

TEST_CASE("a run at the rate that was chosen takes the place of the planned one", "[runs]") {
  std::atomic<int> made{0};
  Progress last;
  Scheduler s({.workers = 1, .progress = [&](const Progress& p) { last = p; }});
  const auto at_rate = [&made](const char* lr, uint64_t seed) {
    Job j = job("batch", seed, made);
    j.record.config["lr"] = lr;
    return j;
  };
  s.plan({at_rate("0.1", 1), at_rate("0.1", 2)});
  s.run({at_rate("0.3", 1)});
  CHECK(last.total == 2);
  s.run({at_rate("0.3", 2)});
  CHECK(last.total == 2);
  CHECK(last.seconds_left == 0);
  // Not of another claim, and not of the rates among which one is chosen.
  Job other = at_rate("0.1", 3), tried = at_rate("0.1", 4);
  tried.record.config["role"] = "tuning";
  s.plan({other, tried});
  other.record.claim = "C1";
  tried.record.config["lr"] = other.record.config["lr"] = "0.3";
  s.run({other, tried});
  CHECK(last.total == 6);
}

TEST_CASE("efforts: what a run's configuration took, and of how many seeds", "[runs]") {
  Records runs(3);
  for (size_t i = 0; i < 3; ++i) {
    runs[i].config = {{"net", "F1"}, {"data", "a list"}};
    runs[i].seconds = static_cast<double>(i + 1);
  }
  const std::string text = EffortTable::of(runs);
  CHECK(text == "2.000 3 data=a list;net=F1\n");
  const EffortTable table(text);
  REQUIRE(table.find(runs[0].config));
  CHECK(table.find(runs[0].config)->seeds == 3);
  CHECK_FALSE(table.find({{"net", "F0"}}));
  const EffortTable rates("2 4 lr=0.1;net=F1\n4 8 lr=0.3;net=F1\n1 4 net=F0\n");
  CHECK(rates.find({{"net", "F1"}, {"lr", "0.3"}})->seconds == 4);
  CHECK(rates.find({{"net", "F1"}, {"lr", "0.2"}})->seconds == 3);  // the mean of other rates
  CHECK(rates.find({{"net", "F1"}, {"lr", "0.2"}})->seeds == 6);
  CHECK(rates.find({{"net", "F0"}, {"lr", "0.2"}})->seconds == 1);
  CHECK_THROWS_AS(EffortTable("what is this"), ValueError);
}
