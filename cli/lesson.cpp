#include <loupe/cli/console.h>
#include <loupe/cli/lesson.h>
#include <loupe/core/error.h>
#include <loupe/lesson/lesson.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

namespace loupe::cli {
namespace {

struct Parsed {
  lesson::LessonOptions options;
  bool quick = false, full = false, tiny = false, json = false;
};
Parsed& parsed() {
  static Parsed p;
  return p;
}

// One line rewritten on a terminal; one line every 10 seconds otherwise.
void show(const lesson::Progress& p) {
  static const bool terminal = isatty(STDERR_FILENO);
  static auto last = std::chrono::steady_clock::time_point{};
  const auto now = std::chrono::steady_clock::now();
  if (!terminal && now - last < std::chrono::seconds(10)) return;
  last = now;
  const std::string line = fmt::format("{}/{} runs, about {} left  {} {} seed {}", p.done, p.total, duration(p.seconds_left), p.claim, p.arm, p.seed);
  if (terminal) fmt::print(stderr, "\r\033[K{:.78}", line);
  else fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
}

int run() {
  Parsed& p = parsed();
  lesson::LessonOptions o = p.options;
  o.profile = p.full ? "full" : p.tiny ? "tiny" : "quick";
  o.command = fmt::format("loupe lesson --{}", o.profile);
  if (o.seeds) o.command += fmt::format(" --seeds {}", o.seeds);
  if (!o.text.empty()) o.command += " --text " + o.text;
  o.progress = show;
  o.stop = [] { return interrupted(); };
  if (p.json)
    o.on_claim = [](const lesson::ClaimResult& c) {
      for (const auto& line : c.lines) fmt::print("{}\n", lesson::to_json(c, line));
      std::fflush(stdout);
    };
  try {
    const lesson::Report report = lesson::run_lesson(o);
    fmt::print(stderr, "{}", isatty(STDERR_FILENO) ? "\r\033[K" : "");
    if (p.json) {
      const std::string all = lesson::to_json_lines(report);
      fmt::print("{}", all.substr(all.rfind('\n', all.size() - 2) + 1));  // the claims were printed as they came
    } else {
      fmt::print("{}", lesson::to_terminal(report));
    }
    if (!o.out.empty()) fmt::print(stderr, "Report: {0}/report.html. Runs: {0}/runs.csv.\n", o.out);
    return 0;
  } catch (const lesson::Stopped&) {
    fmt::print(stderr, "\nStopped. `--resume` goes on from here.\n");
    return 130;
  }
}

}  // namespace

void add_lesson(CLI::App& program, int& exit_code) {
  Parsed& p = parsed();
  auto* command = program.add_subcommand("lesson", "Measure every claim of \"BatchNorm vs LayerNorm\" and write the report");
  auto* quick = command->add_flag("--quick", p.quick, "3 seeds, minutes (the default)");
  auto* full = command->add_flag("--full", p.full, "5 seeds, all grids and networks")->excludes(quick);
  command->add_flag("--tiny", p.tiny, "Seconds; the numbers mean nothing (for tests)")->excludes(quick)->excludes(full);
  command->add_option("--claims", p.options.claims, "Only these: C5,C9")->delimiter(',');
  command->add_option("--seeds", p.options.seeds, "Seeds an arm (default: the profile's)")->check(CLI::PositiveNumber);
  command->add_option("--text", p.options.text, "A UTF-8 text for the language models (default: Debian's word list)");
  command->add_option("--data", p.options.data, "Folder of Fashion-MNIST (default: Debian's package)");
  command->add_option("--out", p.options.out, "Folder for runs.jsonl, runs.csv, report.html, report.md, report.jsonl")->default_val("lesson-out");
  command->add_option("--threads", p.options.workers, "Trainings at a time (default: one a core)")->check(CLI::PositiveNumber);
  command->add_flag("--resume", p.options.resume, "Go on from --out: finished runs are not repeated");
  command->add_flag("--json", p.json, "JSON lines on stdout");
  command->callback([&exit_code] { exit_code = run(); });
}

}  // namespace loupe::cli
