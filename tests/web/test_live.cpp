// The trainer of the live lesson. That its bits are the same as WebAssembly is tested by bits.mjs.
#include <loupe/autograd/ops.h>
#include <loupe/core/error.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/story.h>
#include <loupe/web/look.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "catch.h"
#include "misuse.h"

using namespace loupe;
using namespace loupe::live;
using misuse::refuses;

namespace {

Settings with(const std::string& words) { return Settings::from(words); }

std::vector<double> losses_of(Run& run, int steps) {
  for (int i = 0; i < steps; ++i) run.step();
  return run.losses();
}

Data small_data() {
  Rng rng(3);
  Data d;
  const Tensor images = empty({64, 1, 28, 28}).uniform_(rng, 0, 255).to(DType::u8);
  const Tensor labels = remainder(arange(64), 10);
  d.set_train(images, labels);
  d.set_test(images, labels);
  for (int i = 0; i < 400; ++i) d.words += std::string("loupe\nlesson\n");
  return d;
}

}  // namespace

TEST_CASE("a run of the live lesson is a function of its settings and changes") {
  const std::string words = "net=spirals norm=batch lr=0.1 seed=2";
  Run a(with(words), {}), b(with(words), {}), other(with(words + " seed=3"), {});
  const auto first = losses_of(a, 30);
  CHECK(first == losses_of(b, 30));
  CHECK(first != losses_of(other, 30));

  Run changed(with(words), {});
  losses_of(changed, 10);
  changed.change("lr", "0.3");
  changed.change("group", "8");
  const auto second = losses_of(changed, 20);
  CHECK(std::equal(first.begin(), first.begin() + 10, second.begin()));
  CHECK(first.back() != second.back());
  CHECK(changed.settings().group == 8);
}

TEST_CASE("every network of the live lesson trains with every norm, and looking changes nothing") {
  const Data data = small_data();
  for (const std::string& net : networks())
    for (const std::string& norm : norms()) {
      if (net == "small-cnn" && (norm == "rms" || norm == "dyt")) continue;
      INFO(net << " " << norm);
      const std::string words = "net=" + net + " norm=" + norm + " batch=4 depth=2 lr=0.001";
      Run seen(with(words), data), alone(with(words), data);
      for (int step = 0; step < 2; ++step) {
        seen.step();
        alone.step();
        CHECK(score(seen, {.training = true, .batch = 4}, 8).accuracy >= 0);
        CHECK(std::isfinite(score(seen, {.batch = 8}, 8).loss));
        const auto layers = look_at_layers(seen);
        REQUIRE(layers.size() >= 3);
        for (const LayerLook& l : layers) CHECK(l.weight_rms > 0);
        const auto statistics = look_at_statistics(seen);
        CHECK(statistics.empty() == (norm != "batch"));
        for (const StatisticsLook& s : statistics) {
          CHECK(s.batch_mean.size() == s.running_mean.size());
          CHECK(s.batch_var.size() == s.running_var.size());
        }
        CHECK(batch_matrix(seen).columns == 8);
        CHECK(first_filters(seen).empty() ==
              (net == "spirals" || net == "mlp" || net == "words" || net == "bits"));
      }
      CHECK(seen.losses() == alone.losses());
      CHECK(std::isfinite(seen.losses().back()));
    }
}

TEST_CASE("BatchNorm learns the spirals, and the map says so") {
  Run run(with("net=spirals norm=batch lr=0.1 depth=4"), {});
  losses_of(run, 300);
  CHECK_FALSE(run.dead());
  CHECK(score(run, {.batch = 128}, 512).accuracy > 0.95);
  const std::vector<float> map = probability_map(run, 16, false);
  REQUIRE(map.size() == 256);
  CHECK(*std::min_element(map.begin(), map.end()) < 0.1f);
  CHECK(*std::max_element(map.begin(), map.end()) > 0.9f);
}

TEST_CASE("a run whose loss is no number any more stays where it is") {
  Run run(with("net=spirals norm=none lr=1e6"), {});
  losses_of(run, 20);
  CHECK(run.dead());
  CHECK_FALSE(std::isfinite(run.losses().back()));
  const int64_t steps = run.steps();
  run.step();
  CHECK(run.steps() == steps);
}

TEST_CASE("the statistics that are looked at are the batch's own") {
  Run run(with("net=spirals norm=batch depth=2"), {});
  run.step();
  const auto looks = look_at_statistics(run);
  REQUIRE(looks.size() == 2);
  // Of the first 64 training points through the first layer.
  const std::unique_ptr<Module> twin = run.twin();
  const StateDict p = named_parameters(*twin);
  NoGrad guard;
  const Tensor y = matmul(run.task().x.slice(0, 0, 64), p[0].tensor.t()) + p[1].tensor;
  CHECK(looks[0].batch_mean[3] == Approx(mean(y, {0}).to_vector<float>()[3]).margin(1e-5));
  CHECK(looks[0].batch_var[3] == Approx(var(y, {0}, 0).to_vector<float>()[3]).epsilon(1e-4));
}

// What the lesson's report links to (Story::live): the page reads the same names and values.
TEST_CASE("the claims' settings are the live lesson's") {
  for (int i = 1; i <= 12; ++i) {
    const std::string text = lesson::Story::of("C" + std::to_string(i)).live;
    CHECK(!text.empty());
    Settings s;
    std::stringstream words(text);
    for (std::string word; std::getline(words, word, '&');) {
      const size_t equals = word.find('=');
      REQUIRE(equals != std::string::npos);
      const std::string name = word.substr(0, equals), value = word.substr(equals + 1);
      INFO("C" << i << " " << word);
      if (name == "seeds" || name == "steps") {
        CHECK(std::stoi(value) > 0);
      } else if (name == "arms") {
        std::stringstream arms(value);
        for (std::string arm; std::getline(arms, arm, ',');) {
          std::stringstream parts(arm);
          std::string part;
          std::getline(parts, part, ':');
          s.set("norm", part);
          while (std::getline(parts, part, ':'))
            s.set(part.substr(0, part.find('=')), part.substr(part.find('=') + 1));
        }
      } else {
        s.set(name, value);
      }
    }
  }
}

TEST_CASE("misuse of the live lesson") {
  refuses<ValueError>("live", [] { with("net=cnn2"); });
  refuses<ValueError>("live", [] { with("rate=1"); });
  refuses<ValueError>("live", [] { with("lr"); });
  refuses<ValueError>("live", [] { with("lr=0.1x"); });
  refuses<ValueError>("live", [] { with("lr=nan"); });
  refuses<ValueError>("live", [] { with("lr=-1"); });
  refuses<ValueError>("live", [] { with("batch=0"); });
  refuses<ValueError>("live", [] { with("seed=-1"); });
  refuses<ValueError>("live", [] { Run run(with("net=cnn"), {}); });
  refuses<ValueError>("live", [] { Run run(with("net=words"), {}); });
  refuses<ValueError>("live", [] { Run run(with("net=small-cnn norm=rms"), small_data()); });
  refuses<ValueError>("live", [] { Run(with(""), {}).change("depth", "3"); });
  refuses<ValueError>("live", [] { Run(with(""), {}).change("lr", "fast"); });
  refuses<ShapeError>("live", [] { Data().set_train(zeros({2, 1, 28, 28}), zeros({2})); });
  Run cnn(with("net=cnn norm=none"), small_data());
  refuses<ValueError>("live", [&] { probability_map(cnn, 8, false); });
  CHECK(page_words("Ada\napple\nbe\nc'e\n") == "apple\n");
}
