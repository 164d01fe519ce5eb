#pragma once
// Which samples of a data set each rank takes.
#include <loupe/core/random.h>
#include <loupe/core/share.h>

#include <vector>

namespace loupe {

/// A rank's samples of every batch, for own loops; a DataLoader with `share` does the same. Ranks
/// with the same options and seed divide each batch among them: all have as many batches, every
/// sample is in exactly one part, parts differ by one sample at most and may be empty. (PyTorch's
/// DistributedSampler repeats samples to make parts equal, so that an evaluation counts some
/// twice.) The order, and the samples of each batch, are those of one process, whatever the number
/// of ranks.
class ShardedSampler {
 public:
  struct Options {
    int64_t batch_size = 64;  // of all ranks together
    bool shuffle = true;
    uint64_t seed = 0;
    bool drop_last = false;  // leaves out a last batch that is not full
  };
  using Batches = std::vector<std::vector<int64_t>>;

  /// ValueError for fewer than 0 samples, a batch_size below 1, and a share that is none.
  ShardedSampler(int64_t samples, Share share, Options options);
  ShardedSampler(int64_t samples, Share share) : ShardedSampler(samples, share, Options{}) {}

  /// Batches of an epoch, the same on all ranks.
  int64_t batches() const;
  /// This rank's part of each batch of the next epoch: each call gives another order, by itself.
  Batches next_epoch();
  /// That of epoch e, a function of the seed and e. ValueError below 0.
  Batches epoch(int64_t e) const;
  /// The number of epochs that next_epoch() has given; set it to resume.
  int64_t epochs = 0;

 private:
  int64_t samples_;
  Share share_;
  Options options_;
};

}  // namespace loupe
