#include <loupe/cli/console.h>
#include <loupe/io/file.h>

#include <fcntl.h>
#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>

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
Json& Json::set(const std::string& key, uint64_t v) { return impl_->j[key] = v, *this; }
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

namespace {

/// "3:15", and what stands there.
std::string place_of(std::string_view text, size_t at) {
  at = std::min(at, text.size());
  const std::string_view before = text.substr(0, at);
  const size_t line_start = before.rfind('\n') + 1;  // 0 where there is none
  const std::string place =
      fmt::format("{}:{}", std::count(before.begin(), before.end(), '\n') + 1, at - line_start + 1);
  const std::string_view rest = text.substr(at);
  if (rest.empty()) return place + ", where it ends too early";
  if (rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with("#"))
    return place + ": JSON has no comments";
  for (const std::string_view word : {"NaN", "Infinity", "-Infinity", "nan", "inf"})
    if (rest.starts_with(word)) return fmt::format("{}: {} is no number of JSON's", place, word);
  return place;
}

/// Where the parser met what is no JSON: the start of the word it was in.
size_t start_of_word(std::string_view text, size_t byte) {
  size_t at = std::min(byte, text.size());
  if (at > 0) --at;  // the parser counts from 1
  const auto in_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-';
  };
  while (at > 0 && at < text.size() && in_word(text[at]) && in_word(text[at - 1])) --at;
  if (at > 0 && at < text.size() && text[at] != '/' && text[at - 1] == '/') --at;
  return at;
}

}  // namespace

Json Json::parse(std::string_view text, const std::string& name) {
  Json out;
  out.impl_->name = name;
  try {
    out.impl_->j = ordered_json::parse(text);
  } catch (const ordered_json::parse_error& e) {
    const bool ends = e.byte > text.size();
    fail<IoError>("{}: not a JSON object: see {}", name,
                  place_of(text, ends ? text.size() : start_of_word(text, e.byte)));
  } catch (const ordered_json::exception&) {
    fail<IoError>("{}: not a JSON object: it holds a number that is out of range", name);
  }
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

std::vector<std::string> Json::get_strings(const std::string& key) const {
  const auto texts = [](const ordered_json& v) {
    return v.is_array() &&
           std::all_of(v.begin(), v.end(), [](const auto& e) { return e.is_string(); });
  };
  return impl_->member(key, texts, "a list of texts").get<std::vector<std::string>>();
}

std::vector<std::string> Json::keys() const {
  std::vector<std::string> names;
  for (const auto& [key, value] : impl_->j.items()) names.push_back(key);
  return names;
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

Console::Console(bool json, bool silent)
    : json_(json),
      silent_(silent),
      terminal_(isatty(2) != 0),
      start_(std::chrono::steady_clock::now()) {}

void Console::clear_bar() {
  if (!bar_shown_) return;
  std::fputs("\r\033[K", stderr);
  bar_shown_ = false;
}

void Console::say(std::string_view line) {
  if (silent_) return;
  clear_bar();
  const std::string whole = std::string(line) + "\n";
  if (!json_) return write_out(whole);
  std::fwrite(whole.data(), 1, whole.size(), stderr);
  std::fflush(stderr);
}

void Console::event(const Json& e) {
  if (json_ && !silent_) write_out(e.text() + "\n");
}

void Console::progress(int64_t done, int64_t total, double samples_per_second,
                       std::string_view what) {
  if (silent_) return;
  const auto now = std::chrono::steady_clock::now();
  const double since = std::chrono::duration<double>(now - last_).count();
  if (first_done_ < 0) first_done_ = done, start_ = now;
  if (since < (terminal_ ? 0.1 : 5.0) && done != total) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const int64_t measured = done - first_done_;
  const std::string left =
      measured < 1 ? ""
                   : fmt::format("  {} left", duration(elapsed / static_cast<double>(measured) *
                                                       static_cast<double>(total - done)));
  const std::string tail =
      fmt::format(" {}/{} {}  {:.0f} samples/s{}", done, total, what, samples_per_second, left);
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

void write_out(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {  // somebody made the terminal or pipe non-blocking
      pollfd ready{STDOUT_FILENO, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno == EPIPE) {  // only where SIGPIPE is ignored: it ends the process otherwise
      ::_exit(128 + SIGPIPE);
    } else if (errno != EINTR) {
      fail<IoError>("standard output: cannot write: {}", std::strerror(errno));
    }
  }
}

void keep_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is this one. Opened the wrong way round, so that using it fails.
    const int opened = ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    if (opened > STDERR_FILENO) ::close(opened);
  }
}

namespace {

std::atomic<int> g_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

void handle_interrupts(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

void end_on_interrupts() {
  handle_interrupts(SIG_DFL);
  // A file beyond the limit (ulimit -f) is then an error of write, with a sentence.
  std::signal(SIGXFSZ, SIG_IGN);
}

void catch_interrupts() {
  handle_interrupts([](int signal) {
    g_signal.store(signal, std::memory_order_relaxed);
    handle_interrupts(SIG_DFL);  // the second one has the usual effect
  });
}
bool interrupted() { return g_signal.load(std::memory_order_relaxed) != 0; }
void stop_if_interrupted() {
  if (interrupted()) throw Interrupted();
}
int interrupt_code() {
  const int signal = g_signal.load(std::memory_order_relaxed);
  return signal == 0 ? 0 : 128 + signal;
}

}  // namespace loupe::cli
