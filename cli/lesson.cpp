#include <loupe/cli/commands.h>
#include <loupe/cli/console.h>
#include <loupe/distributed/communicator.h>
#include <loupe/lesson/lesson.h>

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

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

}  // namespace

int lesson(const LessonOptions& options) {
  if (const Communicator ranks; ranks.size() > 1)
    fail<ValueError>(
        "lesson: it runs in one process, and mpirun started {}; --threads spreads its runs over "
        "the "
        "cores of this machine",
        ranks.size());
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
  catch_interrupts();
  try {
    const lesson::Report report = lesson::run_lesson(o);
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
