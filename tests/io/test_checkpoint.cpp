#include <loupe/core/raw.h>
#include <loupe/core/threads.h>
#include <loupe/io/checkpoint.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/sequential.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

/// Two layers that share a weight, a buffer, a random stream of its own.
struct Net : Layer<Net> {
  Linear fc1, fc2;
  Tensor counts = zeros({2}, DType::i64);
  Rng noise;
  explicit Net(Rng& rng, int64_t width = 4)
      : fc1(rng, 3, width), fc2(rng, 3, width), noise(rng.split()) {
    fc2.weight = fc1.weight;
  }
  Tensor forward(In x) {
    counts.add_(ones({2}, DType::i64));
    return fc1(x) + fc2(x) + noise.uniform();
  }
  void visit(Visitor& v) override {
    v("fc1", fc1, "fc2", fc2);
    v.buffers("counts", counts);
    v.stream("noise", noise);
  }
  std::string type_name() const override { return "Net"; }
};

/// A small run whose every part has state.
struct Run {
  Rng rng;
  Net model;
  AdamW optimizer;
  CosineAnnealingLR schedule;
  DataLoader loader;
  double total = 0;
  int64_t step = 0;

  static TensorDataset data() {
    Rng r(3);
    const Tensor x = randn(r, {10, 3});
    return {x, randn(r, {10, 4})};
  }
  explicit Run(uint64_t seed = 1, int64_t width = 4, int64_t batch_size = 4)
      : rng(seed),
        model(rng, width),
        optimizer(model, {.lr = 0.1}),
        schedule(optimizer, 50),
        loader(data(), rng, {.batch_size = batch_size}) {}

  TrainingState state() {
    return {.model = &model,
            .optimizer = &optimizer,
            .schedule = &schedule,
            .loader = &loader,
            .streams = {{"main", &rng}},
            .numbers = {{"total", total}, {"step", static_cast<double>(step)}},
            .options = "{\"lr\":0.1}"};
  }
  void restored(const TrainingState& s) {
    total = s.numbers.at("total");
    step = static_cast<int64_t>(s.numbers.at("step"));
  }
  void advance() {
    auto batch = loader.next();
    if (!batch) batch = loader.next();
    const Tensor d = model(batch->x) - batch->y;
    const Tensor loss = (d * d).mean();
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    schedule.step();
    total += loss.item() + rng.uniform();
    ++step;
  }
  /// Every bit of its state.
  std::string bits() {
    TempDir dir;
    save_checkpoint(dir / "x", state());
    return sha256_of_file(dir / "x");
  }
};

}  // namespace

TEST_CASE("a checkpoint restores a run to the same bits, and it goes on the same") {
  TempDir dir;
  Run undisturbed;
  for (int stop = 0; stop < 8; ++stop) {
    Run before;
    for (int i = 0; i < stop; ++i) before.advance();
    save_checkpoint(dir / "c", before.state());
    Run after(99);  // other weights, order, noise
    if (stop % 2) after.advance();
    TrainingState s = after.state();
    load_checkpoint(dir / "c", s);
    after.restored(s);
    CHECK(s.options == "{\"lr\":0.1}");
    CHECK(after.bits() == before.bits());
    for (int i = 0; i < 7; ++i) before.advance(), after.advance();
    CHECK(after.bits() == before.bits());
  }
  CHECK(checkpoint_options(dir / "c") == "{\"lr\":0.1}");
}

TEST_CASE(
    "a checkpoint with any flipped byte, of another version or another model is refused, and "
    "nothing changes") {
  TempDir dir;
  Run run;
  run.advance();
  save_checkpoint(dir / "c", run.state());
  const std::string whole = read_file(dir / "c");
  Run other(7);
  other.advance();
  const std::string before = other.bits();
  TrainingState s = other.state();
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << i % 8));
    const std::string error = error_of<IoError>(
        [&] { load_checkpoint(load_safetensors(as_bytes(flipped), nullptr, "f"), s, "f"); });
    if (error.empty()) FAIL("byte " << i << " was not missed");
  }
  const auto error = [&](TrainingState& into, const std::string& bytes) {
    return error_of<Error>(
        [&] { load_checkpoint(load_safetensors(as_bytes(bytes), nullptr, "f"), into, "f"); });
  };
  const auto edited = [&](auto edit) {
    SafetensorsFile file = load_safetensors(as_bytes(whole), nullptr, "f");
    edit(file);
    file.metadata["checksum"] = checkpoint_checksum(file);
    return encode_safetensors(file.tensors, file.metadata);
  };
  CHECK_THAT(error(s, encode_safetensors({})), Contains("f: is not a checkpoint"));
  CHECK_THAT(error(s, edited([](SafetensorsFile& f) { f.metadata["loupe_checkpoint"] = "2"; })),
             Contains("of version 2, this program reads version 1"));
  CHECK_THAT(error(s, edited([](SafetensorsFile& f) { f.tensors["stray"] = tensor({1}); })),
             Contains("holds 'stray', for which"));
  CHECK_THAT(error(s, edited([](SafetensorsFile& f) { f.tensors.erase("loader"); })),
             Contains("has no 'loader'"));
  CHECK_THAT(error(s, edited([](SafetensorsFile& f) { f.tensors["loader"] = tensor({1}); })),
             Contains("'loader' of the checkpoint is f32 (1,)"));
  CHECK_THAT(error(s, edited([](SafetensorsFile& f) { f.tensors["number/x"] = tensor({1}); })),
             Contains("the number 'x' is f32"));
  CHECK_THAT(
      error(s, edited([](SafetensorsFile& f) { f.tensors.erase("optimizer/exp_avg.fc1.weight"); })),
      Contains("lacks \"exp_avg.fc1.weight\""));
  CHECK_THAT(error(s, edited([](SafetensorsFile& f) { f.tensors.erase("model/fc1.bias"); })),
             Contains("missing: fc1.bias"));
  CHECK_THAT(error(s, edited([](SafetensorsFile& f) { f.metadata["optimizer"] = "sgd"; })),
             Contains("is of optimizer 'sgd', this run uses adamw"));
  CHECK(other.bits() == before);
  const auto load = [&](const std::string& bytes) {
    load_checkpoint(load_safetensors(as_bytes(bytes), nullptr, "f"), s, "f");
  };
  CHECK_THROWS_AS(load(edited([](SafetensorsFile& f) { f.metadata["loupe_checkpoint"] = "2"; })),
                  IoError);
  CHECK_THROWS_AS(load(edited([](SafetensorsFile& f) { f.metadata["optimizer"] = "sgd"; })),
                  ValueError);
  CHECK_THROWS_AS(load(edited([](SafetensorsFile& f) { f.tensors.erase("model/fc1.bias"); })),
                  ValueError);
  Run wider(1, 5);
  TrainingState w = wider.state();
  CHECK_THAT(error(w, whole), Contains("fc1.weight is (4, 3), the model has (5, 3)"));
  Run batches(1, 4, 8);
  batches.loader.next();
  TrainingState b = batches.state();
  for (int i = 0; i < 2; ++i) run.advance();
  save_checkpoint(dir / "c", run.state());
  CHECK_THAT(error(b, read_file(dir / "c")),
             Contains("was at batch 3 of an epoch, this run has 2"));
}

TEST_CASE("the folder keeps the last and the best, and passes over damaged checkpoints") {
  TempDir dir;
  CheckpointFolder folder(dir / "checkpoints", 2);
  Run run;
  TrainingState none = run.state();
  CHECK_FALSE(folder.resume(none).has_value());
  const double metrics[] = {5, 3, NAN, 4};
  std::vector<std::string> bits;
  for (int i = 0; i < 4; ++i) {
    run.advance();
    bits.push_back(run.bits());
    TrainingState s = run.state();
    folder.save(s, run.step, metrics[i]);
  }
  CHECK(folder.steps() == std::vector<int64_t>{3, 4});
  CHECK(folder.best() == 3);
  Run best;
  TrainingState b = best.state();
  load_checkpoint(folder.best_path(), b);
  CHECK(b.numbers.at("step") == 2);

  std::string damaged = read_file(folder.path_of(4));
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  write_file(folder.path_of(4), damaged);
  write_file(dir / "checkpoints/step-000000009.safetensors.1-2.partial", "x");
  Run again(5);
  TrainingState s = again.state();
  CheckpointFolder other(dir / "checkpoints", 2);
  std::vector<std::string> skipped;
  CHECK(other.resume(s, &skipped) == 3);
  CHECK(skipped.size() == 1);
  CHECK(other.best() == 3);
  again.restored(s);
  CHECK(again.bits() == bits[2]);
  again.advance();
  TrainingState t = again.state();
  other.save(t, again.step, 3.5);
  CHECK(other.best() == 3);
  CHECK(again.bits() == bits[3]);
  CHECK(std::distance(std::filesystem::directory_iterator(dir.path / "checkpoints"), {}) == 3);
}

TEST_CASE(
    "a run that dies at any system call of its writing resumes to the bits of the undisturbed run",
    "[fork]") {
  Run undisturbed;
  for (int i = 0; i < 6; ++i) undisturbed.advance();
  const std::string want = undisturbed.bits();
  int deaths = 0;
  for (int die_at = 1;; ++die_at) {
    TempDir dir;
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {  // no Catch in here
      set_thread_limit(1);
      int calls = 0;
      set_write_fault([&](const char*) {
        if (++calls == die_at) _exit(3);
        return 0;
      });
      Run run;
      CheckpointFolder folder(dir / "c", 2);
      while (run.step < 6) {
        run.advance();
        TrainingState s = run.state();
        folder.save(s, run.step, -static_cast<double>(run.step % 3));
      }
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CheckpointFolder folder(dir / "c", 2);
    Run run(folder.steps().empty() ? 1
                                   : 42);  // a fresh start, or a stranger that becomes the dead one
    TrainingState s = run.state();
    std::vector<std::string> skipped;
    if (folder.resume(s, &skipped)) run.restored(s);
    CHECK(skipped.empty());
    while (run.step < 6) run.advance();
    REQUIRE(run.bits() == want);
    if (WEXITSTATUS(status) == 0) break;
    ++deaths;
  }
  CHECK(deaths > 40);
}

TEST_CASE("a run that is killed at 100 random moments resumes to the bits of the undisturbed run",
          "[fork]") {
  constexpr int64_t kSteps = 40;
  Run undisturbed;
  while (undisturbed.step < kSteps) undisturbed.advance();
  const std::string want = undisturbed.bits();
  Rng moments(4);
  int killed = 0, resumed = 0;
  int64_t longest = 20000;  // microseconds; follows how long a run takes on this machine
  for (int i = 0; i < 100; ++i) {
    TempDir dir;
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      set_thread_limit(1);
      Run run;
      CheckpointFolder folder(dir / "c", 3);
      while (run.step < kSteps) {
        run.advance();
        TrainingState s = run.state();
        folder.save(s, run.step, static_cast<double>(run.step % 7));
      }
      _exit(0);
    }
    usleep(static_cast<useconds_t>(moments.integer(0, longest)));
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    killed += WIFSIGNALED(status);
    longest = WIFSIGNALED(status) ? longest + longest / 8 : longest / 2;
    CheckpointFolder folder(dir / "c", 3);
    Run run(folder.steps().empty() ? 1 : 42);
    TrainingState s = run.state();
    std::vector<std::string> skipped;
    if (folder.resume(s, &skipped)) run.restored(s), ++resumed;
    CHECK(skipped.empty());
    while (run.step < kSteps) run.advance();
    REQUIRE(run.bits() == want);
  }
  CHECK(killed >= 50);
  CHECK(resumed >= 30);
}

TEST_CASE(
    "whichever system call of a save fails, the earlier checkpoints stay whole and the run goes "
    "on") {
  for (const int code : {ENOSPC, EIO, EROFS}) {
    for (int fail_at = 1, failures = 0;; ++fail_at) {
      TempDir dir;
      CheckpointFolder folder(dir / "c", 2);
      Run run;
      std::map<int64_t, std::string> bits;
      const auto advance_and_save = [&](double metric) {
        run.advance();
        bits[run.step] = run.bits();
        TrainingState s = run.state();
        folder.save(s, run.step, metric);
      };
      advance_and_save(3);
      advance_and_save(4);
      run.advance();
      bits[3] = run.bits();
      int calls = 0;
      set_write_fault([&](const char*) { return ++calls == fail_at ? code : 0; });
      TrainingState s = run.state();
      const std::string error = error_of([&] { folder.save(s, 3, 2); });
      set_write_fault({});
      if (!error.empty()) ++failures;
      else if (calls < fail_at) {
        CHECK(failures > 10);  // both files, every call of each
        break;
      }
      // Every checkpoint that is there is whole, the best too, and there are at least the two from
      // before.
      CHECK(folder.steps().size() >= 2);
      for (const int64_t step : folder.steps()) {
        Run other(42);
        TrainingState t = other.state();
        load_checkpoint(folder.path_of(step), t);
        other.restored(t);
        REQUIRE(other.bits() == bits.at(step));
      }
      Run best(42);
      TrainingState b = best.state();
      load_checkpoint(folder.best_path(), b);
      CHECK((b.numbers.at("step") == 1 || b.numbers.at("step") == 3));
      // The disk is well again: the same run saves, and nothing half written is left.
      advance_and_save(1);
      CHECK(folder.steps().back() == 4);
      for (const auto& entry : std::filesystem::directory_iterator(dir.path / "c"))
        CHECK(entry.path().extension() == ".safetensors");
    }
  }
}

TEST_CASE("a full disk ends in an IoError and leaves the earlier checkpoint") {
  TempDir dir;
  CheckpointFolder folder(dir / "c", 2);
  Run run;
  run.advance();
  TrainingState s = run.state();
  folder.save(s, 1);
  int writes = 0;
  set_write_fault(
      [&](const char* call) { return std::string(call) == "write" && ++writes > 3 ? ENOSPC : 0; });
  CHECK_THAT(error_of([&] { folder.save(s, 2); }), Contains("No space left"));
  set_write_fault({});
  CHECK(folder.steps() == std::vector<int64_t>{1});
  std::filesystem::remove_all(dir.path / "c");
  folder.save(s, 3);  // a folder that vanished is made again
  CHECK(folder.steps() == std::vector<int64_t>{3});
  write_file(dir / "file", "");
  CheckpointFolder inside(dir / "file/c");
  CHECK_THAT(error_of([&] { inside.save(s, 1); }), Contains("cannot create the folder"));
}

TEST_CASE("models are saved with tied tensors under every name or once, and read either way") {
  TempDir dir;
  Rng rng(1), other(2);
  Net a(rng), b(other);
  save_model(dir / "every", a);
  save_model(dir / "once", a, Tied::once);
  CHECK(load_safetensors(dir / "every").tensors.size() == 5);
  CHECK(load_safetensors(dir / "every").metadata == Metadata{{"format", "pt"}});
  CHECK(load_safetensors(dir / "once").tensors.size() == 4);
  for (const char* file : {"every", "once"}) {
    Rng fresh(3);
    Net c(fresh);
    load_model(dir / file, c);
    CHECK(c.fc2.weight.to_vector<float>() == a.fc1.weight.to_vector<float>());
    CHECK(c.fc1.bias.to_vector<float>() == a.fc1.bias.to_vector<float>());
  }
  TensorMap wrong = load_safetensors(dir / "every").tensors;
  wrong.erase("fc1.bias");
  wrong["extra"] = tensor({1});
  wrong["counts"] = zeros({3}, DType::i64);
  save_safetensors(dir / "wrong", wrong);
  const std::string before = sha256(as_bytes(encode_safetensors({{"w", b.fc1.weight}})));
  const std::string error = error_of<ValueError>([&] { load_model(dir / "wrong", b); });
  CHECK_THAT(error, Contains("/wrong: ") && Contains("missing: fc1.bias") &&
                        Contains("unexpected: extra") &&
                        Contains("counts is (3,), the model has (2,)"));
  CHECK(sha256(as_bytes(encode_safetensors({{"w", b.fc1.weight}}))) == before);
}

TEST_CASE("numbers and options become those of the file") {
  TempDir dir;
  save_checkpoint(dir / "c", {.numbers = {{"a", 0.1}}, .options = "o"});
  TrainingState s{.numbers = {{"b", 2}}, .options = "mine"};
  load_checkpoint(dir / "c", s);
  CHECK(s.numbers == std::map<std::string, double>{{"a", 0.1}});
  CHECK(s.options == "o");
}
