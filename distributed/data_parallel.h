#pragma once
// Training one model by several processes, each on a share of every batch.
//
//   Communicator comm;
//   DataParallel parallel(model, comm);         // every rank starts with rank 0's weights
//   DataLoader loader(data, rng, {.batch_size = 256, .share = comm.share()});
//   for (const Batch& batch : loader) {
//     const Tensor loss = cross_entropy(model(batch.x), batch.y);
//     const MeanLoss mean = parallel.mean_loss(loss, batch.size());  // shares may differ, and be empty
//     optimizer.zero_grad();
//     mean.share.backward();                    // leaves the same gradients on every rank
//     optimizer.step();
//   }
//
// What the gradients are. backward() leaves on every rank the mean over ranks of what each has
// accumulated, as PyTorch's DistributedDataParallel: (1/N) sum_r g_r. Where the shares are equal
// and the loss is a mean, that is the gradient of the mean over all samples, and loss.backward() is
// enough. Where they are not, mean_loss() weights them: with n_r samples and loss l_r on rank r its
// share is l_r n_r N / sum_r n_r, and the gradients are those of sum_r n_r l_r / sum_r n_r, which
// is what one process with the whole batch computes. The weight has to be in the loss: gradients
// weighted afterwards would be wrong behind a synchronised BatchNorm, which mixes those of all
// ranks.
//
// With one rank nothing is changed: the bits are those of a training without it.
#include <loupe/distributed/communicator.h>
#include <loupe/layers/module.h>

namespace loupe {

/// The mean of a loss over the samples of all ranks.
struct MeanLoss {
  Tensor share;      // what to call backward() on
  double value = 0;  // the mean, the same on all ranks; NaN where there are no
                     // samples (with one rank: the loss as given)
};

class DataParallel : Pinned {
 public:
  struct Options {
    /// Gradients travel in buckets of about so many bytes. They leave in one order on all ranks,
    /// each when it and those before it are complete, while the pass goes on. Small: more of the
    /// way is hidden; large: fewer messages.
    int64_t bucket_bytes = 4 << 20;
    /// The bucket that is full first, with the last layers' gradients.
    int64_t first_bucket_bytes = 1 << 18;
  };
  /// Gives every rank the parameters and buffers of rank 0. The model may be moved later; its
  /// parameters and buffers must stay the same tensors. CommunicationError where the shapes or
  /// types of the models' parameters and buffers differ (names are not compared); ValueError for
  /// sizes below 1 and for a model without parameters that need a gradient.
  DataParallel(Module& model, Communicator& comm, Options options);
  DataParallel(Module& model, Communicator& comm) : DataParallel(model, comm, Options{}) {}
  ~DataParallel();

  /// `loss` is the mean over `count` samples of this rank. A rank without samples calls it too,
  /// with count 0: its loss may be NaN, and counts for nothing. One small collective. ShapeError
  /// unless the loss is one number; ValueError for a count below 0 or not finite.
  MeanLoss mean_loss(In loss, double count);

  /// While it lives backward() only accumulates on this rank: for several backward() a step. The
  /// first backward() after it reduces what has been accumulated. All ranks alike.
  class NoSync : Pinned {
   public:
    explicit NoSync(DataParallel& parallel);
    ~NoSync();

   private:
    bool& quiet_;
    bool before_;
  };
  NoSync no_sync() { return NoSync(*this); }

  /// Gives every rank the buffers of rank 0: before an evaluation by all ranks, and before a
  /// checkpoint by another one. BatchNorm's running statistics are each rank's own while it trains
  /// (PyTorch copies rank 0's before each step; what an evaluation sees is the same). Those of a
  /// synchronised BatchNorm are the same anyway.
  void sync_buffers();

  /// How many buckets there are, and bytes of each.
  std::vector<int64_t> bucket_sizes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace loupe
