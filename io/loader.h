#pragma once
// The data loader: batches of a data set in an order decided by a seed, made ahead by a thread of
// its own.
#include <loupe/core/share.h>
#include <loupe/io/dataset.h>

#include <concepts>
#include <memory>
#include <optional>

namespace loupe {

struct LoaderOptions {
  int64_t batch_size = 64;
  /// A new order every epoch; else 0, 1, 2, ...
  bool shuffle = true;
  /// Every sample drawn on its own, so that some come twice (needs shuffle).
  bool replacement = false;
  /// Leaves out a last batch that is not full.
  bool drop_last = false;
  /// Batches made ahead by the loader's thread; 0: made by the caller. The same batches either way.
  int prefetch = 2;
  /// Of several processes that train together, each with a loader of the same options and seed:
  /// this one's part of every batch. batch_size counts the samples of all of them; a part may be
  /// empty (x of size 0), so that all have as many batches, and every sample is in exactly one
  /// part.
  Share share = {};
};

/// Batches of a data set. `for (const Batch& batch : loader)` makes one pass over it, an epoch, and
/// every `for` a pass of its own, as in PyTorch: after a break the next one starts anew, and one
/// inside another leaves the outer one alone. The first `for` after set_state() goes on with the
/// pass that was saved.
///
/// The order of pass e and its samples' random streams (io/dataset.h) follow from the loader's key
/// (the number that the constructor draws from `rng`) and e. A pass begun inside another `for`
/// draws from a stream of its own, so that the passes to come are the same with and without it.
class DataLoader : Pinned {
  class Pass;

 public:
  /// Everything that decides which batches come next: 32 bytes of a checkpoint.
  struct State {
    Rng::State rng;        // at the start of the epoch
    int64_t epoch = 0;     // epochs begun before
    int64_t position = 0;  // batches of this epoch that were handed out
    friend bool operator==(const State&, const State&) = default;
  };

  /// Draws one key from `rng` for its own stream. ValueError if an epoch would have no batch.
  DataLoader(std::shared_ptr<const Dataset> data, Rng& rng, const LoaderOptions& options = {});
  /// The same with a data set by value: DataLoader loader(ImageDataset(set), rng, {.batch_size =
  /// 128});
  template <std::derived_from<Dataset> Data>
  DataLoader(Data data, Rng& rng, const LoaderOptions& options = {})
      : DataLoader(std::make_shared<const Data>(std::move(data)), rng, options) {}
  ~DataLoader();

  const Dataset& dataset() const { return *data_; }
  const LoaderOptions& options() const { return options_; }
  /// Batches of an epoch.
  int64_t batches() const;
  /// The next batch of a pass that is the loader's own, apart from those of `for`; nothing at the
  /// end of an epoch, and the call after that starts the next one. An error of the data set is
  /// thrown here; the call after it goes on with the batch that follows.
  std::optional<Batch> next();

  /// Where the pass is that handed out the last batch, the outer one of nested `for`s; the start of
  /// the next pass when that one has ended or was left by a break.
  State state() const;
  /// Continues exactly as the loader whose state() this was. Inside a `for` that loop itself goes
  /// on from there. ValueError if the position is outside the epoch.
  void set_state(const State& state);

  class Iterator {
   public:
    Iterator() = default;
    const Batch& operator*() const { return *batch_; }
    const Batch* operator->() const { return &*batch_; }
    Iterator& operator++();
    bool operator==(const Iterator&) const { return !batch_; }

   private:
    friend class DataLoader;
    Iterator(DataLoader* counts_for, std::shared_ptr<Pass> pass);
    DataLoader* loader_ = nullptr;  // whose state() follows this pass; null for an inner one
    std::shared_ptr<Pass> pass_;
    std::optional<Batch> batch_;
  };
  Iterator begin();
  Iterator end() { return {}; }

 private:
  std::shared_ptr<Pass> next_pass();

  std::shared_ptr<const Dataset> data_;
  LoaderOptions options_;
  State next_;                 // of the next pass
  std::shared_ptr<Pass> own_;  // of next(), while it is under way
  std::weak_ptr<Pass> loop_;   // of the outermost `for`
  std::weak_ptr<Pass> last_;   // which of the two handed out the last batch
};

}  // namespace loupe
