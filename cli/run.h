#pragma once
// A run of `loupe train`: its console, its folder with options and metrics, TensorBoard's writer,
// and the processes that take part.
#include <loupe/cli/commands.h>
#include <loupe/cli/console.h>
#include <loupe/distributed/communicator.h>
#include <loupe/io/monitor.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <string>

namespace loupe::cli {

/// A run's console and folder. The folder receives options.json when training begins and
/// metrics.jsonl line by line. Under mpirun the first rank alone has console, folder and board.
class Run {
  Communicator ranks_;  // before the console, which asks it

 public:
  Run(const RunOptions& options, Json record);
  /// The processes of this training; one, unless mpirun started more.
  Communicator& ranks() { return ranks_; }
  bool leads() const { return ranks_.rank() == 0; }
  /// "2 threads", "3 ranks of 2 threads".
  std::string workers() const;
  Console console;
  /// An event to the console and to metrics.jsonl. IoError if that cannot be written.
  void metric(const Json& e);
  const RunOptions& options() const { return options_; }
  /// What options.json holds.
  const std::string& record() const { return record_; }
  /// TensorBoard's writer; null without --logdir. The options are its first text.
  EventWriter* board() { return board_.get(); }
  /// Training begins, or goes on after `step` steps: writes options.json, and what metrics.jsonl
  /// holds of later steps (or half a line, of a run that was killed) goes.
  void begin(int64_t step);
  std::string file(const std::string& name) const { return options_.out + "/" + name; }
  bool keeps_files() const { return !options_.out.empty() && leads(); }
  double seconds() const;

 private:
  RunOptions options_;
  std::string record_;
  std::ofstream metrics_;
  std::unique_ptr<EventWriter> board_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace loupe::cli
