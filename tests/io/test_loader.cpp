// The passes of a DataLoader: each `for` is one of its own; a saved state goes on with the same
// batches.
#include <loupe/core/threads.h>
#include <loupe/io/loader.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

/// A data set whose sample i is the number i beside a draw from its stream.
struct Drawing : Dataset {
  int64_t n;
  explicit Drawing(int64_t samples) : n(samples) {}
  int64_t size() const override { return n; }
  Batch batch(std::span<const int64_t> indices) const override {
    const Tensor t = from_data(std::vector<int64_t>(indices.begin(), indices.end()));
    return {t, t, {}};
  }
  Batch batch(std::span<const int64_t> indices, const SampleStreams& streams) const override {
    Batch b = batch(indices);
    std::vector<int64_t> draws;
    for (const int64_t i : indices) draws.push_back(streams.rng(i).integer(0, 1 << 30));
    b.y = from_data(draws);
    return b;
  }
};

/// A batch: its samples, and what was drawn for them.
using Seen = std::pair<std::vector<int64_t>, std::vector<int64_t>>;

Seen seen(const Batch& b) { return {b.x.to_vector<int64_t>(), b.y.to_vector<int64_t>()}; }

std::vector<Seen> pass(DataLoader& loader) {
  std::vector<Seen> out;
  for (const Batch& b : loader) out.push_back(seen(b));
  return out;
}

std::set<int64_t> samples(const std::vector<Seen>& batches) {
  std::set<int64_t> all;
  for (const Seen& b : batches) all.insert(b.first.begin(), b.first.end());
  return all;
}

DataLoader make_loader(int prefetch, uint64_t seed = 5) {
  Rng rng(seed);
  return DataLoader(Drawing(10), rng, {.batch_size = 3, .prefetch = prefetch});
}

}  // namespace

TEST_CASE("a for inside a for over one loader ends, and leaves the outer one alone") {
  for (const int prefetch : {0, 2}) {
    DataLoader alone = make_loader(prefetch), loader = make_loader(prefetch);
    for (int epoch = 0; epoch < 3; ++epoch) {
      const std::vector<Seen> want = pass(alone);
      std::vector<Seen> outer;
      std::vector<std::vector<Seen>> inner;
      for (const Batch& b : loader) {
        outer.push_back(seen(b));
        const DataLoader::State before = loader.state();
        for (int twice = 0; twice < 2; ++twice) inner.push_back(pass(loader));
        CHECK(loader.state() == before);
        REQUIRE(inner.size() <= 8);
      }
      CHECK(outer == want);
      CHECK(inner.size() == 8);
      CHECK(loader.state() == alone.state());
      for (const auto& one : inner) CHECK(samples(one).size() == 10);
      CHECK(std::set(inner.begin(), inner.end()).size() == 8);  // each in an order of its own
    }
  }
}

TEST_CASE("three deep, and two passes side by side") {
  DataLoader loader = make_loader(2);
  int64_t visits = 0;
  for ([[maybe_unused]] const Batch& a : loader)
    for ([[maybe_unused]] const Batch& b : loader)
      for ([[maybe_unused]] const Batch& c : loader) visits += c.size();
  CHECK(visits == 4 * 4 * 10);
  int64_t pairs = 0;
  auto a = loader.begin(), b = loader.begin();
  for (; a != loader.end() && b != loader.end(); ++a, ++b) pairs += a->size() == b->size();
  CHECK(pairs == 4);
  CHECK((a == loader.end() && b == loader.end()));
}

TEST_CASE("after a break the next for sees every sample, in the next epoch's order") {
  for (const int prefetch : {0, 2}) {
    DataLoader whole = make_loader(prefetch), loader = make_loader(prefetch);
    pass(whole);
    for ([[maybe_unused]] const Batch& b : loader) break;
    CHECK(loader.state() == whole.state());
    const std::vector<Seen> second = pass(loader);
    CHECK(second == pass(whole));
    CHECK(samples(second).size() == 10);
    // An exception in the body is a break too.
    try {
      for ([[maybe_unused]] const Batch& b : loader) fail<ValueError>("body");
    } catch (const ValueError&) {}
    CHECK(samples(pass(loader)).size() == 10);
  }
}

TEST_CASE("next() and for walk apart: neither takes batches from the other") {
  for (const int prefetch : {0, 2}) {
    DataLoader loader = make_loader(prefetch);
    loader.next();
    CHECK(samples(pass(loader)).size() == 10);
    int64_t batches = 1, rounds = 0;
    while (loader.next()) {
      ++batches;
      for ([[maybe_unused]] const Batch& b : loader) ++rounds;
      REQUIRE(batches < 10);
    }
    CHECK(batches == 4);
    CHECK(rounds == 12);
    std::set<int64_t> outer;
    for (const Batch& b : loader) {
      for (const int64_t i : b.x.to_vector<int64_t>()) outer.insert(i);
      loader.next();
    }
    CHECK(outer.size() == 10);
  }
}

TEST_CASE("a state saved in the body of a for goes on with the batch that follows") {
  for (const int prefetch : {0, 2})
    for (const bool nested : {false, true})
      for (int64_t stop = 0; stop < 8; ++stop) {
        INFO(prefetch << " " << nested << " " << stop);
        DataLoader loader = make_loader(prefetch);
        DataLoader::State saved;
        std::vector<std::vector<Seen>> want;
        int64_t at = 0;
        for (int epoch = 0; epoch < 3; ++epoch)
          for (const Batch& b : loader) {
            if (at > stop) want.push_back({seen(b)});
            if (nested && at > stop) want.push_back(pass(loader));
            if (nested && at <= stop) pass(loader);
            if (at++ == stop) saved = loader.state();
          }
        DataLoader resumed = make_loader(prefetch, 99);
        resumed.set_state(saved);
        CHECK(resumed.state() == saved);
        std::vector<std::vector<Seen>> got;
        for (int64_t epoch = saved.epoch; epoch < 3; ++epoch)
          for (const Batch& b : resumed) {
            got.push_back({seen(b)});
            if (nested) got.push_back(pass(resumed));
          }
        CHECK(got == want);
        CHECK(resumed.state() == loader.state());
      }
}

TEST_CASE("set_state in the body of a for moves that loop") {
  DataLoader loader = make_loader(2), plain = make_loader(2);
  const std::vector<Seen> first = pass(plain), second = pass(plain);
  DataLoader::State start = loader.state();
  std::vector<Seen> got;
  for (const Batch& b : loader) {
    got.push_back(seen(b));
    if (got.size() == 3) loader.set_state(start);
  }
  std::vector<Seen> want(first.begin(), first.begin() + 3);
  want.insert(want.end(), first.begin(), first.end());
  CHECK(got == want);
  CHECK(pass(loader) == second);
}

TEST_CASE("a sample's stream follows from seed, epoch and index alone") {
  const SampleStreams a(1, 0), same(1, 0), epoch(1, 1), seed(2, 0);
  std::set<uint64_t> words;
  for (const SampleStreams& s : {a, epoch, seed, a.inner(), a.inner().inner()})
    for (int64_t i : {0, 1, 2, 1'000'000'000}) words.insert(s.rng(i).next_u64());
  CHECK(words.size() == 20);
  Rng x = a.rng(7), y = same.rng(7);
  for (int i = 0; i < 10; ++i) CHECK(x.next_u64() == y.next_u64());
  // At any thread count, with and without the loader's thread, in any batch.
  std::vector<std::vector<int64_t>> draws;
  for (const int64_t batch_size : {1, 3, 10})
    for (const int prefetch : {0, 3}) {
      const ThreadLimit threads(prefetch + 1);
      Rng rng(3);
      DataLoader loader(Drawing(10), rng, {.batch_size = batch_size, .prefetch = prefetch});
      std::vector<int64_t> of_sample(20);
      for (int64_t e = 0; e < 2; ++e)
        for (const Batch& b : loader) {
          const auto [index, drawn] = seen(b);
          for (size_t i = 0; i < index.size(); ++i)
            of_sample[static_cast<size_t>(10 * e + index[i])] = drawn[i];
        }
      draws.push_back(of_sample);
    }
  for (const auto& d : draws) CHECK(d == draws[0]);
  CHECK(std::set(draws[0].begin(), draws[0].end()).size() == 20);
}

TEST_CASE("loaders of several shares make the batches of one, each sample once") {
  for (const int64_t ranks : {1, 2, 3, 12}) {
    Rng rng(3);
    DataLoader whole(Drawing(10), rng, {.batch_size = 4});
    std::vector<std::vector<Seen>> parts;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      Rng own(3);
      DataLoader loader(Drawing(10), own, {.batch_size = 4, .share = {rank, ranks}});
      CHECK(loader.batches() == whole.batches());
      parts.push_back(pass(loader));
    }
    const std::vector<Seen> all = pass(whole);
    for (size_t b = 0; b < all.size(); ++b) {
      Seen together;
      size_t smallest = 4, largest = 0;
      for (const auto& part : parts) {
        REQUIRE(part.size() == all.size());
        const auto& [index, drawn] = part[b];
        together.first.insert(together.first.end(), index.begin(), index.end());
        together.second.insert(together.second.end(), drawn.begin(), drawn.end());
        smallest = std::min(smallest, index.size());
        largest = std::max(largest, index.size());
      }
      CHECK(together == all[b]);
      CHECK(largest - smallest <= 1);
    }
  }
}
