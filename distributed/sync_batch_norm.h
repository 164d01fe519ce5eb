#pragma once
// BatchNorm over the batch of all ranks together.
#include <loupe/distributed/communicator.h>
#include <loupe/layers/norm.h>

namespace loupe {

/// Makes every BatchNorm1d and BatchNorm2d of the model take the mean and variance of all ranks'
/// shares together in training, by their counts of values, and returns how many there are. Names,
/// state_dict and eval mode stay as they are, so that a checkpoint fits both; fused layers stay
/// fused. Backward sums over all ranks too: y and every gradient are those of one process with the
/// whole batch, once DataParallel has summed those of weight and bias. A share may be empty. All
/// ranks must run the same layers in the same order. With one rank nothing changes. The
/// communicator outlives the model's training. ValueError for a layer of the keras3 convention:
/// then none is converted.
int64_t convert_sync_batch_norm(Module& model, Communicator& comm);

/// A BatchNorm of either rank made so: SyncBatchNorm2d bn(comm, 64, {.momentum = 0.05}).
template <int kRank> class SyncBatchNorm : public BatchNorm<kRank> {
 public:
  SyncBatchNorm(Communicator& comm, int64_t num_features, BatchNormOptions o)
      : BatchNorm<kRank>(num_features, o) {
    convert_sync_batch_norm(*this, comm);
  }
  SyncBatchNorm(Communicator& comm, int64_t num_features)
      : SyncBatchNorm(comm, num_features, BatchNormOptions{}) {}
};
using SyncBatchNorm1d = SyncBatchNorm<1>;
using SyncBatchNorm2d = SyncBatchNorm<2>;

}  // namespace loupe
