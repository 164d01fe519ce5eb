#include <loupe/core/cpu.h>
#include <loupe/core/threads.h>
#include <loupe/io/file.h>
#include <loupe/io/tensorboard.h>
#include <loupe/lesson/lab.h>
#include <loupe/lesson/lesson.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>

namespace loupe::lesson {
namespace {

struct Entry {
  const char* id;
  ClaimResult (*run)(Lab&);
};
constexpr Entry kClaims[] = {{"C1", claim1}, {"C2", claim2},   {"C3", claim3},   {"C4", claim4},
                             {"C5", claim5}, {"C6", claim6},   {"C7", claim7},   {"C8", claim8},
                             {"C9", claim9}, {"C10", claim10}, {"C11", claim11}, {"C12", claim12}};

// One run for TensorBoard: the loss step by step, the metrics, the configuration.
// folder/verdict/C5/BN 2/seed 1; tuning runs name their rate too, so that each has a folder of its
// own.
void log_run(const Record& r, const std::string& folder) {
  const auto lr = r.config.find("lr");
  std::string path =
      fmt::format("{}/{}/{}/{}", folder, r.tuning ? "tuning" : "verdict", r.claim, r.arm);
  if (r.tuning && lr != r.config.end()) path += " rate " + lr->second;
  EventWriter events(fmt::format("{}/seed {}", path, r.seed));
  std::string table = "| | |\n|---|---|\n";
  for (const auto& [key, value] : r.config) table += fmt::format("| {} | {} |\n", key, value);
  events.text("configuration", table, 0);
  for (const auto& [name, values] : r.series)
    for (size_t i = 0; i < values.size(); ++i)
      events.scalar(name, values[i], static_cast<int64_t>(i + 1));
  for (const auto& [name, value] : r.metrics) events.scalar("result/" + name, value, 0);
  events.scalar("result/dead", r.dead ? 1 : 0, 0);
}

// "AMD EPYC 9R14", as the system names it.
std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos)
      return line.substr(line.find(": ") + 2);
  return "an unnamed processor";
}

void write(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace

std::vector<std::string> claim_ids() {
  std::vector<std::string> ids;
  for (const Entry& e : kClaims) ids.push_back(e.id);
  return ids;
}

Report run_lesson(const LessonOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  Profile profile = Profile::named(options.profile);
  if (options.seeds < 0)
    fail<ValueError>("lesson: --seeds must be at least 1, got {}", options.seeds);
  if (options.seeds > 0) profile.seeds = options.seeds;
  std::vector<Entry> chosen;
  for (const auto& id : options.claims)
    if (std::ranges::none_of(kClaims, [&](const Entry& e) { return id == e.id; }))
      fail<ValueError>("lesson: no claim '{}'; there are C1 to C{}", id, std::size(kClaims));
  for (const Entry& e : kClaims)
    if (options.claims.empty() || std::ranges::find(options.claims, e.id) != options.claims.end())
      chosen.push_back(e);

  std::vector<std::string> texts{options.text};
  if (profile.full() && !options.text.empty()) texts = {"", options.text};
  const auto data = Data::load(options.data, texts,
                               profile.tiny()   ? 512
                               : profile.full() ? 20000
                                                : 16384,
                               profile.test_images);
  Scheduler::Options schedule{.workers = options.workers,
                              .resume = options.resume,
                              .progress = options.progress,
                              .stop = options.stop};
  if (!options.logdir.empty())
    schedule.finished = [folder = options.logdir](const Record& r) { log_run(r, folder); };
  if (!options.out.empty()) {
    std::filesystem::create_directories(options.out);
    schedule.file = options.out + "/runs.jsonl";
  }
  Scheduler scheduler(schedule);
  // Each claim waits for its own runs on a thread of its own; the scheduler's workers do the
  // computing.
  std::vector<std::future<ClaimResult>> waiting;
  for (const Entry& e : chosen)
    waiting.push_back(std::async(std::launch::async, [&, e] {
      Lab lab(e.id, profile, data, scheduler, options.norms);
      return e.run(lab);
    }));
  Report report{.profile = profile.name, .command = options.command, .machine = "", .data = ""};
  std::exception_ptr error;
  for (auto& w : waiting) {
    try {
      report.claims.push_back(w.get());
      if (!error && options.on_claim) options.on_claim(report.claims.back());
    } catch (...) {
      if (!error) error = std::current_exception();
    }
  }
  const Records all = scheduler.finished();
  if (!options.out.empty()) write(options.out + "/runs.csv", to_csv(all));
  if (error) std::rethrow_exception(error);

  report.seeds = profile.seeds;
  report.runs = static_cast<int>(all.size());
  report.dead =
      static_cast<int>(std::ranges::count_if(all, [](const Record& r) { return r.dead; }));
  report.machine = fmt::format("{} trainings at a time on {}, instruction set {}",
                               options.workers > 0 ? options.workers : thread_limit(), processor(),
                               loupe::name(cpu_level()));
  report.data = fmt::format("{} ({})", data->images_name, data->images_hash);
  for (const TextData& t : data->texts) report.data += fmt::format(", {} ({})", t.name, t.hash);
  report.advice = when_to_use(report.claims);
  report.decisions = decisions(report.claims);
  report.interview = interview(report.claims);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!options.out.empty()) {
    write(options.out + "/report.html", to_html(report));
    write(options.out + "/report.md", to_markdown(report));
    write(options.out + "/report.jsonl", to_json_lines(report));
  }
  return report;
}

}  // namespace loupe::lesson
