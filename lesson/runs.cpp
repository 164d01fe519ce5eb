#include <loupe/core/threads.h>
#include <loupe/lesson/runs.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

namespace loupe::lesson {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double number(const nlohmann::json& j) {
  return j.is_null() ? std::numeric_limits<double>::quiet_NaN() : j.get<double>();
}

std::string csv_field(const std::string& s) {
  if (s.find_first_of(",\"\n") == std::string::npos) return s;
  std::string quoted = "\"";
  for (char c : s) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

}  // namespace

std::string Record::key() const {
  std::string text = fmt::format("seed={}", seed);
  for (const auto& [k, v] : config) text += fmt::format(";{}={}", k, v);
  return text;
}

double Record::operator[](const std::string& metric) const {
  const auto it = metrics.find(metric);
  if (it == metrics.end()) fail<ValueError>("lesson: run {} of {} has no metric '{}'", key(), claim, metric);
  return it->second;
}

std::vector<double> values(const Records& runs, const std::string& metric) {
  std::vector<double> v;
  for (const Record& r : runs) v.push_back(r[metric]);
  return v;
}

std::vector<Outcome> outcomes(const Records& runs, const std::string& metric) {
  std::vector<Outcome> v;
  for (const Record& r : runs) v.push_back(r.outcome(metric));
  return v;
}

std::string to_json(const Record& r) {
  nlohmann::ordered_json j;
  j["claim"] = r.claim;
  j["arm"] = r.arm;
  j["role"] = r.tuning ? "tuning" : "verdict";
  j["seed"] = r.seed;
  j["dead"] = r.dead;
  j["seconds"] = std::round(r.seconds * 1000) / 1000;
  j["config"] = r.config;
  j["metrics"] = r.metrics;  // nlohmann writes NaN and infinity as null
  j["series"] = r.series;
  return j.dump();
}

Record from_json(const std::string& line) {
  try {
    const auto j = nlohmann::json::parse(line);
    Record r;
    r.claim = j.at("claim");
    r.arm = j.at("arm");
    r.tuning = j.at("role") == "tuning";
    r.seed = j.at("seed");
    r.dead = j.at("dead");
    r.seconds = j.at("seconds");
    r.config = j.at("config").get<Config>();
    for (const auto& [k, v] : j.at("metrics").items()) r.metrics[k] = number(v);
    for (const auto& [k, v] : j.at("series").items())
      for (const auto& x : v) r.series[k].push_back(number(x));
    return r;
  } catch (const nlohmann::json::exception& e) {
    fail<IoError>("lesson: not a run's record: {} ({})", line.substr(0, 80), e.what());
  }
}

std::string to_csv(const Records& runs) {
  std::set<std::string> keys, metrics;
  for (const Record& r : runs) {
    for (const auto& [k, v] : r.config) keys.insert(k);
    for (const auto& [k, v] : r.metrics) metrics.insert(k);
  }
  std::string text = "claim,arm,role,seed,dead,seconds";
  for (const auto& k : keys) text += "," + csv_field("config." + k);
  for (const auto& m : metrics) text += "," + csv_field(m);
  text += '\n';
  for (const Record& r : runs) {
    text += fmt::format("{},{},{},{},{},{:.3f}", csv_field(r.claim), csv_field(r.arm), r.tuning ? "tuning" : "verdict",
                        r.seed, r.dead ? 1 : 0, r.seconds);
    for (const auto& k : keys) text += "," + (r.config.contains(k) ? csv_field(r.config.at(k)) : "");
    for (const auto& m : metrics) text += "," + (r.metrics.contains(m) ? fmt::format("{}", r.metrics.at(m)) : "");
    text += '\n';
  }
  return text;
}

struct Scheduler::Task {
  Job job;
  std::string key;
  bool done = false;
  std::exception_ptr error;
};

Scheduler::Scheduler(Options options) : options_(std::move(options)), start_(now()) {
  if (!options_.file.empty() && options_.resume) {
    std::ifstream in(options_.file);
    for (std::string line; std::getline(in, line);) {
      if (line.empty()) continue;
      auto task = std::make_shared<Task>();
      try {
        task->job.record = from_json(line);
      } catch (const IoError&) {
        continue;  // the last line of a program that was killed while writing
      }
      task->done = true;
      task->key = task->job.record.key();
      tasks_[task->key] = task;
    }
    resumed_ = static_cast<int>(tasks_.size());
  }
  if (!options_.file.empty()) {  // rewritten: without a broken last line, or empty
    std::ofstream out(options_.file);
    for (const auto& [key, task] : tasks_) out << to_json(task->job.record) << '\n';
    if (!out) fail<IoError>("lesson: cannot write {}", options_.file);
  }
  int workers = options_.workers;
  if (workers < 1) workers = std::max(1, thread_limit());
  for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
}

Scheduler::~Scheduler() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  todo_.notify_all();
  for (auto& t : threads_) t.join();
}

void Scheduler::announce(int runs, double cost_each) {
  std::lock_guard lock(mutex_);
  announced_ += runs;
  announced_cost_ += runs * cost_each;
}

Records Scheduler::run(const std::vector<Job>& jobs) {
  std::vector<std::shared_ptr<Task>> mine;
  std::unique_lock lock(mutex_);
  for (const Job& job : jobs) {
    std::string key = job.record.key();
    auto& task = tasks_[key];
    if (announced_ > 0) {
      --announced_;
      announced_cost_ = std::max(0.0, announced_cost_ - job.cost);
    }
    if (!task) {
      task = std::make_shared<Task>();
      task->job = job;
      task->key = std::move(key);
      queue_.push_back(task);
      ++count_total_;
      cost_total_ += job.cost;
    }
    mine.push_back(task);
  }
  todo_.notify_all();
  const auto stopped = [this] { return closing_ || (options_.stop && options_.stop()); };
  const auto settled = [&] {
    return std::ranges::all_of(mine, [](const auto& t) { return t->done || t->error; });
  };
  // A signal handler sets the flag and cannot notify: look every tenth of a second.
  while (!settled() && !stopped()) done_.wait_for(lock, std::chrono::milliseconds(100));
  Records records;
  for (const auto& task : mine) {
    if (task->error) std::rethrow_exception(task->error);
    if (!task->done) throw Stopped("lesson: stopped; `--resume` goes on from here");
    records.push_back(task->job.record);
  }
  return records;
}

void Scheduler::work() {
  const ThreadLimit one(1);
  std::unique_lock lock(mutex_);
  while (true) {
    const auto stopped = [this] { return closing_ || (options_.stop && options_.stop()); };
    todo_.wait_for(lock, std::chrono::milliseconds(100), [&] { return stopped() || !queue_.empty(); });
    if (stopped()) return;
    if (queue_.empty()) continue;
    const auto task = queue_.front();
    queue_.erase(queue_.begin());
    report(task->job.record);
    lock.unlock();
    Record record = task->job.record;
    const double begin = now();
    std::exception_ptr error;
    try {
      task->job.make(record);
    } catch (...) {
      error = std::current_exception();
    }
    record.seconds = now() - begin;
    const std::string line = error ? std::string() : to_json(record);
    if (!error) record = from_json(line);  // a resumed lesson sees exactly these values
    lock.lock();
    task->error = error;
    if (!error) {
      task->job.record = std::move(record);
      task->job.make = nullptr;
      task->done = true;
      ++made_;
      if (!options_.file.empty()) std::ofstream(options_.file, std::ios::app) << line << '\n';
    }
    ++count_done_;
    cost_done_ += task->job.cost;
    report(task->job.record);
    done_.notify_all();
  }
}

void Scheduler::report(const Record& r) {
  if (!options_.progress) return;
  Progress p{r.claim, r.arm, r.seed, count_done_, count_total_ + announced_, 0};
  if (cost_done_ > 0) p.seconds_left = (now() - start_) / cost_done_ * (cost_total_ - cost_done_ + announced_cost_);
  options_.progress(p);
}

Records Scheduler::finished() const {
  std::lock_guard lock(mutex_);
  Records records;
  for (const auto& [key, task] : tasks_)
    if (task->done) records.push_back(task->job.record);
  std::ranges::stable_sort(records, [](const Record& a, const Record& b) {
    return std::tie(a.claim, a.arm, a.tuning, a.seed) < std::tie(b.claim, b.arm, b.tuning, b.seed);
  });
  return records;
}

}  // namespace loupe::lesson
