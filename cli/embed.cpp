// `loupe embed` and `loupe inspect`.
#include <loupe/cli/commands.h>
#include <loupe/cli/sentence_model.h>

#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>
#include <loupe/io/checkpoint.h>
#include <loupe/io/json.h>
#include <loupe/io/npy.h>
#include <loupe/io/safetensors.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <sstream>

namespace loupe::cli {

namespace {

std::string read_standard_input() {
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n == 0) return text;
    if (n > 0) text.append(buffer.data(), static_cast<size_t>(n));
    else if (errno != EINTR) fail<IoError>("standard input: cannot read: {}", std::strerror(errno));
  }
}

}  // namespace

int embed(const EmbedOptions& o) {
  Console console(o.json);
  if (o.threads > 0) set_thread_limit(o.threads);
  SentenceModel s = load_sentence_model(o.model);
  std::vector<std::string> texts = o.texts;
  if (!o.file.empty()) {
    std::istringstream lines(o.file == "-" ? read_standard_input() : read_file(o.file));
    for (std::string line; std::getline(lines, line);) texts.push_back(line);
  }
  if (texts.empty())
    fail<ValueError>("embed: no text; give some, or --file with one a line (- for standard input)");
  std::vector<std::vector<int64_t>> ids;
  for (size_t i = 0; i < texts.size(); ++i)
    ids.push_back(s.encode(texts[i], fmt::format("text {}", i + 1)));
  // Texts of similar length go together: padding is work.
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return ids[a].size() < ids[b].size(); });
  std::vector<std::vector<double>> vectors(texts.size());
  NoGrad guard;
  for (size_t at = 0; at < order.size(); at += static_cast<size_t>(o.batch_size)) {
    const size_t end = std::min(order.size(), at + static_cast<size_t>(o.batch_size));
    std::vector<std::vector<int64_t>> part;
    for (size_t i = at; i < end; ++i) part.push_back(ids[order[i]]);
    const Batch batch = pad_sequences(part, s.tokenizer.pad_id());
    const Tensor e = s.embed(batch);
    for (size_t i = at; i < end; ++i)
      vectors[order[i]] = e[static_cast<int64_t>(i - at)].to_vector<double>();
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    console.event(Json("embedding")
                      .set("text", texts[i])
                      .set("tokens", static_cast<int64_t>(ids[i].size()))
                      .set("vector", vectors[i]));
    if (o.json) continue;
    std::string line;
    for (double v : vectors[i]) line += fmt::format("{}{:.6f}", line.empty() ? "" : " ", v);
    console.say(line);
  }
  return 0;
}

int inspect(const InspectOptions& o) {
  Console console(o.json);
  const auto row = [&](const std::string& name, const std::string& dtype, const std::string& shape,
                       int64_t bytes) {
    console.say(fmt::format("{:<5} {:<22} {:>12}  {}", dtype, shape, bytes, name));
    console.event(Json("tensor")
                      .set("name", name)
                      .set("dtype", dtype)
                      .set("shape", shape)
                      .set("bytes", bytes));
  };
  console.say(fmt::format("{:<5} {:<22} {:>12}  {}", "type", "shape", "bytes", "name"));
  int64_t elements = 0, count = 0;
  FileTensors tensors;  // of a .npy or .npz file
  if (o.file.ends_with(".npy") || o.file.ends_with(".npz")) {
    if (o.file.ends_with(".npz")) tensors = load_npz(o.file);
    else tensors[std::filesystem::path(o.file).stem().string()] = load_npy(o.file);
    for (const auto& [name, t] : tensors) {
      row(name, loupe::name(t.dtype()), to_string(t.shape()),
          t.numel() * static_cast<int64_t>(size_of(t.dtype())));
      elements += t.numel();
      ++count;
    }
  } else {
    const SafetensorsHeader header = read_safetensors_header(o.file);
    for (const SafetensorsEntry& e : header.entries) {
      std::string shape = "(";
      int64_t n = 1;
      for (size_t i = 0; i < e.shape.size(); ++i) {
        shape += (i ? ", " : "") + std::to_string(e.shape[i]);
        n *= e.shape[i];
      }
      row(e.name, e.dtype, shape + (e.shape.size() == 1 ? ",)" : ")"),
          static_cast<int64_t>(e.end - e.begin));
      elements += n;
      ++count;
    }
    for (const auto& [key, value] : header.metadata) {
      const std::string shown = value.size() > 60 ? value.substr(0, 57) + "..." : value;
      console.say(fmt::format("metadata {}: {}", key, json_quote(shown)));
    }
  }
  for (const auto& [name, why] : tensors.unread) {
    console.say("not read: " + why);
    console.event(Json("unread").set("name", name).set("reason", why));
  }
  console.say(fmt::format("{} tensors, {} elements", count, elements));
  console.event(Json("result").set("tensors", count).set("elements", elements));
  return 0;
}

}  // namespace loupe::cli
