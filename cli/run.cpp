#include <loupe/cli/run.h>

#include <loupe/core/threads.h>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>

namespace loupe::cli {

using Clock = std::chrono::steady_clock;

namespace {

// The node's cores over its ranks, but not more than the launcher has bound this one to.
int threads_of_rank(const Communicator& ranks) {
  const int cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return std::clamp(cores / ranks.local_size(), 1, thread_limit());
}

}  // namespace

Run::Run(const RunOptions& options, Json record)
    : ranks_({.timeout = options.timeout, .stop = [] { return interrupted(); }}),
      console(options.json, ranks_.rank() > 0),
      options_(options),
      record_(record.text(true) + "\n"),
      start_(Clock::now()) {
  if (options.resume && options.out.empty())
    fail<ValueError>("train: --resume needs --out, the folder of the run to go on with");
  if (options.threads > 0) set_thread_limit(options.threads);
  else if (ranks_.size() > 1) set_thread_limit(threads_of_rank(ranks_));
  if (!options.logdir.empty() && leads()) {
    board_ = std::make_unique<EventWriter>(options.logdir);
    std::string indented = "    ";  // Markdown's sign of text that is shown as it is
    for (const char c : record_) indented += c == '\n' ? "\n    " : std::string(1, c);
    board_->text("options", indented, 0);
  }
  if (!keeps_files()) return;
  std::error_code error;
  std::filesystem::create_directories(options.out + "/checkpoints", error);
  if (error) fail<IoError>("{}: cannot create the folder: {}", options.out, error.message());
}

std::string Run::workers() const {
  const std::string threads = fmt::format("{} threads", thread_limit());
  return ranks_.size() == 1 ? threads : fmt::format("{} ranks of {}", ranks_.size(), threads);
}

void Run::begin(int64_t step) {
  if (!keeps_files()) return;
  const std::string path = file("metrics.jsonl");
  std::string kept;
  if (step > 0 && std::filesystem::exists(path)) {
    std::istringstream lines(read_file(path));
    for (std::string line; std::getline(lines, line);) {
      try {
        if (Json::parse(line, path).get_integer("step") <= step) kept += line + "\n";
      } catch (const IoError&) {  // half a line, or a result: they belong to no step
      }
    }
  }
  write_file(path, kept);
  metrics_.open(path, std::ios::app);
  write_file(file("options.json"), record_);
}

void Run::metric(const Json& e) {
  console.event(e);
  if (!metrics_.is_open()) return;
  metrics_ << e.text() << std::endl;
  if (!metrics_)
    fail<IoError>("{}: cannot be written: {}", file("metrics.jsonl"), std::strerror(errno));
}

double Run::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

}  // namespace loupe::cli
