#pragma once
// Runs: what one training was asked to do and what it measured, kept as one line of JSON each; and
// the scheduler that spreads one-thread runs over the cores. A run is a pure function of its
// configuration and seed, so the results do not depend on the number of workers or the order, and a
// finished run is never repeated.
#include <loupe/core/error.h>
#include <loupe/core/pinned.h>
#include <loupe/lesson/stats.h>
#include <loupe/lesson/time_left.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace loupe::lesson {

/// Everything that decides a run's numbers, as text: network, norm, learning rate, steps, data and
/// their hash.
using Config = std::map<std::string, std::string>;

/// {version, commit, instruction set}: who makes a run's numbers besides its configuration.
const Config& this_program();

/// One run. `claim` and `arm` say who asked for it first; they are no part of its identity.
struct Record {
  std::string claim, arm;
  bool tuning = false;  // chose a learning rate; no verdict uses it
  uint64_t seed = 0;
  Config config;
  std::map<std::string, double> metrics;
  std::map<std::string, std::vector<double>> series;
  std::map<std::string, std::string> marks;  // of a metric: which test images were right (marks_of)
  Config made_by = this_program();
  bool dead = false;
  double seconds = 0;  // of processor time

  /// Program, configuration and seed as one text: two runs with equal keys are the same run.
  std::string key() const;
  /// metrics.at(name) with an error that says which run lacks it.
  double operator[](const std::string& name) const;
  /// The metric, which a dead run may lack.
  Outcome outcome(const std::string& metric) const;
};
using Records = std::vector<Record>;

/// The metric that counts steps to a training loss of 1; NaN where a run never got there.
inline const std::string kSteps = "steps";

std::vector<double> values(const Records& runs, const std::string& metric);
std::vector<Outcome> outcomes(const Records& runs, const std::string& metric);

/// One JSON object, numbers with all their digits; NaN and infinities as null.
std::string to_json(const Record& r);
/// The inverse; null becomes NaN, an empty series is dropped. IoError, which says `name` and the
/// offset, if the line is no record.
Record from_json(const std::string& line, const std::string& name);
/// All runs as CSV, one row a run: fixed columns, then one column for each configuration key and
/// each metric.
std::string to_csv(const Records& runs);

/// A run to be made. `make` fills metrics, series and dead.
struct Job {
  Record record;
  double cost = 1;  // rough seconds, for the time left
  std::function<void(Record&)> make;
};

struct Progress {
  std::string claim, arm;
  uint64_t seed = 0;
  int done = 0, total = 0;
  double seconds_left = 0;
};

/// Thrown out of Scheduler::run when the user asked to stop. Finished runs are in the file.
struct Stopped : Error {
  using Error::Error;
};

class Scheduler : Pinned {
 public:
  struct Options {
    int workers = 0;         // 0: one a core
    int processes = 1;       // that make runs, each with as many workers: for the time left
    std::string file{};      // JSON lines, appended to as runs finish; empty: memory only
    bool resume = false;     // take what the file holds and this program made
    bool overwrite = false;  // start the file empty, whatever it holds
    std::function<void(const Progress&)> progress{};  // called with a lock held: be brief
    std::function<void(const Record&)> finished{};    // called by the worker with each run it made
    /// Whether this process makes the run of this key; empty: it makes all. The others arrive through
    /// take().
    std::function<bool(const std::string& key)> mine{};
    /// Called with the line of JSON of each run that was made here or found in the file.
    std::function<void(const std::string& line)> give{};
    std::function<bool()>
        stop{};  // true once the user asked to stop: running runs finish, no new one starts
  };
  /// ValueError where the file holds runs and neither resume nor overwrite is said.
  explicit Scheduler(Options options);
  ~Scheduler();

  /// Makes the runs, or finds them finished, and returns them in the order asked for. Blocks; many
  /// threads may call it. A job's exception is rethrown here.
  Records run(const std::vector<Job>& jobs);
  /// Runs that will be asked for later, so that the time left is right from the start.
  void plan(const std::vector<Job>& jobs);
  /// A run that another process made, as its line of JSON. IoError if it is none; ValueError if another
  /// program made it.
  void take(const std::string& line);
  /// The claim asks for nothing more: what was planned for it alone will not be made.
  void settled(const std::string& claim);
  /// All finished runs that were asked for, by claim, arm, key.
  Records finished() const;
  int made() const { return made_; }
  int resumed() const { return resumed_; }
  /// Runs in the file that another program made, by version, commit or instruction set: they stay
  /// there, and are made again.
  int foreign() const { return foreign_; }

 private:
  struct Task;
  void read_file();
  void work();
  void report(const Record& r);
  void keep(const std::string& line);

  Options options_;
  mutable std::mutex mutex_;
  std::condition_variable todo_, done_;
  std::vector<std::shared_ptr<Task>> queue_;
  std::map<std::string, std::shared_ptr<Task>> tasks_;  // by key
  std::vector<std::thread> threads_;
  struct Planned {
    std::string kind;
    double cost = 0;
    std::string at_any_rate{};       // its key without the learning rate
    std::set<std::string> claims{};  // that will ask for it
  };
  bool take_from_plan(const Record& asked);
  std::map<std::string, Planned> planned_;   // by key
  std::map<const Task*, double> under_way_;  // since when
  TimeLeft time_left_;
  int count_done_ = 0, count_total_ = 0, made_ = 0, resumed_ = 0, foreign_ = 0;
  bool closing_ = false;
};

}  // namespace loupe::lesson
