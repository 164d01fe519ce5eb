#include <loupe/core/error.h>
#include <loupe/view/words.h>

#include <fmt/format.h>

#include <cstdio>

namespace loupe::view {

std::string bytes_in_words(int64_t bytes) {
  constexpr int64_t kFewBytes = 10'000, kFewKilobytes = 10'000'000;
  if (bytes < kFewBytes) return fmt::format("{} B", bytes);
  if (bytes < kFewKilobytes) return fmt::format("{:.1f} kB", static_cast<double>(bytes) * 1e-3);
  return fmt::format("{:.1f} MB", static_cast<double>(bytes) * 1e-6);
}

std::string fitted(const std::string& name, size_t width) {
  return name.size() <= width ? name : "~" + name.substr(name.size() - width + 1);
}

std::string escape(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == '<') out += fmt::format("\\u{:04x}", c);
    else out += c;
  }
  return out + '"';
}

void write_text(const std::string& path, const std::string& text, const char* what) {
  std::FILE* const file = std::fopen(path.c_str(), "w");
  if (!file) fail<IoError>("{}: cannot write {}", what, path);
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = std::fclose(file) == 0;  // what was buffered may find the disk full
  if (!written || !closed) fail<IoError>("{}: cannot write {}: the disk may be full", what, path);
}

}  // namespace loupe::view
