#pragma once
// The program as a user runs it, in a process of its own; and small data for it.
#include <loupe/io/idx.h>

#include <nlohmann/json.hpp>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "catch.h"

namespace fs = std::filesystem;
using nlohmann::json;

struct Output {
  int code;
  std::string out, err;
};

/// A folder of its own for a test, removed at the end.
struct Folder {
  fs::path path;
  Folder() {
    static int counter = 0;
    path = fs::temp_directory_path() /
           ("loupe_cli_" + std::to_string(getpid()) + "_" + std::to_string(counter++));
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

/// Runs a line in the shell.
inline Output shell(const std::string& line) {
  const Folder f;
  std::FILE* pipe = popen(("{ " + line + "\n} 2>" + f / "err").c_str(), "r");
  REQUIRE(pipe != nullptr);
  Output o;
  std::array<char, 4096> buffer;
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    o.out.append(buffer.data(), n);
  const int status = pclose(pipe);
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  o.err = loupe::read_file(f / "err");
  return o;
}

/// Runs `loupe ARGUMENTS` in the shell.
inline Output loupe_program(const std::string& arguments, const std::string& environment = "") {
  return shell(environment + " " LOUPE_PROGRAM " " + arguments);
}

/// The same with a terminal for stderr, as somebody sees it who sits before it; err is what that
/// shows.
inline Output loupe_on_terminal(const std::string& arguments) {
  const Folder f;
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, nullptr);
  REQUIRE(child >= 0);
  if (child == 0) {
    const std::string line = LOUPE_PROGRAM " " + arguments + " >" + f / "out";
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  Output o;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t n = read(terminal, buffer.data(), buffer.size());
    if (n > 0) o.err.append(buffer.data(), static_cast<size_t>(n));
    else if (n == 0 || errno != EINTR) break;  // EIO: the program has ended
  }
  int status = 0;
  waitpid(child, &status, 0);
  close(terminal);
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  o.out = loupe::read_file(f / "out");
  return o;
}

/// Starts `loupe ARGUMENTS` in silence; the caller kills it and waits.
inline pid_t start_loupe(const std::string& arguments) {
  const std::string line = "exec " LOUPE_PROGRAM " " + arguments + " >/dev/null 2>&1";
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  return child;
}

/// The last JSON line of an output.
inline json last_event(const Output& o) {
  INFO("exit code " << o.code << "\n" << o.err);
  json last;
  std::istringstream lines(o.out);
  for (std::string line; std::getline(lines, line);) last = json::parse(line);
  REQUIRE(last.is_object());
  return last;
}

/// A folder in MNIST's format with a few images of noise and stripes: quick to read and to train
/// on.
inline void write_small_mnist(const std::string& folder, int64_t train = 96, int64_t test = 40,
                              uint8_t largest_label = 9, int64_t size = 28) {
  fs::create_directories(folder);
  for (const auto& [name, n] : {std::pair<std::string, int64_t>{"train", train}, {"t10k", test}}) {
    std::vector<uint8_t> pixels, labels;
    for (int64_t i = 0; i < n; ++i) {
      labels.push_back(static_cast<uint8_t>(i % (largest_label + 1)));
      for (int64_t p = 0; p < size * size; ++p)
        pixels.push_back(
            static_cast<uint8_t>((p % (i % 10 + 2)) * 20 + (p * 7919 + i * 104729) % 13));
    }
    loupe::write_idx(folder + "/" + name + "-images-idx3-ubyte", {n, size, size}, pixels);
    loupe::write_idx(folder + "/" + name + "-labels-idx1-ubyte", {n}, labels);
  }
}

/// A training that takes a moment: a GPT of one block.
inline const std::string kGpt =
    "train gpt --layers 1 --heads 2 --width 16 --context 16 --batch-size 4 --dropout 0.1 --json ";
/// The same for images in `folder`.
inline std::string small_cnn(const std::string& folder) {
  return "train cnn --dataset mnist --data " + folder + " --batch-size 8 --json ";
}
