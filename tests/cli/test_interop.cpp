// The program beside PyTorch, Transformers and TensorBoard: what it writes for them and reads from
// them.
#include "program.h"
#include "worst.h"

#include <loupe/io/npy.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cmath>
#include <set>

#include "io/events.h"

using Catch::Matchers::Contains;

namespace {

// The events of a run's only file.
std::string event_file(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path().string());
  REQUIRE(files.size() == 1);
  return files[0];
}

const std::string kFiles = std::string(LOUPE_FIXTURES) + "/files/";

}  // namespace

TEST_CASE(
    "--logdir tells TensorBoard the run, every layer, the options, the graph and the wrong "
    "images") {
  Folder f;
  write_small_mnist(f / "mnist");
  const json r = last_event(
      loupe_program(small_cnn(f / "mnist") + "--steps 20 --log-every 10 --logdir " + f / "cnn"));
  const json g =
      last_event(loupe_program(kGpt + "--steps 20 --log-every 10 --logdir " + f / "gpt"));
  const auto cnn = scalars(event_file(f / "cnn")), gpt = scalars(event_file(f / "gpt"));
  for (const auto* run : {&cnn, &gpt})
    for (const char* tag : {"train/loss", "train/accuracy", "train/learning_rate",
                            "train/gradient_norm", "train/samples_per_second"}) {
      INFO(tag);
      REQUIRE(run->at(tag).size() == 3);  // steps 1, 10 and 20
      for (const auto& [step, value] : run->at(tag)) REQUIRE(std::isfinite(value));
    }
  REQUIRE(cnn.at("eval/test_accuracy").at(20) ==
          static_cast<float>(r["test_accuracy"].get<double>()));
  REQUIRE(cnn.count("eval/test_loss") == 1);
  REQUIRE(gpt.at("eval/val_loss").at(20) == static_cast<float>(g["val_loss"].get<double>()));
  REQUIRE(gpt.count("eval/val_accuracy") == 1);
  for (const char* tag : {"activation_mean/conv1", "activation_std/norm4", "dead_units/norm1",
                          "gradient_norm/conv3", "update_ratio/fc1", "gamma_mean/norm2",
                          "beta_std/norm5", "running_mean_gap/norm1", "running_var_gap/norm5"})
    REQUIRE(cnn.at(tag).size() == 3);
  for (const char* tag :
       {"activation_std/transformer.h.0.attn.c_attn", "dead_units/transformer.h.0.mlp.c_fc",
        "gradient_norm/transformer.wte", "gamma_std/transformer.ln_f"})
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

TEST_CASE(
    "TensorBoard reads a killed run to its last flush; the resumed run tells it where it goes on") {
  Folder f;
  const std::string command = kGpt + "--steps 200 --log-every 10 --checkpoint-every 20 --logdir " +
                              f / "board" + " --out " + f / "run";
  const pid_t child = start_loupe(command);
  for (int i = 0; i < 20000 && !fs::exists(f / "run/checkpoints/step-000000040.safetensors"); ++i)
    usleep(1000);
  kill(child, SIGKILL);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  const std::string killed = event_file(f / "board");
  std::string bytes =
      loupe::read_file(killed);  // perhaps half a record at its end, which TensorBoard waits for
  loupe::ByteReader r(loupe::as_bytes(bytes), killed);
  size_t whole = 0;
  while (r.left() >= 8) {
    const auto n = r.little<uint64_t>("length");
    if (r.left() < n + 8) break;
    r.take(n + 8, "record");
    whole = r.at();
  }
  bytes.resize(whole);
  std::ofstream(killed, std::ios::binary) << bytes;
  const auto before = scalars(killed).at("train/loss");
  REQUIRE(before.count(40) == 1);

  const Output resumed = loupe_program(command + " --resume");
  const size_t said = resumed.err.find("resumed at step ");
  REQUIRE(said != std::string::npos);
  const int64_t from = std::stoll(resumed.err.substr(said + 16));
  fs::remove(killed);
  int64_t restarted = -1;
  for (const std::string& event : events(event_file(f / "board"))) {
    protozero::pbf_reader e(event);
    if (e.next(7)) restarted = step_of(event);
  }
  REQUIRE(restarted == from + 1);
  const auto after = scalars(event_file(f / "board")).at("train/loss");
  REQUIRE(after.begin()->first > from);
  REQUIRE(after.count(200) == 1);
  for (const auto& [step, value] : after)
    if (before.count(step)) REQUIRE(before.at(step) == value);
}

TEST_CASE(
    "train gpt starts from a folder of Transformers' GPT-2, goes on from its own, and refuses what "
    "does not fit") {
  Folder f;
  const std::string text = " --text " + kFiles + "gpt2/text.txt --validation 0.5 --json ",
                    from = "train gpt --init-from " + kFiles + "gpt2" + text;
  // A step that changes nothing: the loss on the second half of the text is Transformers'.
  const Output still = loupe_program(from + "--steps 1 --lr 1e-12 --out " + f / "still");
  INFO(still.err);
  const double want = loupe::load_npz(kFiles + "gpt2/io.npz").at("val_loss").item();
  REQUIRE(last_event(still)["val_loss"].get<double>() == Approx(want).epsilon(1e-6));
  const json config = json::parse(loupe::read_file(f / "still/config.json"));
  const json theirs = json::parse(loupe::read_file(kFiles + "gpt2/config.json"));
  for (const char* key :
       {"model_type", "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner",
        "layer_norm_epsilon", "activation_function", "tie_word_embeddings"})
    REQUIRE(config[key] == theirs[key]);
  // Fine-tuned, evaluated, and trained on from its own folder: the characters come from
  // options.json.
  const json tuned =
      last_event(loupe_program(from + "--steps 60 --batch-size 8 --out " + f / "tuned"));
  REQUIRE(tuned["val_loss"].get<double>() <
          want - 0.1);  // the text is random: ln 27 = 3.3 is its entropy
  REQUIRE(last_event(loupe_program("eval --json " + f / "tuned"))["val_loss"] == tuned["val_loss"]);
  REQUIRE(loupe_program("sample --length 20 " + f / "tuned").code == 0);
  std::ofstream(f / "abc.txt") << "abc cab bac abc cab abc abc cab bac abc cab abc abc cab bac abc "
                                  "cab abc abc cab bac abc cab abc";
  REQUIRE_THAT(
      loupe_program("train gpt --steps 1 --init-from " + f / "tuned --text " + f / "abc.txt").err,
      Contains("' '"));
  std::string words(loupe::read_file(kFiles + "gpt2/text.txt"));
  std::ofstream(f / "words.txt") << words.substr(0, 200);
  REQUIRE(loupe_program("train gpt --steps 1 --init-from " + f / "tuned --text " + f / "words.txt")
              .code == 0);
  REQUIRE_THAT(
      loupe_program("train gpt --steps 1 --init-from " + kFiles + "gpt2 --text " + f / "abc.txt")
          .err,
      Contains("27 tokens") && Contains("4 characters"));
  REQUIRE_THAT(loupe_program(from + "--steps 1 --layers 3").err,
               Contains("--layers 3") && Contains("has 2"));
  REQUIRE_THAT(loupe_program(from + "--steps 1 --norm rms").err, Contains("LayerNorm"));
  fs::create_directories(f / "relu");
  std::ofstream(f / "relu/config.json")
      << R"({"model_type": "gpt2", "activation_function": "relu"})";
  REQUIRE_THAT(loupe_program("train gpt --steps 1 --init-from " + f / "relu").err,
               Contains("relu/config.json") && Contains("gelu_new"));
  std::ofstream(f / "relu/config.json") << R"({"model_type": "bert"})";
  REQUIRE_THAT(loupe_program("train gpt --steps 1 --init-from " + f / "relu").err,
               Contains("\"bert\""));
  std::ofstream(f / "relu/config.json") << R"({"vocab_size": 27, "n_positions": 0})";
  REQUIRE_THAT(loupe_program("train gpt --steps 1 --init-from " + f / "relu").err,
               Contains("n_positions"));
}

TEST_CASE("embed: the vectors of Transformers' model, in batches and alone") {
  Folder f;
  const auto texts = json::parse(loupe::read_file(kFiles + "sentences/texts.json"))
                         .get<std::vector<std::string>>();
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
    const Output o = loupe_program("embed --json --model " + kFiles + "sentences --file " +
                                   f / "texts.txt " + how);
    INFO(o.err);
    REQUIRE(o.code == 0);
    std::istringstream out(o.out);
    size_t n = 0;
    double largest = 0;
    for (std::string line; std::getline(out, line); ++n) {
      const json e = json::parse(line);
      REQUIRE(e["text"] == texts[lines.at(n)]);
      const auto vector = e["vector"].get<std::vector<double>>(),
                 expected = want[static_cast<int64_t>(lines[n])].to_vector<double>();
      for (size_t i = 0; i < expected.size(); ++i)
        largest = worst_of(largest, std::abs(vector.at(i) - expected[i]));
    }
    REQUIRE(n == lines.size());
    REQUIRE(largest < 1e-5);
  }
  const Output two = loupe_program("embed --model " + kFiles + "sentences 'hello world' ''");
  REQUIRE(std::count(two.out.begin(), two.out.end(), '\n') == 2);
  REQUIRE_THAT(loupe_program("embed --model " + kFiles + "sentences").err, Contains("no text"));
  REQUIRE_THAT(loupe_program("embed --model " + kFiles + "gpt2 x").err, Contains("hidden_size"));
  REQUIRE_THAT(loupe_program("embed --model " + kFiles + "sentences \"$(printf '\\377')\"").err,
               Contains("UTF-8"));
}

TEST_CASE("inspect prints what safetensors, .npy and .npz files hold") {
  const std::string io = std::string(LOUPE_FIXTURES) + "/io/";
  const Output s = loupe_program("inspect " + io + "safetensors/narrow.safetensors");
  REQUIRE(s.code == 0);
  REQUIRE_THAT(s.out, Contains("F16") && Contains("BF16") && Contains("I32") && Contains("(24,)") &&
                          Contains("4 tensors, 73 elements"));
  REQUIRE_THAT(loupe_program("inspect " + kFiles + "small_cnn/model.safetensors").out,
               Contains("norm1.num_batches_tracked") && Contains("metadata format: \"pt\""));
  const json last = last_event(loupe_program("inspect --json " + io + "npy/stored.npz"));
  REQUIRE(last["tensors"] == 3);
  REQUIRE_THAT(loupe_program("inspect " + io + "npy/f4.npy").out,
               Contains("f32") && Contains("(2, 3, 4)"));
  const Output mixed = loupe_program("inspect " + io + "npy/mixed.npz");
  REQUIRE(mixed.code == 0);
  REQUIRE_THAT(mixed.out, Contains("not read: ") && Contains("'<U5'") && Contains("2 tensors"));
  const Output bad = loupe_program("inspect " + io + "versions.txt");
  REQUIRE(bad.code == 1);
  REQUIRE_THAT(bad.err, Contains("versions.txt") && Contains("offset"));
}
