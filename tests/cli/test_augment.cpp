// `train cnn --augment`: the same bits at any thread count and after a resume; CIFAR-10's files.
#include "program.h"

#include <loupe/io/images.h>

using Catch::Matchers::Contains;

namespace {

/// A folder in CIFAR-10's binary format: Fashion-MNIST's images (or stripes, where they are not
/// installed) in a frame of two pixels, once a colour.
void write_small_cifar(const std::string& folder, int64_t each) {
  fs::create_directories(folder);
  loupe::ImageSet set;
  if (fs::exists(loupe::kFashionMnistPath)) set = loupe::load_images("fashion-mnist").train;
  int64_t image = 0;
  for (const char* name : {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4",
                           "data_batch_5", "test_batch"}) {
    std::string bytes;
    for (int64_t i = 0; i < each; ++i, ++image) {
      const bool real = set.images.defined();
      bytes += static_cast<char>(real ? set.labels.data<int64_t>()[static_cast<size_t>(image)]
                                      : image % 10);
      for (int64_t channel = 0; channel < 3; ++channel)
        for (int64_t y = -2; y < 30; ++y)
          for (int64_t x = -2; x < 30; ++x) {
            const bool inside = y >= 0 && y < 28 && x >= 0 && x < 28;
            const int64_t at = image * 784 + y * 28 + x;
            const int64_t value = !inside ? 0
                                  : real  ? set.images.data<uint8_t>()[static_cast<size_t>(at)]
                                          : (x % (image % 10 + 2)) * 20;
            bytes += static_cast<char>(value);
          }
    }
    loupe::write_file(folder + "/" + name + ".bin", bytes);
  }
}

/// Runs to the end, then once more from the checkpoint of step 2: the same bits.
void check_resume(const std::string& command, const std::string& out) {
  const json whole = last_event(loupe_program(command + " --threads 1 --out " + out));
  const json threads = last_event(loupe_program(command + " --threads 2"));
  REQUIRE(threads["weights_hash"] == whole["weights_hash"]);
  REQUIRE(threads["state_hash"] == whole["state_hash"]);
  for (const char* step : {"3", "4", "5"})
    fs::remove(out + "/checkpoints/step-00000000" + step + ".safetensors");
  const Output resumed = loupe_program(command + " --threads 2 --resume --out " + out);
  REQUIRE_THAT(resumed.err, Contains("resumed at step 2"));
  REQUIRE(last_event(resumed)["state_hash"] == whole["state_hash"]);
}

}  // namespace

TEST_CASE("train cnn --augment changes the training, and repeats it") {
  Folder f;
  write_small_mnist(f / "mnist", 64);
  const std::string plain = small_cnn(f / "mnist") + "--steps 5 --checkpoint-every 1 --keep 9";
  check_resume(plain + " --augment", f / "run");
  const json augmented = last_event(loupe_program(plain + " --augment"));
  const json without = last_event(loupe_program(plain));
  REQUIRE(augmented["weights_hash"] != without["weights_hash"]);
  REQUIRE(json::parse(loupe::read_file(f / "run/options.json"))["augment"] == true);
  REQUIRE(last_event(loupe_program(small_cnn(f / "mnist") +
                                   "--model wide --steps 1"))["parameters"] == 449754);
  // A run goes on as what it was.
  const Output other = loupe_program(plain + " --resume --out " + f / "run");
  REQUIRE(other.code == 1);
  REQUIRE_THAT(other.err, Contains("augment"));
}

TEST_CASE("ResNet-20 trains on CIFAR-10's files, augmented") {
  Folder f;
  write_small_cifar(f / "cifar", 12);
  const std::string command =
      "train cnn --dataset cifar10 --model resnet20 --augment --batch-size 16 --checkpoint-every 1 "
      "--keep 9 --steps 5 --json --data " +
      f / "cifar";
  check_resume(command, f / "run");
  const Output o = loupe_program("eval --json " + f / "run");
  INFO(o.err);
  REQUIRE(o.code == 0);
  const json evaluated = last_event(o);
  REQUIRE(evaluated["confusion"].size() == 10);
  // What eval computes of the files is what the training told at its end.
  const json trained = last_event(loupe_program(command));
  REQUIRE(trained["test_accuracy_over_views"].get<double>() ==
          evaluated["test_accuracy_over_views"].get<double>());
  REQUIRE(trained["test_accuracy"].get<double>() == evaluated["test_accuracy"].get<double>());
  REQUIRE_THAT(loupe_program("train cnn --dataset cifar10").err,
               Contains("--dataset cifar10 needs --data"));
}
