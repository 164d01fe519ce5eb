#pragma once
// Several processes that measure one lesson together: each makes a share of the runs and gets the
// others' by mail. All of them follow the same claims and come to the same report.
#include <loupe/lesson/runs.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace loupe::lesson {

/// What a process sends to all others at once, or gets from all of them.
struct Mail {
  std::vector<std::string> runs{};  // lines of JSON
  bool done = false;                // it asks for nothing more; of all: every process
  bool failed = false;              // it gives up; of all: one of them
};

/// This process among the others.
struct Together {
  int rank = 0, ranks = 1;
  /// Gives `own` to all others and returns what they gave. A collective: every process calls it equally
  /// often, whatever it has to say.
  std::function<Mail(const Mail& own)> exchange{};
};

/// Carries runs between the schedulers, on a thread of its own.
class Postman : Pinned {
 public:
  explicit Postman(Together together) : with_(std::move(together)) {}
  ~Postman() { finish(true); }

  /// For Scheduler::Options. Who makes a run is a function of its key.
  bool mine(const std::string& key) const;
  void give(const std::string& run);
  /// One of the processes has failed: nothing more will arrive.
  bool broken() const { return broken_; }

  /// Hands over what the processes found in their files, then goes on in the background.
  void start(Scheduler& scheduler);
  /// Waits until every process is done. The error of the exchange is thrown; Error where another process
  /// has failed and this one has not.
  void finish(bool failed);

 private:
  bool round();
  void work() noexcept;

  const Together with_;
  Scheduler* scheduler_ = nullptr;
  std::mutex mutex_;
  std::vector<std::string> outbox_;
  std::atomic<bool> done_{false}, failed_{false}, broken_{false};
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace loupe::lesson
