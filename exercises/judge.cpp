// The judge: loads a student's file, compiled to a shared object together with the check of its
// exercise, runs the check, and writes what it found as JSON, an object a line.
//   judge STUDENT.so RESULT TORCH.safetensors SEED...
// A line {"trying": ...} before each case, then one line a seed. Who started the judge sees crashes
// and endless loops by its exit and by the last case. Speaks of nothing on stdout: that is the
// student's.
#include <loupe/core/error.h>
#include <loupe/exercises/check.h>
#include <loupe/exercises/student.h>

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <string>

using namespace loupe::exercises;

namespace {

std::string in_quotes(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\', out += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else out += c;
  }
  return out + '"';
}

struct Loaded {
  const char* (*sentinel)();
  void (*run)(Check&);
};

// Exit 3: a function of the exercise is missing in the student's file; the loader's words on
// stderr.
Loaded load(const char* path) {
  void* const object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!object) {
    std::fprintf(stderr, "%s\n", dlerror());
    std::exit(3);
  }
  Loaded l{};
  l.sentinel = reinterpret_cast<const char* (*)()>(dlsym(object, "loupe_exercise_sentinel"));
  l.run = reinterpret_cast<void (*)(Check&)>(dlsym(object, "_ZN5loupe9exercises3runERNS0_5CheckE"));
  if (l.sentinel && l.run) return l;
  std::fprintf(stderr, "%s\n", dlerror());
  std::exit(3);
}

std::string failure_text(const Failure& f, const char* kind) {
  return fmt::format(
      "\"passed\": false, \"kind\": {}, \"case\": {}, \"what\": {}, \"yours\": {}, \"right\": {}, "
      "\"says\": {}",
      in_quotes(f.named ? "named" : kind), in_quotes(f.trying), in_quotes(f.what),
      in_quotes(f.yours), in_quotes(f.right), in_quotes(f.says));
}

std::string judged(const Loaded& student, uint64_t seed, const std::string& fixtures,
                   const std::function<void(const std::string&)>& report) {
  std::string last;
  Check c(seed, fixtures, [&](const std::string& text) {
    last = text;
    report(text);
  });
  try {
    student.run(c);
  } catch (const Failure& f) { return failure_text(f, "different"); } catch (const NotFilledIn& n) {
    return failure_text({last, n.what, "", "", fmt::format("{} is not filled in yet", n.what)},
                        "blank");
  } catch (const std::exception& e) {
    return failure_text({last, "", "", "", fmt::format("your code threw: {}", e.what())},
                        "exception");
  } catch (...) {
    return failure_text({last, "", "", "", "your code threw something that is not an exception"},
                        "exception");
  }
  return fmt::format("\"passed\": true, \"score\": {}, \"points\": {}", in_quotes(c.score_text),
                     c.points);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "judge STUDENT.so RESULT TORCH.safetensors SEED...\n");
    return 2;
  }
  const Loaded student = load(argv[1]);
  std::FILE* const result = std::fopen(argv[2], "w");
  if (!result) return 2;
  const auto line = [&](const std::string& text) {
    std::fprintf(result, "{%s}\n", text.c_str());
    std::fflush(result);
  };
  for (int i = 4; i < argc; ++i) {
    const uint64_t seed = std::strtoull(argv[i], nullptr, 10);
    const auto start = std::chrono::steady_clock::now();
    const std::string found = judged(student, seed, argv[3], [&](const std::string& text) {
      line("\"trying\": " + in_quotes(text));
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    line(fmt::format("\"sentinel\": {}, \"seed\": {}, \"seconds\": {:.3f}, {}",
                     in_quotes(student.sentinel()), seed, took.count(), found));
  }
  std::fclose(result);
  return 0;
}
