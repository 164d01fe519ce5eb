#include <loupe/core/threads.h>
#include <loupe/io/loader.h>

#include <algorithm>
#include <numeric>

namespace loupe {

DataLoader::DataLoader(std::shared_ptr<const Dataset> data, Rng& rng, const LoaderOptions& options)
    : data_(std::move(data)), options_(options) {
  if (!data_) fail<ValueError>("DataLoader: no data set");
  if (options.batch_size < 1 || options.prefetch < 0)
    fail<ValueError>("DataLoader: batch_size {} must be at least 1 and prefetch {} at least 0",
                     options.batch_size, options.prefetch);
  if (options.replacement && !options.shuffle)
    fail<ValueError>("DataLoader: replacement needs shuffle");
  if (batches() == 0)
    fail<ValueError>(
        "DataLoader: no batch of {} in {} samples{}", options.batch_size, data_->size(),
        options.drop_last && data_->size() > 0 ? "; drop_last leaves the only one out" : "");
  state_.rng = rng.split().state();
}

DataLoader::~DataLoader() { stop_thread(); }

int64_t DataLoader::batches() const {
  const int64_t n = data_->size(), b = options_.batch_size;
  return n / b + (!options_.drop_last && n % b != 0);
}

void DataLoader::set_state(const State& state) {
  if (state.epoch < 0 || state.position < 0 || state.position > batches())
    fail<ValueError>("DataLoader::set_state: epoch {}, batch {} of {}", state.epoch, state.position,
                     batches());
  stop_thread();
  state_ = state;
  started_ = false;
}

void DataLoader::start_epoch() {
  const int64_t n = data_->size();
  Rng rng;
  rng.set_state(state_.rng);
  order_.resize(static_cast<size_t>(n));
  if (options_.replacement) {
    rng.integers(0, n, order_);
  } else {
    std::iota(order_.begin(), order_.end(), 0);
    for (int64_t i = n - 1; i > 0 && options_.shuffle; --i)
      std::swap(order_[static_cast<size_t>(i)], order_[static_cast<size_t>(rng.integer(0, i + 1))]);
  }
  next_rng_ = rng.state();
  started_ = true;
  if (options_.prefetch > 0 && state_.position < batches())
    thread_ = std::thread([this, position = state_.position] { run_thread(position); });
}

Batch DataLoader::make(int64_t position) const {
  const int64_t first = position * options_.batch_size;
  const int64_t n = std::min(options_.batch_size, data_->size() - first);
  return data_->batch(
      std::span(order_).subspan(static_cast<size_t>(first), static_cast<size_t>(n)));
}

void DataLoader::run_thread(int64_t position) {
  const ThreadLimit alone(1);  // the pool is the training's
  for (; position < batches(); ++position) {
    Made made;
    try {
      made.batch = make(position);
    } catch (...) { made.error = std::current_exception(); }
    std::unique_lock lock(mutex_);
    changed_.wait(lock,
                  [&] { return stop_ || made_.size() < static_cast<size_t>(options_.prefetch); });
    if (stop_) return;
    made_.push_back(std::move(made));
    changed_.notify_all();
  }
}

void DataLoader::stop_thread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
  stop_ = false;
  made_.clear();
}

std::optional<Batch> DataLoader::next() {
  if (!started_) start_epoch();
  if (state_.position == batches()) {
    stop_thread();
    state_ = {next_rng_, state_.epoch + 1, 0};
    started_ = false;
    return {};
  }
  if (options_.prefetch == 0) return make(state_.position++);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !made_.empty(); });
  Made made = std::move(made_.front());
  made_.pop_front();
  ++state_.position;
  changed_.notify_all();
  if (made.error) std::rethrow_exception(made.error);
  return std::move(made.batch);
}

}  // namespace loupe
