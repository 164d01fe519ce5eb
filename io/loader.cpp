#include <loupe/core/stretch.h>
#include <loupe/core/threads.h>
#include <loupe/io/loader.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

namespace loupe {
namespace {

int64_t batches_of(const Dataset& data, const LoaderOptions& options) {
  const int64_t n = data.size(), b = options.batch_size;
  return n / b + (!options.drop_last && n % b != 0);
}

uint64_t derived_key(uint64_t key, uint64_t what) {
  const auto words = philox(key, what);
  return uint64_t{words[1]} << 32 | words[0];
}

}  // namespace

/// One walk over the data: its order, and the thread that makes its batches ahead.
class DataLoader::Pass : Pinned {
 public:
  Pass(std::shared_ptr<const Dataset> data, const LoaderOptions& options)
      : data_(std::move(data)), options_(options), batches_(batches_of(*data_, options)) {}
  ~Pass() { stop_thread(); }

  /// Starts, or starts again, from a state.
  void begin(const State& from);
  std::optional<Batch> next();
  bool ended() const { return ended_; }
  State state() const { return now_; }
  /// Where the pass that follows starts.
  State after() const { return {rng_after_, now_.epoch + 1, 0}; }
  /// Where a pass starts that is begun inside this one: a function of the place and of how many
  /// were begun there before.
  State inside();

 private:
  struct Made {
    Batch batch;
    std::exception_ptr error;
  };
  Batch make(int64_t position) const;
  void run_thread(int64_t position);
  void stop_thread();

  std::shared_ptr<const Dataset> data_;
  LoaderOptions options_;
  int64_t batches_;
  State now_;
  Rng::State rng_after_;
  std::vector<int64_t> order_;
  bool ended_ = false;
  uint64_t begun_here_ = 0;  // passes inside this one, since its last batch

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Made> made_;
  bool stop_ = false;
};

void DataLoader::Pass::begin(const State& from) {
  stop_thread();
  now_ = from;
  ended_ = false;
  begun_here_ = 0;
  const int64_t n = data_->size();
  Rng rng;
  rng.set_state(from.rng);
  order_.resize(static_cast<size_t>(n));
  if (options_.replacement) {
    rng.integers(0, n, order_);
  } else {
    std::iota(order_.begin(), order_.end(), 0);
    for (int64_t i = n - 1; i > 0 && options_.shuffle; --i)
      std::swap(order_[static_cast<size_t>(i)], order_[static_cast<size_t>(rng.integer(0, i + 1))]);
  }
  rng_after_ = rng.state();
  if (options_.prefetch > 0 && now_.position < batches_)
    thread_ = std::thread([this, position = now_.position] { run_thread(position); });
}

DataLoader::State DataLoader::Pass::inside() {
  // Far from the counters that orders draw from, and from those of SampleStreams.
  constexpr uint64_t kInside = uint64_t{1} << 63;
  const uint64_t here = derived_key(now_.rng.key, kInside + static_cast<uint64_t>(now_.epoch));
  const uint64_t place = static_cast<uint64_t>(now_.position) << 24 | begun_here_++;
  return {{derived_key(here, place), 0}, now_.epoch, 0};
}

Batch DataLoader::Pass::make(int64_t position) const {
  const int64_t first = position * options_.batch_size;
  const int64_t n = std::min(options_.batch_size, data_->size() - first);
  const ShareRange own = options_.share.of(n);
  const auto indices = std::span(order_).subspan(static_cast<size_t>(first + own.first),
                                                 static_cast<size_t>(own.size()));
  return data_->batch(indices, SampleStreams(now_.rng.key, now_.epoch));
}

void DataLoader::Pass::run_thread(int64_t position) {
  const ThreadLimit alone(1);  // the pool is the training's
  for (; position < batches_; ++position) {
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

void DataLoader::Pass::stop_thread() {
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

std::optional<Batch> DataLoader::Pass::next() {
  const Stretch stretch("load batch");
  if (now_.position == batches_) {
    stop_thread();
    ended_ = true;
    return {};
  }
  begun_here_ = 0;
  if (options_.prefetch == 0) return make(now_.position++);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !made_.empty(); });
  Made made = std::move(made_.front());
  made_.pop_front();
  ++now_.position;
  changed_.notify_all();
  if (made.error) std::rethrow_exception(made.error);
  return std::move(made.batch);
}

DataLoader::DataLoader(std::shared_ptr<const Dataset> data, Rng& rng, const LoaderOptions& options)
    : data_(std::move(data)), options_(options) {
  if (!data_) fail<ValueError>("DataLoader: no data set");
  if (options.batch_size < 1 || options.prefetch < 0)
    fail<ValueError>("DataLoader: batch_size {} must be at least 1 and prefetch {} at least 0",
                     options.batch_size, options.prefetch);
  if (options.replacement && !options.shuffle)
    fail<ValueError>("DataLoader: replacement needs shuffle");
  if (!options.share.is_valid())
    fail<ValueError>("DataLoader: share {} of {} processes", options.share.rank,
                     options.share.ranks);
  if (batches() == 0)
    fail<ValueError>(
        "DataLoader: no batch of {} in {} samples{}", options.batch_size, data_->size(),
        options.drop_last && data_->size() > 0 ? "; drop_last leaves the only one out" : "");
  next_.rng = rng.split().state();
}

DataLoader::~DataLoader() = default;

int64_t DataLoader::batches() const { return batches_of(*data_, options_); }

DataLoader::State DataLoader::state() const {
  const auto last = last_.lock();
  return last && !last->ended() ? last->state() : next_;
}

void DataLoader::set_state(const State& state) {
  if (state.epoch < 0 || state.position < 0 || state.position > batches())
    fail<ValueError>("DataLoader::set_state: epoch {}, batch {} of {}", state.epoch, state.position,
                     batches());
  own_.reset();
  next_ = state;
  if (const auto loop = loop_.lock(); loop && !loop->ended()) {
    loop->begin(state);
    next_ = loop->after();
    last_ = loop;
  }
}

std::shared_ptr<DataLoader::Pass> DataLoader::next_pass() {
  const auto pass = std::make_shared<Pass>(data_, options_);
  pass->begin(next_);
  next_ = pass->after();
  return pass;
}

std::optional<Batch> DataLoader::next() {
  if (!own_) own_ = next_pass();
  last_ = own_;
  std::optional<Batch> batch = own_->next();
  if (!batch) own_.reset();
  return batch;
}

DataLoader::Iterator DataLoader::begin() {
  if (const auto outer = loop_.lock(); outer && !outer->ended()) {
    const auto inner = std::make_shared<Pass>(data_, options_);
    inner->begin(outer->inside());
    return {nullptr, inner};
  }
  const auto pass = next_pass();
  loop_ = pass;
  return {this, pass};
}

DataLoader::Iterator::Iterator(DataLoader* counts_for, std::shared_ptr<Pass> pass)
    : loader_(counts_for), pass_(std::move(pass)) {
  ++*this;
}

DataLoader::Iterator& DataLoader::Iterator::operator++() {
  if (loader_) loader_->last_ = pass_;
  batch_ = pass_->next();
  if (!batch_) pass_.reset();
  return *this;
}

}  // namespace loupe
