#include <loupe/cli/commands.h>
#include <loupe/cli/console.h>
#include <loupe/distributed/communicator.h>
#include <loupe/lesson/lesson.h>

#include <loupe/core/threads.h>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sstream>

namespace loupe::cli {
namespace {

// One line rewritten on a terminal; one line every 10 seconds otherwise.
void show(const lesson::Progress& p) {
  static const bool terminal = isatty(STDERR_FILENO);
  static auto last = std::chrono::steady_clock::time_point{};
  const auto now = std::chrono::steady_clock::now();
  if (!terminal && now - last < std::chrono::seconds(10)) return;
  last = now;
  const std::string line = fmt::format("{}/{} runs, about {} left  {} {} seed {}", p.done, p.total,
                                       duration(p.seconds_left), p.claim, p.arm, p.seed);
  if (terminal) fmt::print(stderr, "\r\033[K{:.78}", line);
  else fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
}

// The command line that repeats the run.
std::string command_text(const LessonOptions& o, const std::string& profile) {
  std::string text = "loupe lesson --" + profile, claims;
  if (o.part != 1) text += fmt::format(" --part {}", o.part);
  for (const auto& c : o.claims) claims += (claims.empty() ? "" : ",") + c;
  if (!claims.empty()) text += " --claims " + claims;
  if (o.seeds) text += fmt::format(" --seeds {}", o.seeds);
  if (o.first_seed != 1) text += fmt::format(" --first-seed {}", o.first_seed);
  if (o.retune) text += " --retune";
  if (!o.text.empty()) text += " --text " + o.text;
  if (!o.data.empty()) text += " --data " + o.data;
  return text;
}

// Bytes of every rank, as one after the other.
std::vector<std::string> gather(Communicator& ranks, const std::string& own) {
  const std::vector<double> sizes = ranks.all_gather(std::vector{static_cast<double>(own.size())});
  const double longest = *std::max_element(sizes.begin(), sizes.end());
  const auto words = (static_cast<int64_t>(longest) + 7) / 8;
  // Each rank writes its row; the others have zeros there.
  const Tensor rows = zeros({ranks.size(), words}, DType::i64);
  std::memcpy(rows.ptr<int64_t>() + ranks.rank() * words, own.data(), own.size());
  if (words > 0) ranks.all_reduce(rows);
  std::vector<std::string> all;
  for (int r = 0; r < ranks.size(); ++r)
    all.emplace_back(reinterpret_cast<const char*>(rows.ptr<int64_t>() + r * words),
                     static_cast<size_t>(sizes[static_cast<size_t>(r)]));
  return all;
}

lesson::Mail exchange(Communicator& ranks, const lesson::Mail& own) {
  const std::vector<double> counts = ranks.sum(
      {own.done ? 1.0 : 0.0, own.failed ? 1.0 : 0.0, static_cast<double>(own.runs.size())});
  lesson::Mail theirs{.done = counts[0] == ranks.size(), .failed = counts[1] > 0};
  if (counts[2] == 0) return theirs;
  const std::vector<std::string> all = gather(ranks, fmt::format("{}", fmt::join(own.runs, "\n")));
  for (int r = 0; r < ranks.size(); ++r) {
    if (r == ranks.rank()) continue;
    std::istringstream lines(all[static_cast<size_t>(r)]);
    for (std::string line; std::getline(lines, line);) theirs.runs.push_back(line);
  }
  return theirs;
}

// The runs are spread over the ranks; the first one alone writes and speaks.
void share(lesson::LessonOptions& o, Communicator& ranks) {
  o.together = {ranks.rank(), ranks.size(),
                [&ranks](const lesson::Mail& own) { return exchange(ranks, own); }};
  if (o.workers == 0) o.workers = std::max(1, thread_limit() / ranks.local_size());
  if (ranks.rank() == 0) return;
  o.out.clear();
  o.logdir.clear();
  o.progress = nullptr;
  o.on_claim = nullptr;
}

}  // namespace

int lesson(const LessonOptions& options) {
  Communicator ranks({.stop = [] { return interrupted(); }});
  const std::string profile = options.full ? "full" : options.tiny ? "tiny" : "quick";
  lesson::LessonOptions o{.profile = profile,
                          .part = options.part,
                          .claims = options.claims,
                          .seeds = options.seeds,
                          .first_seed = options.first_seed,
                          .text = options.text,
                          .data = options.data,
                          .out = options.out,
                          .logdir = options.logdir,
                          .resume = options.resume,
                          .overwrite = options.overwrite,
                          .retune = options.retune,
                          .workers = options.threads,
                          .command = command_text(options, profile),
                          .progress = show};
  o.stop = [] { return interrupted(); };
  if (options.json)
    o.on_claim = [](const lesson::ClaimResult& c) { write_out(lesson::to_json_lines(c)); };
  if (ranks.size() > 1) share(o, ranks);
  catch_interrupts();
  try {
    const lesson::Report report = lesson::run_lesson(o);
    if (ranks.rank() > 0) return 0;
    fmt::print(stderr, "{}", isatty(STDERR_FILENO) ? "\r\033[K" : "");
    // With --json the claims were printed as they came.
    write_out(options.json ? lesson::result_json(report)
                           : lesson::to_terminal(report, options.details));
    if (report.foreign > 0)
      fmt::print(stderr,
                 "{} runs in the file were made by another version, commit or instruction set: "
                 "made again.\n",
                 report.foreign);
    if (!o.out.empty()) fmt::print(stderr, "Report: {0}/report.html. Runs: {0}/runs.csv.\n", o.out);
    return 0;
  } catch (const lesson::Stopped&) {
    fmt::print(stderr, "\nStopped. `--resume` goes on from here.\n");
    return interrupt_code();
  }
}

}  // namespace loupe::cli
