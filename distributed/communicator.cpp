#include <loupe/autograd/grad_mode.h>
#include <loupe/core/raw.h>
#include <loupe/distributed/engine.h>

#include <algorithm>
#include <cstring>
#include <exception>

namespace loupe {

void PendingCollective::wait() {
  if (work_) group_->wait(*work_);
}
bool PendingCollective::done() const { return !work_ || group_->done(*work_); }

Communicator::Communicator(Options options)
    : impl_(std::make_shared<detail::CommunicatorImpl>(options)) {}
Communicator::~Communicator() { impl_->leave(std::uncaught_exceptions() > 0); }

int Communicator::rank() const { return impl_->rank; }
int Communicator::size() const { return impl_->size; }
int Communicator::local_rank() const { return impl_->local_rank; }
int Communicator::local_size() const { return impl_->local_size; }
void Communicator::set_step(int64_t step) { impl_->step = step; }
int64_t Communicator::step() const { return impl_->step; }
CommunicatorStats Communicator::stats() const { return impl_->stats(); }

namespace {

// What all ranks write into must be one stretch of memory.
void check_memory(const char* op, const Tensor& t) {
  if (!t.defined()) fail<ValueError>("{}: the tensor is undefined", op);
  if (!raw::is_dense(t))
    fail<ValueError>("{}: memory with gaps, shape {}; use contiguous()", op, t.shape());
  if (grad_enabled() && t.requires_grad())
    fail<GradError>("{}: an in-place change of a tensor that needs a gradient, shape {}; use {}",
                    op, t.shape(), "all_reduce(x, comm), or a NoGrad scope");
  constexpr int64_t kMost = INT32_MAX;  // what MPI counts
  if (t.numel() * static_cast<int64_t>(size_of(t.dtype())) > kMost)
    fail<ValueError>("{}: {} elements are more than {} bytes; cut the tensor", op, t.numel(),
                     kMost);
}

}  // namespace

void Communicator::broadcast(const Tensor& t, int root) {
  check_memory("broadcast", t);
  if (root < 0 || root >= size()) fail<ValueError>("broadcast: root {} of {} ranks", root, size());
  if (size() == 1) return;
  impl_->wait(*impl_->broadcast(t, root));
  t.storage()->bump_version();
}

PendingCollective Communicator::all_reduce_begin(const Tensor& t, const std::string& label) {
  check_memory("all_reduce", t);
  if (t.dtype() != DType::f32 && t.dtype() != DType::f64 && t.dtype() != DType::i64)
    fail<DtypeError>("all_reduce: needs f32, f64 or i64, got {}", t.dtype());
  PendingCollective pending;
  if (size() == 1) return pending;
  t.storage()->bump_version();
  pending.group_ = impl_;
  pending.work_ = impl_->all_reduce(t, label);
  return pending;
}

void Communicator::all_reduce(const Tensor& t) { all_reduce_begin(t).wait(); }

std::vector<double> Communicator::all_gather(std::span<const double> own) {
  std::vector<double> all(own.begin(), own.end());
  if (size() == 1) return all;
  const size_t n = own.size(), total = n * static_cast<size_t>(size());
  if (static_cast<int64_t>(own.size_bytes()) <= kSmallCollective) {
    const auto work = impl_->all_gather(own);
    impl_->wait(*work);
    all.resize(total);
    for (int r = 0; r < size() && n > 0; ++r)
      std::memcpy(all.data() + static_cast<size_t>(r) * n, work->payload(r), own.size_bytes());
    return all;
  }
  // Zeros everywhere else: the sum is each rank's values.
  const Tensor padded = zeros({static_cast<int64_t>(total)}, DType::f64);
  std::copy(own.begin(), own.end(), padded.ptr<double>() + static_cast<size_t>(rank()) * n);
  all_reduce(padded);
  return padded.to_vector<double>();
}

std::vector<double> Communicator::sum(std::span<const double> own) {
  const std::vector<double> all = all_gather(own);
  if (size() == 1) return all;
  std::vector<double> sums(own.size(), 0.0);
  for (size_t i = 0; i < all.size(); ++i) sums[i % own.size()] += all[i];
  return sums;
}

bool Communicator::any(bool own) { return sum({own ? 1.0 : 0.0})[0] > 0; }

void Communicator::barrier() {
  if (size() > 1) impl_->wait(*impl_->barrier());
}

}  // namespace loupe
