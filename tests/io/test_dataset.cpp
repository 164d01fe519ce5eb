#include <loupe/core/raw.h>
#include <loupe/io/dataset.h>
#include <loupe/io/idx.h>
#include <loupe/io/loader.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

std::vector<int64_t> all_of(int64_t n) {
  std::vector<int64_t> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

/// A data set whose sample i is the number i, and which can fail.
struct Counting : Dataset {
  int64_t n, bad;
  explicit Counting(int64_t samples, int64_t failing = -1) : n(samples), bad(failing) {}
  int64_t size() const override { return n; }
  Batch batch(std::span<const int64_t> indices) const override {
    if (std::find(indices.begin(), indices.end(), bad) != indices.end())
      fail<IoError>("sample {} is broken", bad);
    const Tensor t = from_data(std::vector<int64_t>(indices.begin(), indices.end()));
    return {t, t, {}};
  }
};

std::vector<std::vector<int64_t>> epoch(DataLoader& loader) {
  std::vector<std::vector<int64_t>> out;
  for (const Batch& b : loader) out.push_back(b.x.to_vector<int64_t>());
  return out;
}

std::vector<int64_t> flat(const std::vector<std::vector<int64_t>>& batches) {
  std::vector<int64_t> out;
  for (const auto& b : batches) out.insert(out.end(), b.begin(), b.end());
  return out;
}

/// Writes a small MNIST-like folder.
void write_mnist(const TempDir& dir, const std::vector<int64_t>& images = {3, 28, 28},
                 int64_t labels = 3, uint8_t label = 1) {
  for (const char* part : {"train", "t10k"}) {
    std::vector<uint8_t> pixels(static_cast<size_t>(images[0] * images[1] * images[2]));
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 7);
    write_idx(dir / (std::string(part) + "-images-idx3-ubyte"), images, pixels);
    write_idx(dir / (std::string(part) + "-labels-idx1-ubyte"), {labels},
              std::vector<uint8_t>(static_cast<size_t>(labels), label));
  }
}

}  // namespace

TEST_CASE("image sets: what is missing or wrong is said with the file and the remedy") {
  TempDir dir;
  CHECK_THAT(error_of([&] { load_images("fashion-mnist", dir.path.string()); }),
             Contains("apt-get install dataset-fashion-mnist"));
  CHECK_THAT(error_of([&] { load_images("cifar10", dir.path.string()); }),
             Contains("cifar-10-binary.tar.gz"));
  CHECK_THAT(error_of([&] { load_images("mnist"); }), Contains("no folder was given"));
  CHECK_THAT(error_of<ValueError>([&] { load_images("imagenet"); }),
             Contains("there are fashion-mnist, mnist and cifar10"));
  write_mnist(dir);
  const ImageData data = load_images("mnist", dir.path.string());
  CHECK(data.train.images.shape() == Shape{3, 1, 28, 28});
  CHECK(data.train.labels.to_vector<int64_t>() == std::vector<int64_t>{1, 1, 1});
  CHECK(data.train.images.ptr<uint8_t>()[785] == static_cast<uint8_t>(785 * 7));
  CHECK(data.sha256.size() == 64);
  CHECK(data.train.part(1, 3).images.shape() == Shape{2, 1, 28, 28});
  CHECK_THROWS_AS(data.train.part(1, 4), IndexError);
  write_mnist(dir, {3, 32, 32});
  CHECK_THAT(error_of([&] { load_images("mnist", dir.path.string()); }),
             Contains("images of 32 x 32, expected 28 x 28"));
  write_mnist(dir, {3, 28, 28}, 2);
  CHECK_THAT(error_of([&] { load_images("mnist", dir.path.string()); }),
             Contains("2 labels for 3 images"));
  write_mnist(dir, {3, 28, 28}, 3, 10);
  CHECK_THAT(error_of([&] { load_images("mnist", dir.path.string()); }),
             Contains("offset 8: label 10, expected 0 to 9"));

  std::string record(3073, '\5');
  for (const char* file : {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                           "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"})
    write_file(dir / file, record);
  const ImageData cifar = load_images("cifar10", dir.path.string());
  CHECK(cifar.train.images.shape() == Shape{5, 3, 32, 32});
  CHECK(cifar.test.size() == 1);
}

TEST_CASE("Fashion-MNIST as the package installs it") {
  if (!std::filesystem::exists(kFashionMnistPath)) {
    CHECK_THAT(error_of([] { load_images("fashion-mnist"); }),
               Contains("apt-get install dataset-fashion-mnist"));
    return;
  }
  const ImageData data = load_images("fashion-mnist");
  CHECK(data.train.images.shape() == Shape{60000, 1, 28, 28});
  CHECK(data.test.images.shape() == Shape{10000, 1, 28, 28});
  double sum = 0, squares = 0;
  for (const uint8_t p : data.train.images.data<uint8_t>()) sum += p, squares += p * p;
  const double n = 60000.0 * 784, mean = sum / n / 255,
               std = std::sqrt(squares / n - sum / n * (sum / n)) / 255;
  CHECK(mean == Approx(data.train.mean[0]).margin(1e-4));
  CHECK(std == Approx(data.train.std[0]).margin(1e-4));
  for (int64_t c = 0; c < 10; ++c) {
    const auto labels = data.train.labels.to_vector<int64_t>();
    CHECK(std::count(labels.begin(), labels.end(), c) == 6000);
  }
}

TEST_CASE("ImageDataset normalises, in channels-last memory where there are channels") {
  ImageSet set;
  std::vector<uint8_t> pixels(2 * 3 * 2 * 2);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 10);
  set.images = from_data(pixels, Shape{2, 3, 2, 2});
  set.labels = from_data(std::vector<int64_t>{4, 5});
  set.mean = {0.1, 0.2, 0.3};
  set.std = {1, 2, 4};
  const ImageDataset data(set);
  const int64_t indices[] = {1, 0, 1};
  const Batch b = data.batch(indices);
  CHECK(b.x.shape() == Shape{3, 3, 2, 2});
  CHECK(raw::is_channels_last(b.x));
  CHECK(b.y.to_vector<int64_t>() == std::vector<int64_t>{5, 4, 5});
  const auto x = b.x.to_vector<double>();
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t sample = i / 12 == 1 ? 0 : 1, channel = i / 4 % 3;
    const double want =
        (pixels[sample * 12 + i % 12] / 255.0 - set.mean[channel]) / set.std[channel];
    CHECK(x[i] == Approx(want).epsilon(1e-6));
  }
  const int64_t outside[] = {2};
  CHECK_THROWS_AS(data.batch(outside), IndexError);
  set.mean.pop_back();
  CHECK_THROWS_AS(ImageDataset(set), ShapeError);
}

TEST_CASE("TensorDataset gathers rows and refuses NaN") {
  const TensorDataset data(tensor({1, 2, 3, 4, 5, 6}, Shape{3, 2}),
                           tensor({7, 8, 9}, {}, DType::i64));
  const int64_t indices[] = {2, 0};
  CHECK(data.batch(indices).x.to_vector<float>() == std::vector<float>{5, 6, 1, 2});
  CHECK(data.batch(indices).y.to_vector<int64_t>() == std::vector<int64_t>{9, 7});
  CHECK_THAT(error_of<ValueError>([] {
               TensorDataset(tensor({1, NAN}), tensor({1, 2}));
             }),
             Contains("x holds a NaN or an infinity in sample 1"));
  CHECK_THAT(error_of<ValueError>([] {
               TensorDataset(tensor({1, 2}), tensor({INFINITY, 2}));
             }),
             Contains("y holds a NaN or an infinity in sample 0"));
  CHECK_THROWS_AS(TensorDataset(tensor({1, 2}), tensor({1})), ShapeError);
}

TEST_CASE("TextDataset: windows, the padded rest, texts too short") {
  std::vector<int32_t> ids(11);
  std::iota(ids.begin(), ids.end(), 0);
  const TextDataset every(ids, {.context = 4});
  CHECK(every.size() == 7);
  const int64_t six[] = {6};
  CHECK(every.batch(six).x.to_vector<int64_t>() == std::vector<int64_t>{6, 7, 8, 9});
  CHECK(every.batch(six).y.to_vector<int64_t>() == std::vector<int64_t>{7, 8, 9, 10});
  const TextDataset whole(ids, {.context = 4, .stride = 4});
  CHECK(whole.size() == 2);
  const TextDataset padded(ids, {.context = 4, .stride = 4, .pad_last = true});
  CHECK(padded.size() == 3);
  std::vector<int64_t> predicted = padded.batch(all_of(3)).y.to_vector<int64_t>();
  std::erase(predicted, -100);
  CHECK(predicted == std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  CHECK(
      TextDataset(std::span(ids).first(9), {.context = 4, .stride = 4, .pad_last = true}).size() ==
      2);
  CHECK(
      TextDataset(std::span(ids).first(2), {.context = 4, .stride = 4, .pad_last = true}).size() ==
      1);
  CHECK(TextDataset(std::span(ids).first(5), {.context = 4}).size() == 1);
  for (const int64_t n : {2, 9, 10, 11, 12, 16, 17, 18, 19}) {  // windows with gaps between them
    std::vector<int32_t> text(static_cast<size_t>(n));
    std::iota(text.begin(), text.end(), 0);
    const TextDataset gaps(text, {.context = 2, .stride = 8, .pad_last = true});
    CAPTURE(n);
    CHECK(gaps.size() == (n - 2) / 8 + 1);  // those that begin with an id to predict after them
    const std::vector<int64_t> y = gaps.batch(all_of(gaps.size())).y.to_vector<int64_t>();
    for (size_t i = 0; i < y.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i / 2 * 8 + i % 2 + 1);
      CHECK(y[i] == (at < n ? at : -100));
    }
  }
  CHECK_THAT(
      error_of<ValueError>([&] { TextDataset(std::span(ids).first(4), {.context = 4}); }),
      Contains("a text of 4 characters is too short for a context of 4: it takes at least 5"));
  CHECK_THROWS_AS(TextDataset({}, {.context = 4, .pad_last = true}), ValueError);
  CHECK_THROWS_AS(TextDataset(ids, {.context = 0}), ValueError);
}

TEST_CASE("generated tasks: labels, padding, mask; a sample depends on seed and index alone") {
  const CountTask task(7, 500);
  const Batch b = task.batch(all_of(500));
  CHECK(b.x.size(1) == 32);
  int64_t positive = 0;
  std::vector<int> lengths(33);
  for (int64_t i = 0; i < 500; ++i) {
    int64_t n = 0, zeros = 0;
    for (int64_t t = 0; t < 32; ++t) {
      const int64_t v = b.x.data<int64_t>()[static_cast<size_t>(i * 32 + t)];
      const bool real = b.mask.data<bool>()[static_cast<size_t>(i * 32 + t)];
      if (real) CHECK((v == 0 || v == 1));
      if (real != (v != 2) || (real && n != t)) FAIL("mask");
      n += real;
      zeros += v == 0;
    }
    REQUIRE((n >= 4 && n <= 32));
    lengths[static_cast<size_t>(n)]++;
    const int64_t label = b.y.data<int64_t>()[static_cast<size_t>(i)];
    if (label != (zeros > n - zeros)) FAIL("label of " << i);
    positive += label;
  }
  CHECK((positive > 180 && positive < 270));  // ties count as "no"
  CHECK(std::count(lengths.begin() + 4, lengths.end(), 0) == 0);
  const int64_t some[] = {123};
  const Batch one = task.batch(some);
  const auto alone = one.x.to_vector<int64_t>(), together = b.x.to_vector<int64_t>();
  CHECK(std::equal(alone.begin(), alone.end(), together.begin() + 123 * 32));
  CHECK(CountTask(8, 500).batch(all_of(500)).x.to_vector<int64_t>() != together);

  const Batch bits = RandomBits(3, 1000, 16).batch(all_of(1000));
  const auto x = bits.x.to_vector<int64_t>(), y = bits.y.to_vector<int64_t>();
  for (size_t i = 0; i < x.size(); ++i)
    if (i % 16 < 15 && y[i] != x[i + 1]) FAIL("y is not x one further");
  CHECK(std::abs(std::accumulate(x.begin(), x.end(), int64_t{0}) - 8000) < 200);
  CHECK_THROWS_AS(RandomBits(3, 0, 16), ValueError);
  CHECK_THROWS_AS(CountTask(3, 5, 9, 8), ValueError);
}

TEST_CASE(
    "DataLoader: every sample once an epoch, another order each, the same with and without its "
    "thread") {
  Rng rng(5), same(5);
  DataLoader loader(Counting(10), rng, {.batch_size = 4});
  DataLoader plain(Counting(10), same, {.batch_size = 4, .prefetch = 0});
  CHECK(loader.batches() == 3);
  std::vector<int64_t> before;
  for (int e = 0; e < 5; ++e) {
    const auto batches = epoch(loader);
    CHECK(batches.size() == 3);
    CHECK(batches[2].size() == 2);
    CHECK(batches == epoch(plain));
    std::vector<int64_t> seen = flat(batches);
    CHECK(seen != before);
    before = seen;
    std::sort(seen.begin(), seen.end());
    CHECK(seen == all_of(10));
  }
  CHECK(loader.state().epoch == 5);
  DataLoader ordered(Counting(10), rng, {.batch_size = 4, .shuffle = false, .drop_last = true});
  CHECK(epoch(ordered) == std::vector<std::vector<int64_t>>{{0, 1, 2, 3}, {4, 5, 6, 7}});
  DataLoader drawn(Counting(10), rng, {.batch_size = 10, .replacement = true});
  std::vector<int64_t> counts(10);
  for (int e = 0; e < 100; ++e)
    for (const int64_t i : flat(epoch(drawn))) counts[static_cast<size_t>(i)]++;
  CHECK(*std::min_element(counts.begin(), counts.end()) > 60);
  CHECK(*std::max_element(counts.begin(), counts.end()) < 140);
  CHECK_THROWS_AS(DataLoader(Counting(0), rng), ValueError);
  CHECK_THROWS_AS(DataLoader(Counting(3), rng, {.batch_size = 4, .drop_last = true}), ValueError);
  CHECK_THROWS_AS(DataLoader(Counting(3), rng, {.batch_size = 0}), ValueError);
  CHECK_THROWS_AS(DataLoader(Counting(3), rng, {.shuffle = false, .replacement = true}),
                  ValueError);
}

TEST_CASE("DataLoader: a restored state continues with the same batches") {
  for (const int prefetch : {0, 1, 3}) {
    Rng rng(9);
    DataLoader loader(Counting(23), rng, {.batch_size = 3, .prefetch = prefetch});
    for (int stop = 0; stop < 20; ++stop) {  // epochs have 8 batches and an end
      loader.next();
      const DataLoader::State state = loader.state();
      Rng other(1);
      DataLoader resumed(Counting(23), other, {.batch_size = 3, .prefetch = prefetch});
      if (stop % 2) resumed.next();
      resumed.set_state(state);
      Rng again(9);
      DataLoader undisturbed(Counting(23), again, {.batch_size = 3});
      for (int i = 0; i <= stop; ++i) undisturbed.next();
      for (int i = 0; i < 20; ++i) {
        const auto a = resumed.next(), b = undisturbed.next();
        REQUIRE(a.has_value() == b.has_value());
        if (a) REQUIRE(a->x.to_vector<int64_t>() == b->x.to_vector<int64_t>());
        REQUIRE(resumed.state() == undisturbed.state());
      }
    }
    CHECK_THROWS_AS(loader.set_state({{}, 0, 9}), ValueError);
  }
}

TEST_CASE("DataLoader: an error in the data set reaches the caller; destroying it early is safe") {
  Rng rng(2);
  for (const int prefetch : {0, 2}) {
    DataLoader loader(Counting(10, 7), rng,
                      {.batch_size = 2, .shuffle = false, .prefetch = prefetch});
    for (int i = 0; i < 3; ++i) CHECK(loader.next().has_value());
    CHECK_THAT(error_of([&] { loader.next(); }), Contains("sample 7 is broken"));
    const auto after = loader.next();
    REQUIRE(after.has_value());
    CHECK(after->x.to_vector<int64_t>() == std::vector<int64_t>{8, 9});
  }
  const int64_t before = memory_stats().live_storages;
  for (int i = 0; i < 20; ++i) {
    DataLoader loader(Counting(1000), rng, {.batch_size = 2, .prefetch = 4});
    for (int k = 0; k < i; ++k) loader.next();
  }
  CHECK(memory_stats().live_storages == before);
}
