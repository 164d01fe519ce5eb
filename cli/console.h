#pragma once
// What a command says: one JSON object a line on stdout under --json, text for people (and a
// progress bar on a terminal) otherwise; with --json the text goes to stderr.
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace loupe::cli {

/// A JSON object in the order its members were set. NaN and infinities are written as null.
class Json {
 public:
  Json();
  explicit Json(std::string_view event);  // {"event": event, ...}
  Json(Json&&) noexcept;
  Json& operator=(Json&&) noexcept;
  ~Json();
  Json& set(const std::string& key, double v);
  Json& set(const std::string& key, int64_t v);
  Json& set(const std::string& key, int v) { return set(key, static_cast<int64_t>(v)); }
  Json& set(const std::string& key, uint64_t v);
  Json& set(const std::string& key, bool v);
  Json& set(const std::string& key, const std::string& v);
  Json& set(const std::string& key, const char* v) { return set(key, std::string(v)); }
  Json& set(const std::string& key, const std::vector<double>& v);
  Json& set(const std::string& key, const std::vector<std::vector<int64_t>>& v);
  Json& set(const std::string& key, Json v);
  /// One line, or indented.
  std::string text(bool pretty = false) const;

  /// An object from its text; IoError if it is none, with line and column of what is no JSON.
  /// `name` is the file in errors, here and in the members' below.
  static Json parse(std::string_view text, const std::string& name);
  static Json read_file(const std::string& path);
  /// Whether there is such a member, not null.
  bool has(const std::string& key) const;
  /// A member; IoError if it is missing or of another kind (a fraction is no integer).
  std::string get_string(const std::string& key) const;
  double get_number(const std::string& key) const;
  int64_t get_integer(const std::string& key) const;
  bool get_bool(const std::string& key) const;
  std::vector<std::string> get_strings(const std::string& key) const;
  /// Names of all members.
  std::vector<std::string> keys() const;
  /// Names of the members that differ, or that only one of the two has.
  std::vector<std::string> differing(const Json& other) const;
  /// A member as JSON text; "nothing" if it is missing.
  std::string member_text(const std::string& key) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class Console {
 public:
  /// `silent`: nothing is said, as on all ranks but the first.
  explicit Console(bool json, bool silent = false);
  /// A line for people.
  void say(std::string_view line);
  /// An event for programs; nothing without --json.
  void event(const Json& e);
  /// Rewrites the progress line on a terminal; prints a plain line now and then (at most one in 5
  /// s, and the last one) when piped. `what` ends the line: loss, accuracy. The time left is shown
  /// once two calls have measured it.
  void progress(int64_t done, int64_t total, double samples_per_second, std::string_view what);
  /// Ends the progress line.
  void finish();
  bool json() const { return json_; }

 private:
  void clear_bar();
  bool json_, silent_, terminal_, bar_shown_ = false;
  std::chrono::steady_clock::time_point last_, start_;
  int64_t first_done_ = -1;  // `done` at start_
};

/// "1:05", "2:03:04".
std::string duration(double seconds);

/// Writes to standard output. IoError where that fails, as on a full disk; the process ends in
/// silence when nobody reads any more (a closed pipe).
void write_out(std::string_view text);

/// Makes descriptors 0 to 2 safe: one that was closed at the start must not become a data file's.
/// Reading and writing a closed one fails as before.
void keep_standard_descriptors();

/// Ctrl-C and SIGTERM end the process at once, until catch_interrupts(): also where a shell started
/// it in the background with Ctrl-C ignored.
void end_on_interrupts();
/// From here on Ctrl-C and SIGTERM ask running work to stop at the next step; a second one ends the
/// process.
void catch_interrupts();
bool interrupted();
/// Thrown out of work between two steps, such as an evaluation, which has nothing to keep.
struct Interrupted {};
void stop_if_interrupted();
/// The exit code that says so: 130 after Ctrl-C, 143 after SIGTERM; 0 without either.
int interrupt_code();

}  // namespace loupe::cli
