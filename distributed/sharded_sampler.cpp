#include <loupe/core/error.h>
#include <loupe/distributed/sharded_sampler.h>

#include <algorithm>
#include <numeric>

namespace loupe {

ShardedSampler::ShardedSampler(int64_t samples, Share share, Options options)
    : samples_(samples), share_(share), options_(options) {
  if (samples < 0 || options.batch_size < 1)
    fail<ValueError>("ShardedSampler: {} samples in batches of {}", samples, options.batch_size);
  if (!share.is_valid())
    fail<ValueError>("ShardedSampler: share {} of {} processes", share.rank, share.ranks);
}

int64_t ShardedSampler::batches() const {
  const int64_t whole = samples_ / options_.batch_size;
  return whole + (!options_.drop_last && samples_ % options_.batch_size != 0);
}

ShardedSampler::Batches ShardedSampler::next_epoch() { return epoch(epochs++); }

ShardedSampler::Batches ShardedSampler::epoch(int64_t e) const {
  if (e < 0) fail<ValueError>("ShardedSampler: epochs count from 0, got {}", e);
  std::vector<int64_t> order(static_cast<size_t>(samples_));
  std::iota(order.begin(), order.end(), 0);
  Rng rng(options_.seed);
  const auto words = philox(options_.seed, ~static_cast<uint64_t>(e));
  rng.set_state({uint64_t{words[1]} << 32 | words[0], 0});
  for (int64_t i = samples_ - 1; i > 0 && options_.shuffle; --i)
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(rng.integer(0, i + 1))]);
  Batches all;
  for (int64_t b = 0; b < batches(); ++b) {
    const int64_t first = b * options_.batch_size;
    const ShareRange own = share_.of(std::min(options_.batch_size, samples_ - first));
    all.emplace_back(order.begin() + first + own.first, order.begin() + first + own.last);
  }
  return all;
}

}  // namespace loupe
