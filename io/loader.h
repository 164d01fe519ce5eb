#pragma once
// The data loader: batches of a data set in an order decided by a seed, made ahead by a thread of
// its own.
#include <loupe/io/dataset.h>

#include <concepts>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

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
};

/// for (const Batch& batch : loader) walks one epoch (what is left of it after a break or a
/// restored state).
class DataLoader : Pinned {
 public:
  /// Everything that decides which batches come next: 32 bytes of a checkpoint.
  struct State {
    Rng::State rng;        // at the start of the epoch
    int64_t epoch = 0;     // epochs finished
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
  /// The next batch; nothing at the end of an epoch, and the call after that starts the next one.
  /// An error of the data set is thrown here; the call after it goes on with the batch that
  /// follows.
  std::optional<Batch> next();

  State state() const { return state_; }
  /// Continues exactly as the loader whose state() this was. ValueError if the position is outside
  /// the epoch.
  void set_state(const State& state);

  class Iterator {
   public:
    explicit Iterator(DataLoader* loader) : loader_(loader) { ++*this; }
    Iterator() = default;
    const Batch& operator*() const { return *batch_; }
    const Batch* operator->() const { return &*batch_; }
    Iterator& operator++() {
      batch_ = loader_->next();
      return *this;
    }
    bool operator==(const Iterator&) const { return !batch_; }

   private:
    DataLoader* loader_ = nullptr;
    std::optional<Batch> batch_;
  };
  Iterator begin() { return Iterator(this); }
  Iterator end() { return {}; }

 private:
  struct Made {
    Batch batch;
    std::exception_ptr error;
  };
  void start_epoch();
  Batch make(int64_t position) const;
  void stop_thread();
  void run_thread(int64_t position);

  std::shared_ptr<const Dataset> data_;
  LoaderOptions options_;
  State state_;
  Rng::State next_rng_;         // at the start of the next epoch
  std::vector<int64_t> order_;  // of this epoch
  bool started_ = false;

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Made> made_;
  bool stop_ = false;
};

}  // namespace loupe
