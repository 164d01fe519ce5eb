// The program as a user runs it: in a process of its own, on the real data of the Debian packages.
#include "catch.h"

#include <loupe/io/file.h>
#include <loupe/io/npy.h>
#include <loupe/io/safetensors.h>

#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "io/events.h"

namespace fs = std::filesystem;
using nlohmann::json;
using Catch::Matchers::Contains;

namespace {

struct Output {
  int code;
  std::string out, err;
};

// Runs `loupe ARGUMENTS` through the shell.
Output loupe_program(const std::string& arguments, const std::string& environment = "") {
  static int counter = 0;
  const std::string err = fs::temp_directory_path() / ("loupe_err_" + std::to_string(getpid()) + "_" + std::to_string(counter++));
  const std::string line = environment + " " LOUPE_PROGRAM " " + arguments + " 2>" + err;
  std::FILE* pipe = popen(line.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Output o;
  std::array<char, 4096> buffer;
  for (size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) o.out.append(buffer.data(), n);
  const int status = pclose(pipe);
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  o.err = loupe::read_file(err);
  fs::remove(err);
  return o;
}

json last_event(const std::string& out) {
  json last;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) last = json::parse(line);
  return last;
}

struct Folder {
  fs::path path = fs::temp_directory_path() / ("loupe_cli_" + std::to_string(getpid()));
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

// The events of a run's only file.
std::string event_file(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path().string());
  REQUIRE(files.size() == 1);
  return files[0];
}

const std::string kFiles = std::string(LOUPE_FIXTURES) + "/files/";
const std::string kGpt = "train gpt --layers 1 --heads 2 --width 16 --context 16 --batch-size 4 --dropout 0.1 --json ";

}  // namespace

TEST_CASE("train cnn learns Fashion-MNIST, writes its folder, and eval agrees") {
  Folder f;
  const Output o = loupe_program("train cnn --steps 60 --seed 3 --json --out " + f / "run");
  INFO(o.err);
  REQUIRE(o.code == 0);
  const json r = last_event(o.out);
  REQUIRE(r["event"] == "result");
  REQUIRE(r["test_accuracy"].get<double>() > 0.7);
  REQUIRE(r["parameters"] == 278890);
  REQUIRE(r["steps"] == 60);
  REQUIRE(r["seed"] == 3);
  for (const char* name : {"model.safetensors", "options.json", "metrics.jsonl", "checkpoints"}) REQUIRE(fs::exists(f / ("run/" + std::string(name))));
  const json options = json::parse(loupe::read_file(f / "run/options.json"));
  REQUIRE(options["data_sha256"].get<std::string>().size() == 64);
  const Output e = loupe_program("eval --json " + f / "run");
  REQUIRE(e.code == 0);
  const json evaluated = last_event(e.out);
  REQUIRE(evaluated["test_accuracy"] == r["test_accuracy"]);
  int64_t total = 0;
  for (const auto& row : evaluated["confusion"])
    for (const auto& n : row) total += n.get<int64_t>();
  REQUIRE(total == 10000);
  REQUIRE(fs::file_size(f / "run/wrong.png") > 1000);
  REQUIRE_THAT(e.err, Contains("T-shirt"));
  REQUIRE_THAT(loupe_program("summary " + f / "run").out, Contains("278,890 parameters"));
}

TEST_CASE("the same bits at any thread count, at any prefetching, with and without files and TensorBoard") {
  Folder f;
  std::string cnn, gpt;
  for (const std::string& how : {std::string("--threads 1"), std::string("--threads 2"), "--threads 3 --out " + f / "a", "--threads 8 --logdir " + f / "b", "--threads 2 --log-every 1 --logdir " + f / "c"}) {
    INFO(how);
    const json c = last_event(loupe_program("train cnn --steps 12 --json " + how).out), g = last_event(loupe_program(kGpt + "--steps 25 " + how).out);
    if (cnn.empty()) {
      cnn = c["weights_hash"];
      gpt = g["weights_hash"];
    }
    REQUIRE(c["weights_hash"] == cnn);
    REQUIRE(g["weights_hash"] == gpt);
  }
  REQUIRE(last_event(loupe_program(kGpt + "--steps 25 --seed 1").out)["weights_hash"] != gpt);
}

TEST_CASE("a killed run resumes to the bits of one that was never stopped; Ctrl-C keeps a checkpoint") {
  Folder f;
  const std::string arguments = kGpt + "--steps 400 --checkpoint-every 20 --out ";
  const json whole = last_event(loupe_program(arguments + f / "whole").out);
  for (const int signal : {SIGKILL, SIGINT}) {
    const std::string out = f / ("cut" + std::to_string(signal)), board = f / ("board" + std::to_string(signal));
    const pid_t child = fork();
    if (child == 0) {
      (void)!freopen("/dev/null", "w", stdout);
      (void)!freopen("/dev/null", "w", stderr);
      execl("/bin/sh", "sh", "-c", ("exec " LOUPE_PROGRAM " " + arguments + out + " --log-every 10 --logdir " + board).c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 20000 && !fs::exists(out + "/checkpoints/step-000000020.safetensors"); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    kill(child, signal);
    int status = 0;
    waitpid(child, &status, 0);
    if (signal == SIGINT && WIFEXITED(status)) REQUIRE((WEXITSTATUS(status) == 130 || WEXITSTATUS(status) == 0));
    // Whoever looks at a killed run sees it up to its end: the records of its last steps are there, whole.
    const auto curves = scalars(event_file(board));
    REQUIRE(curves.at("train/loss").rbegin()->first >= 20);
    REQUIRE(curves.at("update_ratio/transformer.wte").size() > 1);
    const Output resumed = loupe_program(arguments + out + " --resume --logdir " + f / ("more" + std::to_string(signal)));
    REQUIRE(field(events(event_file(f / ("more" + std::to_string(signal))))[2], 7).size() == 2);  // TensorBoard forgets what lies beyond
    REQUIRE_THAT(resumed.err, Contains("resumed at step"));
    REQUIRE(last_event(resumed.out)["weights_hash"] == whole["weights_hash"]);
    REQUIRE(last_event(resumed.out)["val_loss"] == whole["val_loss"]);
  }
}

TEST_CASE("--logdir tells TensorBoard the run, every layer, the options, the graph and the wrong images") {
  Folder f;
  const json r = last_event(loupe_program("train cnn --steps 20 --json --log-every 10 --logdir " + f / "cnn").out);
  const json g = last_event(loupe_program(kGpt + "--steps 20 --log-every 10 --logdir " + f / "gpt").out);
  const auto cnn = scalars(event_file(f / "cnn")), gpt = scalars(event_file(f / "gpt"));
  for (const auto* run : {&cnn, &gpt})
    for (const char* tag : {"train/loss", "train/accuracy", "train/learning_rate", "train/gradient_norm", "train/samples_per_second"}) {
      INFO(tag);
      REQUIRE(run->at(tag).size() == 3);  // steps 1, 10 and 20
      for (const auto& [step, value] : run->at(tag)) REQUIRE(std::isfinite(value));
    }
  REQUIRE(cnn.at("eval/test_accuracy").at(20) == static_cast<float>(r["test_accuracy"].get<double>()));
  REQUIRE(cnn.count("eval/test_loss") == 1);
  REQUIRE(gpt.at("eval/val_loss").at(20) == static_cast<float>(g["val_loss"].get<double>()));
  REQUIRE(gpt.count("eval/val_accuracy") == 1);
  for (const char* tag : {"activation_mean/conv1", "activation_std/norm4", "dead_units/norm1", "gradient_norm/conv3", "update_ratio/fc1", "gamma_mean/norm2", "beta_std/norm5",
                          "running_mean_gap/norm1", "running_var_gap/norm5"})
    REQUIRE(cnn.at(tag).size() == 3);
  for (const char* tag : {"activation_std/transformer.h.0.attn.c_attn", "dead_units/transformer.h.0.mlp.c_fc", "gradient_norm/transformer.wte", "gamma_std/transformer.ln_f"})
    REQUIRE(gpt.at(tag).size() == 3);
  int graphs = 0;
  std::set<std::string> texts, pictures;
  for (const std::string& event : events(event_file(f / "cnn"))) {
    protozero::pbf_reader e(event);
    while (e.next())
      if (e.tag() == 4) ++graphs, e.skip();
      else if (e.tag() == 5) {
        const std::string value = field(e.get_string(), 1);
        protozero::pbf_reader v(value);
        while (v.next()) {
          if (v.tag() == 4) pictures.insert(field(v.get_string(), 4).substr(1, 3));
          else if (v.tag() == 8) texts.insert(field(value, 1)), v.skip();
          else v.skip();
        }
      } else {
        e.skip();
      }
  }
  REQUIRE(graphs == 1);
  REQUIRE(texts == std::set<std::string>{"options/text_summary", "wrong/text_summary"});
  REQUIRE(pictures == std::set<std::string>{"PNG"});
}

TEST_CASE("train gpt starts from a folder of Transformers' GPT-2, goes on from its own, and refuses what does not fit") {
  Folder f;
  const std::string text = " --text " + kFiles + "gpt2/text.txt --validation 0.5 --json ", from = "train gpt --init-from " + kFiles + "gpt2" + text;
  // A step that changes nothing: the loss on the second half of the text is Transformers'.
  const Output still = loupe_program(from + "--steps 1 --lr 1e-12 --out " + f / "still");
  INFO(still.err);
  const double want = loupe::load_npz(kFiles + "gpt2/io.npz").at("val_loss").item();
  REQUIRE(last_event(still.out)["val_loss"].get<double>() == Approx(want).epsilon(1e-6));
  const json config = json::parse(loupe::read_file(f / "still/config.json"));
  const json theirs = json::parse(loupe::read_file(kFiles + "gpt2/config.json"));
  for (const char* key : {"model_type", "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "layer_norm_epsilon", "activation_function", "tie_word_embeddings"})
    REQUIRE(config[key] == theirs[key]);
  // Fine-tuned, evaluated, and trained on from its own folder: the characters come from options.json.
  const json tuned = last_event(loupe_program(from + "--steps 60 --batch-size 8 --out " + f / "tuned").out);
  REQUIRE(tuned["val_loss"].get<double>() < want - 0.1);  // the text is random: ln 27 = 3.3 is its entropy
  REQUIRE(last_event(loupe_program("eval --json " + f / "tuned").out)["val_loss"] == tuned["val_loss"]);
  REQUIRE(loupe_program("sample --length 20 " + f / "tuned").code == 0);
  std::ofstream(f / "abc.txt") << "abc cab bac abc cab abc abc cab bac abc cab abc abc cab bac abc cab abc abc cab bac abc cab abc";
  REQUIRE_THAT(loupe_program("train gpt --steps 1 --init-from " + f / "tuned --text " + f / "abc.txt").err, Contains("' '"));
  std::string words(loupe::read_file(kFiles + "gpt2/text.txt"));
  std::ofstream(f / "words.txt") << words.substr(0, 200);
  REQUIRE(loupe_program("train gpt --steps 1 --init-from " + f / "tuned --text " + f / "words.txt").code == 0);
  REQUIRE_THAT(loupe_program("train gpt --steps 1 --init-from " + kFiles + "gpt2 --text " + f / "abc.txt").err, Contains("27 tokens") && Contains("4 characters"));
  REQUIRE_THAT(loupe_program(from + "--steps 1 --layers 3").err, Contains("--layers 3") && Contains("has 2"));
  REQUIRE_THAT(loupe_program(from + "--steps 1 --norm rms").err, Contains("LayerNorm"));
  fs::create_directories(f / "relu");
  std::ofstream(f / "relu/config.json") << R"({"model_type": "gpt2", "activation_function": "relu"})";
  REQUIRE_THAT(loupe_program("train gpt --steps 1 --init-from " + f / "relu").err, Contains("relu/config.json") && Contains("gelu_new"));
  std::ofstream(f / "relu/config.json") << R"({"model_type": "bert"})";
  REQUIRE_THAT(loupe_program("train gpt --steps 1 --init-from " + f / "relu").err, Contains("\"bert\""));
  std::ofstream(f / "relu/config.json") << R"({"vocab_size": 27, "n_positions": 0})";
  REQUIRE_THAT(loupe_program("train gpt --steps 1 --init-from " + f / "relu").err, Contains("n_positions"));
}

TEST_CASE("embed: the vectors of Transformers' model, in batches and alone") {
  Folder f;
  fs::create_directories(f.path);
  const auto texts = json::parse(loupe::read_file(kFiles + "sentences/texts.json")).get<std::vector<std::string>>();
  const loupe::Tensor want = loupe::load_npy(kFiles + "sentences/embeddings.npy");
  std::vector<size_t> lines;  // the texts that are one line
  std::ofstream file(f / "texts.txt");
  for (size_t i = 0; i < texts.size(); ++i)
    if (texts[i].find('\n') == std::string::npos) {
      lines.push_back(i);
      file << texts[i] << "\n";
    }
  file.close();
  REQUIRE(lines.size() >= 200);
  for (const std::string& how : {std::string("--batch-size 32"), std::string("--batch-size 1")}) {
    const Output o = loupe_program("embed --json --model " + kFiles + "sentences --file " + f / "texts.txt " + how);
    INFO(o.err);
    REQUIRE(o.code == 0);
    std::istringstream out(o.out);
    size_t n = 0;
    double largest = 0;
    for (std::string line; std::getline(out, line); ++n) {
      const json e = json::parse(line);
      REQUIRE(e["text"] == texts[lines.at(n)]);
      const auto vector = e["vector"].get<std::vector<double>>(), expected = want[static_cast<int64_t>(lines[n])].to_vector<double>();
      for (size_t i = 0; i < expected.size(); ++i) largest = std::max(largest, std::abs(vector.at(i) - expected[i]));
    }
    REQUIRE(n == lines.size());
    REQUIRE(largest < 1e-5);
  }
  const Output two = loupe_program("embed --model " + kFiles + "sentences 'hello world' ''");
  REQUIRE(std::count(two.out.begin(), two.out.end(), '\n') == 2);
  REQUIRE_THAT(loupe_program("embed --model " + kFiles + "sentences").err, Contains("no text"));
  REQUIRE_THAT(loupe_program("embed --model " + kFiles + "gpt2 x").err, Contains("hidden_size"));
  REQUIRE_THAT(loupe_program("embed --model " + kFiles + "sentences \"$(printf '\\377')\"").err, Contains("UTF-8"));
}

TEST_CASE("inspect prints what safetensors, .npy and .npz files hold") {
  const std::string io = std::string(LOUPE_FIXTURES) + "/io/";
  const Output s = loupe_program("inspect " + io + "safetensors/narrow.safetensors");
  REQUIRE(s.code == 0);
  REQUIRE_THAT(s.out, Contains("F16") && Contains("BF16") && Contains("I32") && Contains("(24,)") && Contains("4 tensors, 73 elements"));
  REQUIRE_THAT(loupe_program("inspect " + kFiles + "small_cnn/model.safetensors").out, Contains("norm1.num_batches_tracked") && Contains("metadata format: \"pt\""));
  const json last = last_event(loupe_program("inspect --json " + io + "npy/stored.npz").out);
  REQUIRE(last["tensors"] == 3);
  REQUIRE_THAT(loupe_program("inspect " + io + "npy/f4.npy").out, Contains("f32") && Contains("(2, 3, 4)"));
  const Output bad = loupe_program("inspect " + io + "versions.txt");
  REQUIRE(bad.code == 1);
  REQUIRE_THAT(bad.err, Contains("versions.txt") && Contains("offset"));
}

TEST_CASE("train gpt learns the word list, sample writes, eval agrees") {
  Folder f;
  const json r = last_event(loupe_program("train gpt --layers 2 --width 32 --context 32 --steps 150 --json --out " + f / "run").out);
  REQUIRE(r["val_loss"].get<double>() < 2.75);
  const json e = last_event(loupe_program("eval --json " + f / "run").out);
  REQUIRE(e["val_loss"] == r["val_loss"]);
  const Output s = loupe_program("sample --length 60 --seed 5 " + f / "run");
  REQUIRE(s.code == 0);
  REQUIRE(s.out.size() == 62);  // the prompt's line break, 60 characters, the line's end
  REQUIRE(loupe_program("sample --length 60 --seed 5 " + f / "run").out == s.out);
  REQUIRE(loupe_program("sample --prompt Q " + f / "run").code == 1);  // not in the vocabulary
}

TEST_CASE("wrong use is a sentence and a code, never a crash") {
  Folder f;
  fs::create_directories(f.path);
  REQUIRE(loupe_program("").code != 0);
  REQUIRE_THAT(loupe_program("--help").out, Contains("train") && Contains("sample"));
  REQUIRE_THAT(loupe_program("train cnn --help").out, Contains("--batch-size") && Contains("[0.003]"));
  REQUIRE(loupe_program("train cnn --norm laye").code != 0);
  REQUIRE(loupe_program("train cnn --epochs 0").code != 0);
  const Output missing = loupe_program("train cnn --data /nowhere");
  REQUIRE(missing.code == 1);
  REQUIRE_THAT(missing.err, Contains("/nowhere") && Contains("dataset-fashion-mnist"));
  std::ofstream(f / "empty.txt");
  REQUIRE_THAT(loupe_program("train gpt --text " + f / "empty.txt").err, Contains("empty.txt"));
  std::ofstream(f / "short.txt") << "abc";
  REQUIRE(loupe_program("train gpt --text " + f / "short.txt").code == 1);
  std::ofstream(f / "bad.txt") << "abc\xff";
  REQUIRE_THAT(loupe_program("train gpt --text " + f / "bad.txt").err, Contains("offset 3"));
  REQUIRE_THAT(loupe_program("train gpt --resume --steps 1").err, Contains("--out"));
  REQUIRE_THAT(loupe_program("train gpt --width 30 --heads 4 --steps 1").err, Contains("30"));
  const Output nan = loupe_program("train gpt --layers 1 --width 16 --context 16 --steps 50 --lr 1e30 --optimizer sgd --schedule constant");
  REQUIRE(nan.code == 1);
  REQUIRE_THAT(nan.err, Contains("loss is") && Contains("step"));
  REQUIRE_THAT(loupe_program("summary", "LOUPE_CPU=v9").err, Contains("LOUPE_CPU=v9"));
}
