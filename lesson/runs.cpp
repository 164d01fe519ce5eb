#include <loupe/core/cpu.h>
#include <loupe/core/threads.h>
#include <loupe/core/version.h>
#include <loupe/io/json.h>
#include <loupe/lesson/commit.h>
#include <loupe/lesson/runs.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <fstream>
#include <limits>
#include <set>
#include <time.h>

namespace loupe::lesson {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Processor time of this thread: a run's own, whatever else the machine does.
double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

std::string number_or_null(double v) { return std::isfinite(v) ? fmt::format("{}", v) : "null"; }

double number(JsonReader& json) {
  return json.null() ? std::numeric_limits<double>::quiet_NaN() : json.number();
}

// {"key":value,...}, each value written by `text`.
template <class Map, class F> std::string object_text(const Map& map, F text) {
  std::string out;
  for (const auto& [k, v] : map)
    out += fmt::format("{}{}:{}", out.empty() ? "" : ",", json_quote(k), text(v));
  return "{" + out + "}";
}

// Runs of one configuration take about as long.
std::string kind_of(const Record& r) {
  std::string text;
  for (const auto& [k, v] : r.config) text += fmt::format("{}={};", k, v);
  return text;
}

std::string key_at_any_rate(Record r) {
  r.config.erase("lr");
  return r.key();
}

uint64_t seed_of(int64_t n, const std::string& name) {
  if (n < 0) fail<IoError>("{}: not a run of the lesson: its seed is {}", name, n);
  return static_cast<uint64_t>(n);
}

std::string csv_field(const std::string& s) {
  if (s.find_first_of(",\"\n") == std::string::npos) return s;
  std::string quoted = "\"";
  for (char c : s) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

}  // namespace

const Config& this_program() {
  static const Config program{
      {"version", kVersion}, {"commit", kCommit}, {"instruction_set", loupe::name(cpu_level())}};
  return program;
}

std::string Record::key() const {
  std::string text = fmt::format("seed={}", seed);
  for (const auto& [k, v] : made_by) text += fmt::format(";{}={}", k, v);
  for (const auto& [k, v] : config) text += fmt::format(";{}={}", k, v);
  return text;
}

double Record::operator[](const std::string& metric) const {
  const auto it = metrics.find(metric);
  if (it == metrics.end())
    fail<ValueError>("lesson: run {} of {} has no metric '{}'", key(), claim, metric);
  return it->second;
}

Outcome Record::outcome(const std::string& metric) const {
  if (dead && !metrics.contains(metric)) return {std::numeric_limits<double>::quiet_NaN(), true};
  return {(*this)[metric], dead};
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
  const auto list = [](const std::vector<double>& v) {
    std::string out;
    for (double x : v) out += (out.empty() ? "" : ",") + number_or_null(x);
    return "[" + out + "]";
  };
  return fmt::format(
      R"({{"claim":{},"arm":{},"role":"{}","seed":{},"dead":{},"seconds":{:.3f},"made_by":{},"config":{},"metrics":{},"series":{},"marks":{}}})",
      json_quote(r.claim), json_quote(r.arm), r.tuning ? "tuning" : "verdict", r.seed, r.dead,
      r.seconds, object_text(r.made_by, json_quote), object_text(r.config, json_quote),
      object_text(r.metrics, number_or_null), object_text(r.series, list),
      object_text(r.marks, json_quote));
}

Record from_json(const std::string& line, const std::string& name) {
  JsonReader json(line, name);
  Record r;
  r.made_by.clear();  // of a file of an older program: unknown
  std::set<std::string> missing{"claim",   "arm",    "role",    "seed",  "dead",
                                "seconds", "config", "metrics", "series"};
  json.object([&](const std::string& key) {
    missing.erase(key);
    if (key == "claim") r.claim = json.string();
    else if (key == "arm") r.arm = json.string();
    else if (key == "role") r.tuning = json.string() == "tuning";
    else if (key == "seed") r.seed = seed_of(json.integer(), name);
    else if (key == "dead") r.dead = json.boolean();
    else if (key == "seconds") r.seconds = json.number();
    else if (key == "config")
      json.object([&](const std::string& k) { r.config[k] = json.string(); });
    else if (key == "made_by")
      json.object([&](const std::string& k) { r.made_by[k] = json.string(); });
    else if (key == "marks") json.object([&](const std::string& k) { r.marks[k] = json.string(); });
    else if (key == "metrics")
      json.object([&](const std::string& k) { r.metrics[k] = number(json); });
    else if (key == "series")
      json.object(
          [&](const std::string& k) { json.array([&] { r.series[k].push_back(number(json)); }); });
    else json.skip();
  });
  json.end();
  if (!missing.empty())
    fail<IoError>("{}: not a run of the lesson: \"{}\" is missing", name, *missing.begin());
  return r;
}

std::string to_csv(const Records& runs) {
  std::set<std::string> keys, metrics;
  for (const Record& r : runs) {
    for (const auto& [k, v] : r.config) keys.insert(k);
    for (const auto& [k, v] : r.metrics) metrics.insert(k);
  }
  std::string text = "claim,arm,role,seed,dead,seconds,version,commit,instruction_set";
  for (const auto& k : keys) text += "," + csv_field("config." + k);
  for (const auto& m : metrics) text += "," + csv_field(m);
  text += '\n';
  for (const Record& r : runs) {
    text += fmt::format("{},{},{},{},{},{:.3f}", csv_field(r.claim), csv_field(r.arm),
                        r.tuning ? "tuning" : "verdict", r.seed, r.dead ? 1 : 0, r.seconds);
    for (const char* k : {"version", "commit", "instruction_set"})
      text += "," + (r.made_by.contains(k) ? csv_field(r.made_by.at(k)) : "");
    for (const auto& k : keys)
      text += "," + (r.config.contains(k) ? csv_field(r.config.at(k)) : "");
    for (const auto& m : metrics)
      text += "," + (r.metrics.contains(m) ? fmt::format("{}", r.metrics.at(m)) : "");
    text += '\n';
  }
  return text;
}

struct Scheduler::Task {
  Job job;
  std::string key;
  bool done = false;
  bool asked = false;  // by this run, not only found in the file
  std::exception_ptr error;
};

void Scheduler::read_file() {
  std::ifstream in(options_.file);
  bool cut = false;  // the last line of a program that was killed while writing
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) continue;
    auto task = std::make_shared<Task>();
    cut = in.eof();
    try {
      task->job.record = from_json(line, options_.file);
    } catch (const IoError&) { continue; }
    if (task->job.record.made_by != this_program()) {
      ++foreign_;
      continue;
    }
    task->done = true;
    task->key = task->job.record.key();
    tasks_[task->key] = task;
    if (options_.give) options_.give(line);
  }
  resumed_ = static_cast<int>(tasks_.size());
  if (!cut) return;
  std::ofstream out(options_.file, std::ios::app);
  if (!(out << '\n' << std::flush)) fail<IoError>("lesson: cannot write {}", options_.file);
}

Scheduler::Scheduler(Options options) : options_(std::move(options)) {
  if (!options_.file.empty()) {
    const bool there = std::ifstream(options_.file).peek() != std::ifstream::traits_type::eof();
    if (there && !options_.resume && !options_.overwrite)
      fail<ValueError>(
          "lesson: {} holds runs. --resume goes on from them, --overwrite starts anew, --out takes "
          "another folder",
          options_.file);
    if (there && options_.resume) read_file();
    const auto mode = options_.resume ? std::ios::app : std::ios::trunc;
    std::ofstream out(options_.file, mode);
    if (!out.flush()) fail<IoError>("lesson: cannot write {}", options_.file);
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

void Scheduler::plan(const std::vector<Job>& jobs) {
  std::lock_guard lock(mutex_);
  for (const Job& job : jobs) {
    const std::string key = job.record.key();
    if (tasks_.contains(key)) continue;
    const auto [it, is_new] = planned_.try_emplace(
        key, Planned{kind_of(job.record), job.cost, key_at_any_rate(job.record)});
    it->second.claims.insert(job.record.claim);
    if (is_new) time_left_.expect(it->second.kind, job.cost);
  }
}

// Whether the run was planned. A plan is made before learning rates are chosen: what stands in it for
// this run may have another rate, and will not be asked for.
bool Scheduler::take_from_plan(const Record& asked) {
  if (planned_.erase(asked.key()) > 0) return true;
  if (const auto role = asked.config.find("role");
      role != asked.config.end() && role->second == "tuning")
    return false;  // the rates to choose from are known
  const auto other =
      std::ranges::find_if(planned_, [&asked, key = key_at_any_rate(asked)](const auto& planned) {
        const Planned& p = planned.second;
        return p.at_any_rate == key && p.claims.contains(asked.claim);
      });
  if (other == planned_.end()) return false;
  time_left_.forget(other->second.kind, other->second.cost);
  planned_.erase(other);
  return false;
}

void Scheduler::settled(const std::string& claim) {
  std::lock_guard lock(mutex_);
  for (auto it = planned_.begin(); it != planned_.end();) {
    Planned& p = it->second;
    p.claims.erase(claim);
    if (p.claims.empty()) time_left_.forget(p.kind, p.cost);
    it = p.claims.empty() ? planned_.erase(it) : std::next(it);
  }
}

Records Scheduler::run(const std::vector<Job>& jobs) {
  std::vector<std::shared_ptr<Task>> mine;
  std::unique_lock lock(mutex_);
  for (const Job& job : jobs) {
    std::string key = job.record.key();
    auto& task = tasks_[key];
    const bool first = !task || !task->asked;
    const bool planned = first && take_from_plan(job.record);
    if (!task) {
      task = std::make_shared<Task>();
      task->job = job;
      if (!options_.mine || options_.mine(key)) queue_.push_back(task);
      task->key = std::move(key);
      ++count_total_;
      if (!planned) time_left_.expect(kind_of(job.record), job.cost);
    }
    task->asked = true;
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
    todo_.wait_for(lock, std::chrono::milliseconds(100),
                   [&] { return stopped() || !queue_.empty(); });
    if (stopped()) return;
    if (queue_.empty()) continue;
    const auto task = queue_.front();
    queue_.erase(queue_.begin());
    under_way_[task.get()] = now();
    report(task->job.record);
    lock.unlock();
    Record record = task->job.record;
    const double begin = thread_seconds();
    std::exception_ptr error;
    try {
      task->job.make(record);
    } catch (...) { error = std::current_exception(); }
    record.seconds = thread_seconds() - begin;
    const std::string line = error ? std::string() : to_json(record);
    if (!error) record = from_json(line, "run");  // a resumed lesson sees exactly these values
    if (!error && options_.finished) options_.finished(record);
    lock.lock();
    task->error = error;
    if (!error) {
      task->job.record = std::move(record);
      task->job.make = nullptr;
      task->done = true;
      ++made_;
      try {
        keep(line);
      } catch (...) { task->error = std::current_exception(); }
      if (options_.give) options_.give(line);
    }
    ++count_done_;
    time_left_.done(kind_of(task->job.record), task->job.cost, now() - under_way_[task.get()]);
    under_way_.erase(task.get());
    report(task->job.record);
    done_.notify_all();
  }
}

void Scheduler::keep(const std::string& line) {
  if (options_.file.empty()) return;
  std::ofstream out(options_.file, std::ios::app);
  if (!(out << line << '\n' << std::flush)) fail<IoError>("lesson: cannot write {}", options_.file);
}

void Scheduler::take(const std::string& line) {
  Record record = from_json(line, "a run of another process");
  if (record.made_by != this_program())
    fail<ValueError>("lesson: another process runs another version, commit or instruction set");
  std::lock_guard lock(mutex_);
  auto& task = tasks_[record.key()];
  if (!task) {  // this process will ask for it later
    task = std::make_shared<Task>();
    task->key = record.key();
    const auto planned = planned_.find(task->key);
    if (planned == planned_.end()) time_left_.expect(kind_of(record), task->job.cost);
    else task->job.cost = planned->second.cost;
    planned_.erase(task->key);
    ++count_total_;
  }
  if (task->done) return;
  if (options_.finished) options_.finished(record);
  time_left_.done(kind_of(record), task->job.cost, record.seconds);
  task->job.record = std::move(record);
  task->job.make = nullptr;
  task->done = true;
  ++count_done_;
  keep(line);
  report(task->job.record);
  done_.notify_all();
}

void Scheduler::report(const Record& r) {
  if (!options_.progress) return;
  Progress p{r.claim, r.arm, r.seed, count_done_, count_total_ + static_cast<int>(planned_.size()),
             0};
  double elapsed = 0;
  for (const auto& [task, since] : under_way_) elapsed += now() - since;
  p.seconds_left =
      time_left_.seconds(static_cast<int>(threads_.size()) * options_.processes, elapsed);
  options_.progress(p);
}

Records Scheduler::finished() const {
  std::lock_guard lock(mutex_);
  Records records;
  for (const auto& [key, task] : tasks_)
    if (task->done && task->asked) records.push_back(task->job.record);
  std::ranges::stable_sort(records, [](const Record& a, const Record& b) {
    return std::tie(a.claim, a.arm, a.tuning, a.seed) < std::tie(b.claim, b.arm, b.tuning, b.seed);
  });
  return records;
}

}  // namespace loupe::lesson
