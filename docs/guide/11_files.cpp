// Chapter 11: weights, checkpoints and charts on disk.
#include <loupe/loupe.h>

#include <cstdio>

using namespace loupe;

// [model]
struct Net : Layer<Net> {
  Linear fc1, fc2;
  explicit Net(Rng& rng) : fc1(rng, 4, 16), fc2(rng, 16, 2) {}
  Tensor forward(In x) { return fc2(relu(fc1(x))); }
  void visit(Visitor& v) override { v("fc1", fc1, "fc2", fc2); }
  std::string type_name() const override { return "Net"; }
};
// [/model]

// [training]
// A net, its optimizer, and the random numbers that make its data.
struct Training {
  Rng start{1}, data{2};
  Net net{start};
  AdamW optimizer{net, {.lr = 1e-2}};

  double steps(int count) {
    double last = 0;
    for (int i = 0; i < count; ++i) {
      const Tensor x = randn(data, {32, 4});
      const Tensor label = gt(x.sum({1}), 0).to(DType::i64);
      const Tensor loss = cross_entropy(net(x), label);
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
      last = loss.item();
    }
    return last;
  }
  TrainingState state() {
    return {.model = &net, .optimizer = &optimizer, .streams = {{"data", &data}}};
  }
};
// [/training]

int main() {
  std::printf("== weights\n");
  // [weights]
  Rng rng(0);
  Net net(rng);
  save_model("net.safetensors", net);
  for (const SafetensorsEntry& entry : read_safetensors_header("net.safetensors").entries)
    std::printf("%-11s %s, %2llu numbers, bytes %llu to %llu\n", entry.name.c_str(),
                entry.dtype.c_str(), static_cast<unsigned long long>((entry.end - entry.begin) / 4),
                static_cast<unsigned long long>(entry.begin),
                static_cast<unsigned long long>(entry.end));
  Net copy(rng);
  load_model("net.safetensors", copy);
  // [/weights]
  const Tensor probe = randn(rng, {1, 4});
  std::printf("the copy computes %s\n",
              equal(net(probe), copy(probe)) ? "the same" : "something else");

  std::printf("== misfit\n");
  // [misfit]
  struct Wider : Layer<Wider> {
    Linear fc1, out;
    explicit Wider(Rng& r) : fc1(r, 4, 32), out(r, 32, 2) {}
    Tensor forward(In x) { return out(relu(fc1(x))); }
    void visit(Visitor& v) override { v("fc1", fc1, "out", out); }
    std::string type_name() const override { return "Wider"; }
  };
  Wider wider(rng);
  try {
    load_model("net.safetensors", wider);
  } catch (const ValueError& error) { std::printf("%s\n", error.what()); }
  // [/misfit]

  std::printf("== resume\n");
  // [resume]
  Training whole;
  std::printf("never stopped:                  loss %.9f\n", (whole.steps(50), whole.steps(50)));

  Training first;
  first.steps(50);
  TrainingState to_save = first.state();
  save_checkpoint("at50.safetensors", to_save);
  save_model("weights50.safetensors", first.net);

  Training resumed;  // as a new process begins
  TrainingState to_load = resumed.state();
  load_checkpoint("at50.safetensors", to_load);
  std::printf("resumed from the checkpoint:    loss %.9f\n", resumed.steps(50));
  std::printf("the same state to the last bit: %s\n",
              state_hash(resumed.state()) == state_hash(whole.state()) ? "yes" : "no");

  Training weights_alone;
  weights_alone.data = first.data;
  load_model("weights50.safetensors", weights_alone.net);
  std::printf("resumed from weights alone:     loss %.9f\n", weights_alone.steps(50));
  // [/resume]

  std::printf("== damaged\n");
  // [damaged]
  std::FILE* file = std::fopen("at50.safetensors", "r+b");
  std::fseek(file, -3, SEEK_END);
  std::fputc(7, file);  // one byte of the data
  std::fclose(file);
  try {
    load_checkpoint("at50.safetensors", to_load);
  } catch (const IoError& error) { std::printf("%s\n", error.what()); }
  // [/damaged]
}
