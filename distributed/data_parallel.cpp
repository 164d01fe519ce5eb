#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/distributed/data_parallel.h>
#include <loupe/layers/state.h>

#include <algorithm>
#include <cmath>

namespace loupe {
namespace {

// Gradients that travel together, in one row of memory:
//
//   | gradient of the first parameter | of the second | ... | flag, flag, ... |
//
// A flag is 1 where this rank has a gradient: one that no rank has stays undefined.
struct Bucket {
  StateDict parameters;
  std::vector<int64_t> offsets;
  int64_t elements = 0;  // of the gradients
  DType dtype = DType::f32;
  Tensor row;
  size_t missing = 0;  // gradients that this pass has not delivered
  bool launched = false;
  PendingCollective pending;

  int64_t flag(size_t i) const { return elements + static_cast<int64_t>(i); }
  int64_t length() const { return elements + static_cast<int64_t>(parameters.size()); }
};

int64_t bytes_of(const Tensor& t) { return t.numel() * static_cast<int64_t>(size_of(t.dtype())); }

// In the order in which gradients become known, about: from the last parameter to the first.
std::vector<Bucket> cut(const StateDict& parameters, const DataParallel::Options& options) {
  std::vector<Bucket> buckets;
  int64_t bytes = 0;
  for (auto p = parameters.rbegin(); p != parameters.rend(); ++p) {
    if (!p->tensor.requires_grad()) continue;
    const int64_t most = buckets.size() <= 1 ? options.first_bucket_bytes : options.bucket_bytes;
    if (buckets.empty() || buckets.back().dtype != p->tensor.dtype() || bytes >= most) {
      buckets.emplace_back();
      buckets.back().dtype = p->tensor.dtype();
      bytes = 0;
    }
    Bucket& b = buckets.back();
    b.parameters.push_back(*p);
    b.offsets.push_back(b.elements);
    b.elements += p->tensor.numel();
    bytes += bytes_of(p->tensor);
  }
  return buckets;
}

// A view of the row where parameter i's gradient stands.
Tensor place(const Bucket& b, size_t i) {
  const Tensor& p = b.parameters[i].tensor;
  return raw::reshape(raw::slice(b.row, 0, b.offsets[i], b.offsets[i] + p.numel(), 1), p.shape());
}

void set(const Tensor& row, int64_t at, double value) { raw::fill(raw::select(row, 0, at), value); }

}  // namespace

// Outlives the DataParallel where a hook still runs.
struct DataParallel::State : std::enable_shared_from_this<State> {
  Communicator& comm;
  StateDict buffers;
  std::vector<Bucket> buckets;
  std::vector<GradHookHandle> hooks;
  bool quiet = false;
  bool in_pass = false;

  State(Module& model, Communicator& c) : comm(c), buffers(named_buffers(model)) {}

  void begin_pass();
  void ready(size_t bucket);
  void launch_full();
  void launch(size_t index);
  void finish_pass();
  void unpack(Bucket& b);
};

void DataParallel::State::begin_pass() {
  in_pass = true;
  for (Bucket& b : buckets) {
    b.missing = b.parameters.size();
    b.launched = false;
  }
}

// The gradient of one more parameter of a bucket is known.
void DataParallel::State::ready(size_t bucket) {
  if (quiet || comm.size() == 1) return;
  if (!in_pass) {
    begin_pass();
    const auto state = shared_from_this();
    // Also where the pass ends by an exception.
    const std::shared_ptr<void> ended(nullptr, [state](void*) { state->in_pass = false; });
    call_after_backward([state, ended] { state->finish_pass(); });
  }
  Bucket& b = buckets[bucket];
  if (b.missing > 0) --b.missing;
  launch_full();
}

// Every rank launches in the order of the buckets, whatever the order of the gradients.
void DataParallel::State::launch_full() {
  for (size_t i = 0; i < buckets.size(); ++i) {
    if (buckets[i].launched) continue;
    if (buckets[i].missing > 0) return;
    launch(i);
  }
}

void DataParallel::State::launch(size_t index) {
  Bucket& b = buckets[index];
  NoGrad guard;
  if (!b.row.defined()) b.row = raw::empty({b.length()}, b.dtype);
  for (size_t i = 0; i < b.parameters.size(); ++i) {
    const Named& p = b.parameters[i];
    const Tensor& g = p.tensor.grad();
    if (p.tensor.dtype() != b.dtype)
      fail<DtypeError>("DataParallel: {} is {}, and was {} when it began; make a new DataParallel",
                       p.name, p.tensor.dtype(), b.dtype);
    set(b.row, b.flag(i), g.defined() ? 1 : 0);
    if (g.defined()) raw::copy(g, place(b, i));
    else raw::fill(place(b, i), 0);
  }
  b.launched = true;
  b.pending = comm.all_reduce_begin(b.row, fmt::format("gradient bucket {} of {}, {} first", index,
                                                       buckets.size(), b.parameters[0].name));
}

void DataParallel::State::finish_pass() {
  for (size_t i = 0; i < buckets.size(); ++i)
    if (!buckets[i].launched) launch(i);
  for (Bucket& b : buckets) {
    b.pending.wait();
    unpack(b);
  }
}

void DataParallel::State::unpack(Bucket& b) {
  NoGrad guard;
  for (size_t i = 0; i < b.parameters.size(); ++i) {
    const Tensor& p = b.parameters[i].tensor;
    if (raw::select(b.row, 0, b.flag(i)).item() == 0) continue;  // no rank has one
    const Tensor g = p.grad().defined() ? p.grad() : raw::empty_like(p);
    raw::copy(raw::binary(raw::Binary::div, place(b, i), comm.size()), g);
    if (!p.grad().defined()) p.set_grad(g);
  }
}

DataParallel::DataParallel(Module& model, Communicator& comm, Options options)
    : state_(std::make_shared<State>(model, comm)) {
  if (options.bucket_bytes < 1 || options.first_bucket_bytes < 1)
    fail<ValueError>("DataParallel: bucket_bytes {} and first_bucket_bytes {} must be at least 1",
                     options.bucket_bytes, options.first_bucket_bytes);
  State& s = *state_;
  const StateDict parameters = named_parameters(model);
  s.buckets = cut(parameters, options);
  if (s.buckets.empty())
    fail<ValueError>("DataParallel: {} has no parameter that needs a gradient", model.type_name());
  if (comm.size() == 1) return;
  NoGrad guard;
  for (const Named& p : parameters) comm.broadcast(p.tensor);
  sync_buffers();
  for (size_t i = 0; i < s.buckets.size(); ++i)
    for (const Named& p : s.buckets[i].parameters)
      s.hooks.push_back(register_post_accumulate_grad_hook(
          p.tensor, [state = std::weak_ptr(state_), i](const Tensor&) {
            if (const auto live = state.lock()) live->ready(i);
          }));
}

DataParallel::~DataParallel() {
  for (GradHookHandle& hook : state_->hooks) hook.remove();
}

MeanLoss DataParallel::mean_loss(In loss, double count) {
  if (loss->numel() != 1)
    fail<ShapeError>("mean_loss: the loss must be one number, got shape {}", loss->shape());
  if (!(count >= 0) || !std::isfinite(count))
    fail<ValueError>("mean_loss: count must be a number of at least 0, got {}", count);
  const double own = loss->item();
  if (state_->comm.size() == 1) return {loss, own};
  const std::vector<double> sums = state_->comm.sum({count > 0 ? own * count : 0, count});
  const double ranks = state_->comm.size(), all = sums[1];
  return {loss * (all > 0 ? count * ranks / all : 0.0), sums[0] / all};
}

DataParallel::NoSync::NoSync(DataParallel& parallel)
    : quiet_(parallel.state_->quiet), before_(quiet_) {
  quiet_ = true;
}
DataParallel::NoSync::~NoSync() { quiet_ = before_; }

void DataParallel::sync_buffers() {
  if (state_->comm.size() == 1) return;
  NoGrad guard;
  for (const Named& b : state_->buffers) state_->comm.broadcast(b.tensor);
}

std::vector<int64_t> DataParallel::bucket_sizes() const {
  std::vector<int64_t> sizes;
  for (const Bucket& b : state_->buckets)
    sizes.push_back(b.length() * static_cast<int64_t>(size_of(b.dtype)));
  return sizes;
}

}  // namespace loupe
