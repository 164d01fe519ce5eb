#include <loupe/core/cpu.h>
#include <loupe/core/threads.h>
#include <loupe/io/file.h>
#include <loupe/io/tensorboard.h>
#include <loupe/lesson/lab.h>
#include <loupe/lesson/lesson.h>
#include <loupe/lesson/own.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>

namespace loupe::lesson {
namespace {

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

namespace {

Profile profile_of(const LessonOptions& options) {
  Profile profile = Profile::named(options.profile);
  if (options.seeds < 0)
    fail<ValueError>("lesson: --seeds must be at least 1, got {}", options.seeds);
  if (options.seeds > 0) profile.looks = {options.seeds};
  const int last = options.first_seed + profile.looks.back() - 1;
  if (options.first_seed < 1 || last > 1000)
    fail<ValueError>("lesson: seeds {} to {}; verdicts take seeds from 1 to 1000",
                     options.first_seed, last);
  profile.first_seed = static_cast<uint64_t>(options.first_seed);
  return profile;
}

// Those asked for, in the lesson's order.
std::vector<std::string> chosen_claims(int part, const std::vector<std::string>& asked) {
  const std::vector<std::string> all = claim_ids(part);
  for (const auto& id : asked)
    if (std::ranges::find(all, id) == all.end())
      fail<ValueError>("lesson: no claim '{}'; part {} has {} to {}", id, part, all.front(),
                       all.back());
  if (asked.empty()) return all;
  std::vector<std::string> chosen;
  for (const auto& id : all)
    if (std::ranges::find(asked, id) != asked.end()) chosen.push_back(id);
  return chosen;
}

std::shared_ptr<const Data> data_of(const LessonOptions& options, const Profile& profile) {
  std::vector<std::string> texts{options.text};
  if (profile.full() && !options.text.empty()) texts = {"", options.text};
  int64_t images = 16384;
  if (profile.tiny()) images = 512;
  if (profile.full()) images = 20000;
  return Data::load(options.data, texts, images, profile.test_images);
}

Scheduler::Options schedule_of(const LessonOptions& options, Postman& postman) {
  Scheduler::Options schedule{.workers = options.workers,
                              .resume = options.resume,
                              .overwrite = options.overwrite,
                              .progress = options.progress,
                              .stop = options.stop};
  if (options.together.ranks > 1) {
    schedule.processes = options.together.ranks;
    schedule.mine = [&postman](const std::string& key) { return postman.mine(key); };
    schedule.give = [&postman](const std::string& run) { postman.give(run); };
    schedule.stop = [&postman, asked = options.stop] {
      return postman.broken() || (asked && asked());
    };
  }
  if (!options.logdir.empty())
    schedule.finished = [folder = options.logdir](const Record& r) { log_run(r, folder); };
  if (!options.out.empty()) {
    std::filesystem::create_directories(options.out);
    schedule.file = options.out + "/runs.jsonl";
  }
  return schedule;
}

// With the two norms; with one's own in the place of each of them, where there is one.
std::vector<Equipment> equipments(const Equipment& two) {
  std::vector<Equipment> all{two};
  if (!two.norms.own) return all;
  all.push_back(two);
  all.back().norms.batch = two.norms.own;
  all.push_back(two);
  all.back().norms.layer = two.norms.own;
  return all;
}

// Each claim waits for its own runs on a thread of its own; the scheduler's workers do the
// computing. results: of each of the equipments. The first error, once all have ended.
std::exception_ptr try_claims(const std::vector<std::string>& claims,
                              const std::vector<Equipment>& with,
                              std::vector<std::vector<ClaimResult>>& results) {
  for (const std::string& id : claims)
    for (const Equipment& equipment : with) {
      Lab plan(id, equipment, Lab::Mode::plan);
      make_claim(id, plan)->run(plan);
    }
  std::vector<std::future<std::vector<ClaimResult>>> waiting;
  for (const std::string& id : claims)
    waiting.push_back(std::async(std::launch::async, [&with, id] {
      std::vector<ClaimResult> all;
      for (const Equipment& equipment : with) {
        Lab lab(id, equipment);
        all.push_back(result_of(id, lab));
      }
      with[0].scheduler->settled(id);
      return all;
    }));
  std::exception_ptr error;
  results.resize(with.size());
  for (auto& w : waiting) {
    try {
      std::vector<ClaimResult> all = w.get();
      for (size_t i = 0; i < all.size(); ++i) results[i].push_back(std::move(all[i]));
    } catch (...) {
      if (!error) error = std::current_exception();
    }
  }
  return error;
}

void describe(Report& report, const LessonOptions& options, const Data& data, const Records& runs) {
  report.runs = static_cast<int>(runs.size());
  for (const Record& r : runs) report.processor += r.seconds;
  report.dead = static_cast<int>(std::ranges::count(runs, true, &Record::dead));
  report.machine = fmt::format("{} trainings at a time on {}, instruction set {}",
                               options.workers > 0 ? options.workers : thread_limit(), processor(),
                               loupe::name(cpu_level()));
  report.images = data.images_title;
  report.data = fmt::format("{} ({})", data.images_title, data.images_hash);
  for (const TextData& t : data.texts) report.data += fmt::format(", {} ({})", t.name, t.hash);
  report.picture = picture(report.claims);
  report.part = options.part;
  if (report.part == 2) return;
  report.advice = when_to_use(report.claims);
  report.decisions = decisions(report.claims);
  report.interview = interview(report.claims);
  report.surprises = surprises(report.claims);
  report.tools = tools(report.claims, runs);
}

std::string questions_of(const Report& report) {
  std::string out;
  for (const ClaimResult& c : report.claims)
    for (const std::string& question : c.asked) out += question + "\n";
  return out;
}

}  // namespace

Report run_lesson(const LessonOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const Profile profile = profile_of(options);
  const std::vector<std::string> claims = chosen_claims(options.part, options.claims);
  if (options.norms.own) check_own(options.norms.own);
  const RateTable known = RateTable::committed();
  const EffortTable efforts = EffortTable::committed();
  RateTable chosen;
  Postman postman(options.together);
  Scheduler scheduler(schedule_of(options, postman));
  const Equipment equipment{.profile = profile,
                            .data = data_of(options, profile),
                            .scheduler = &scheduler,
                            .norms = options.norms,
                            .known = options.retune ? nullptr : &known,
                            .chosen = &chosen,
                            .efforts = &efforts};
  Report report{.profile = profile.name, .command = options.command, .machine = "", .data = ""};
  report.looks = profile.looks;
  std::vector<std::vector<ClaimResult>> results;
  if (options.together.ranks > 1) postman.start(scheduler);
  const std::exception_ptr error = try_claims(claims, equipments(equipment), results);
  postman.finish(error != nullptr);
  const Records runs = scheduler.finished();
  if (!options.out.empty()) write(options.out + "/runs.csv", to_csv(runs));
  if (error) std::rethrow_exception(error);

  report.claims = results[0];
  if (options.norms.own) {
    report.own = options.norms.own.name;
    add_own(report.claims, {{"BatchNorm", results[1]}, {"LayerNorm", results[2]}}, report.own);
  }
  correct(report.claims);
  for (ClaimResult& c : report.claims)
    if (!c.primary().stands) tell(c);
  if (options.on_claim)
    for (const ClaimResult& c : report.claims) options.on_claim(c);
  report.foreign = scheduler.foreign();
  describe(report, options, *equipment.data, runs);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!options.out.empty()) {
    write(options.out + "/report.html", to_html(report));
    write(options.out + "/lesson.svg", picture_svg(report));
    write(options.out + "/report.md", to_markdown(report));
    write(options.out + "/report.jsonl", to_json_lines(report));
    write(options.out + "/questions.jsonl", questions_of(report));
    write(options.out + "/effort.txt", EffortTable::of(runs));
    if (!chosen.text().empty()) write(options.out + "/rates.txt", chosen.text());
  }
  return report;
}

}  // namespace loupe::lesson
