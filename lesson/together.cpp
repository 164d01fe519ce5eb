#include <loupe/lesson/together.h>

#include <chrono>
#include <utility>

namespace loupe::lesson {

bool Postman::mine(const std::string& key) const {
  uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return static_cast<int>(hash % static_cast<uint64_t>(with_.ranks)) == with_.rank;
}

void Postman::give(const std::string& run) {
  std::lock_guard lock(mutex_);
  outbox_.push_back(run);
}

// True while there is something to wait for.
bool Postman::round() {
  Mail own{.done = done_, .failed = failed_};
  {
    std::lock_guard lock(mutex_);
    own.runs = std::exchange(outbox_, {});
  }
  const Mail theirs = with_.exchange(own);
  for (const std::string& run : theirs.runs) scheduler_->take(run);
  if (theirs.failed) broken_ = true;
  return !theirs.done && !theirs.failed;
}

void Postman::work() noexcept {
  constexpr auto kPause = std::chrono::milliseconds(50);
  try {
    while (round()) std::this_thread::sleep_for(kPause);
  } catch (...) {
    error_ = std::current_exception();
    broken_ = true;
  }
}

void Postman::start(Scheduler& scheduler) {
  scheduler_ = &scheduler;
  round();
  thread_ = std::thread([this] { work(); });
}

void Postman::finish(bool failed) {
  if (!thread_.joinable()) return;
  failed_ = failed;
  done_ = true;
  thread_.join();
  if (failed) return;
  if (error_) std::rethrow_exception(error_);
  if (broken_) throw Error("lesson: another process has failed");
}

}  // namespace loupe::lesson
