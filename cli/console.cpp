#include <loupe/cli/console.h>
#include <loupe/io/file.h>

#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>

namespace loupe::cli {

using nlohmann::ordered_json;

struct Json::Impl {
  ordered_json j = ordered_json::object();
  std::string name = "JSON";
  template <class Is>
  const ordered_json& member(const std::string& key, Is is, const char* kind) const;
};

Json::Json() : impl_(std::make_unique<Impl>()) {}
Json::Json(std::string_view event) : Json() { impl_->j["event"] = event; }
Json::Json(Json&&) noexcept = default;
Json& Json::operator=(Json&&) noexcept = default;
Json::~Json() = default;
Json& Json::set(const std::string& key, double v) {
  impl_->j[key] = std::isfinite(v) ? ordered_json(v) : ordered_json(nullptr);
  return *this;
}
Json& Json::set(const std::string& key, int64_t v) { return impl_->j[key] = v, *this; }
Json& Json::set(const std::string& key, bool v) { return impl_->j[key] = v, *this; }
Json& Json::set(const std::string& key, const std::string& v) { return impl_->j[key] = v, *this; }
Json& Json::set(const std::string& key, const std::vector<double>& v) {
  return impl_->j[key] = v, *this;
}
Json& Json::set(const std::string& key, const std::vector<std::vector<int64_t>>& v) {
  return impl_->j[key] = v, *this;
}
Json& Json::set(const std::string& key, Json v) {
  return impl_->j[key] = std::move(v.impl_->j), *this;
}

std::string Json::text(bool pretty) const {
  return impl_->j.dump(pretty ? 2 : -1, ' ', false, ordered_json::error_handler_t::replace);
}

Json Json::parse(std::string_view text, const std::string& name) {
  Json out;
  out.impl_->j = ordered_json::parse(text, nullptr, false);
  out.impl_->name = name;
  if (!out.impl_->j.is_object()) fail<IoError>("{}: not a JSON object", name);
  return out;
}
Json Json::read_file(const std::string& path) { return parse(loupe::read_file(path), path); }

bool Json::has(const std::string& key) const {
  return impl_->j.contains(key) && !impl_->j[key].is_null();
}

// nlohmann's own conversions take 1.7 for 1 and true for 1.
template <class Is>
const ordered_json& Json::Impl::member(const std::string& key, Is is, const char* kind) const {
  const auto found = j.find(key);
  if (found == j.end()) fail<IoError>("{}: \"{}\" is missing", name, key);
  if (!is(*found)) fail<IoError>("{}: \"{}\" is not {}", name, key, kind);
  return *found;
}

std::string Json::get_string(const std::string& key) const {
  return impl_
      ->member(
          key, [](const ordered_json& v) { return v.is_string(); }, "a text")
      .get<std::string>();
}
double Json::get_number(const std::string& key) const {
  return impl_
      ->member(
          key, [](const ordered_json& v) { return v.is_number(); }, "a number")
      .get<double>();
}
int64_t Json::get_integer(const std::string& key) const {
  const auto fits = [](const ordered_json& v) {
    return v.is_number_integer() &&
           (!v.is_number_unsigned() || v.get<uint64_t>() <= uint64_t{INT64_MAX});
  };
  return impl_->member(key, fits, "a whole number of 64 bits").get<int64_t>();
}
bool Json::get_bool(const std::string& key) const {
  return impl_
      ->member(
          key, [](const ordered_json& v) { return v.is_boolean(); }, "true or false")
      .get<bool>();
}

std::string Json::member_text(const std::string& key) const {
  const auto found = impl_->j.find(key);
  return found == impl_->j.end() ? "nothing" : found->dump();
}
std::vector<std::string> Json::differing(const Json& other) const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : impl_->j.items())
    if (other.member_text(key) != value.dump()) keys.push_back(key);
  for (const auto& [key, value] : other.impl_->j.items())
    if (!impl_->j.contains(key)) keys.push_back(key);
  return keys;
}

Console::Console(bool json)
    : json_(json), terminal_(isatty(2) != 0), start_(std::chrono::steady_clock::now()) {}

void Console::clear_bar() {
  if (!bar_shown_) return;
  std::fputs("\r\033[K", stderr);
  bar_shown_ = false;
}

void Console::say(std::string_view line) {
  clear_bar();
  std::FILE* const to = json_ ? stderr : stdout;
  std::fwrite(line.data(), 1, line.size(), to);
  std::fputc('\n', to);
  std::fflush(to);
}

void Console::event(const Json& e) {
  if (!json_) return;
  const std::string line = e.text() + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

void Console::progress(int64_t done, int64_t total, double samples_per_second,
                       std::string_view what) {
  const auto now = std::chrono::steady_clock::now();
  const double since = std::chrono::duration<double>(now - last_).count();
  if (done == 1) start_ = now;
  if (since < (terminal_ ? 0.1 : 5.0) && done != total) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double left =
      done > 1 ? elapsed / static_cast<double>(done - 1) * static_cast<double>(total - done) : 0;
  const std::string tail = fmt::format(" {}/{} {}  {:.0f} samples/s  {} left", done, total, what,
                                       samples_per_second, duration(left));
  if (!terminal_) return say(tail.substr(1));
  winsize size{};
  const size_t columns =
      ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col - 1u : 79u;
  std::string line = tail.substr(1);
  if (columns > tail.size() + 12) {
    const size_t width = std::min<size_t>(columns - tail.size() - 2, 30);
    const size_t filled =
        static_cast<size_t>(static_cast<double>(width) * static_cast<double>(done) /
                            static_cast<double>(std::max<int64_t>(total, 1)));
    line = "[" + std::string(filled, '#') + std::string(width - filled, '.') + "]" + tail;
  }
  std::fprintf(stderr, "\r%.*s\033[K", static_cast<int>(columns), line.c_str());
  std::fflush(stderr);
  bar_shown_ = true;
}

void Console::finish() { clear_bar(); }

std::string duration(double seconds) {
  const int64_t s = static_cast<int64_t>(std::lround(std::max(seconds, 0.0)));
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

namespace {
std::atomic<bool> g_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);
}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { g_interrupted.store(true, std::memory_order_relaxed); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // the second Ctrl-C has the usual effect
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(
      SIGXFSZ,
      SIG_IGN);  // a file beyond the limit (ulimit -f) is then an error of write, with a sentence
}
bool interrupted() { return g_interrupted.load(std::memory_order_relaxed); }

}  // namespace loupe::cli
