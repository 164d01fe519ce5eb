#pragma once
// The engine under Communicator: calls on all ranks as stages of messages, which advance by
// themselves. For the sources of this folder.
#include <loupe/distributed/group.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace loupe::detail {

using Clock = std::chrono::steady_clock;
using Bytes = std::vector<std::byte>;

enum class Op : int32_t { barrier, broadcast, all_reduce, all_gather, ended, failed };
inline constexpr const char* kOpNames[] = {"barrier",    "broadcast", "all_reduce",
                                           "all_gather", "",          ""};

// What a rank is about to do, as it tells the others. Sent as bytes: all ranks run the same
// program.
struct Header {
  Op op = Op::barrier;
  DType dtype = DType::f32;
  int64_t number = 0;  // of the collective, from 1
  int64_t step = 0;
  int64_t count = 0;  // elements
  uint64_t layout = 0;
  int32_t root = 0;
  char label[44] = {};

  bool same(const Header& o) const {
    return op == o.op && dtype == o.dtype && number == o.number && count == o.count &&
           layout == o.layout && root == o.root && std::strcmp(label, o.label) == 0;
  }
  std::string text() const {
    if (op == Op::ended) return fmt::format("has ended after step {}", step);
    if (op == Op::failed) return fmt::format("has failed at step {}", step);
    std::string s = fmt::format("{} of {} {}", kOpNames[static_cast<int>(op)], count, dtype);
    if (op == Op::barrier) s = "barrier";
    if (op == Op::broadcast) s += fmt::format(" from rank {}", root);
    if (label[0]) s += fmt::format(" ({})", label);
    return s + fmt::format(" at step {}", step);
  }
};

// One call on all ranks: messages under way, and what follows when they are done.
struct Collective {
  struct Message {
    size_t number;
    int peer;
    bool receives;
  };
  Header header;
  Tensor tensor;           // what it works on, as one row; may be undefined
  Bytes own;               // header and payload as they are sent in an exchange
  std::vector<Bytes> all;  // those of every rank
  std::vector<Message> under_way;
  std::vector<std::function<void()>> stages;  // each runs when the messages before it are done
  size_t next = 0;
  bool done = false;

  const std::byte* payload(int rank) const {
    return all[static_cast<size_t>(rank)].data() + sizeof(Header);
  }
};

class CommunicatorImpl : Pinned {
 public:
  explicit CommunicatorImpl(const CommunicatorOptions& o)
      : options(o), transport_(open_transport()) {
    if (!(o.timeout > 0))
      fail<ValueError>("Communicator: timeout must be above 0 seconds, got {}", o.timeout);
    if (!transport_) return;
    rank = transport_->rank();
    size = transport_->size();
    local_rank = transport_->local_rank();
    local_size = transport_->local_size();
    if (transport_->takes_threads()) helper_ = std::thread([this] { help(); });
  }
  ~CommunicatorImpl() {
    end_helper();
    // After a failure MPI may still write into what was posted: that memory stays.
    if (!broken_.empty()) new std::deque<Work>(std::move(active_));
  }

  // Says that this rank ends, and waits until the others do.
  void leave(bool failed) noexcept;

  std::shared_ptr<Collective> broadcast(const Tensor& t, int root);
  std::shared_ptr<Collective> all_reduce(const Tensor& t, const std::string& label);
  std::shared_ptr<Collective> all_gather(std::span<const double> own);
  std::shared_ptr<Collective> barrier();
  void wait(Collective& work);
  bool done(const Collective& work) {
    const std::lock_guard lock(mutex_);
    progress();
    return work.done;
  }
  CommunicatorStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  CommunicatorOptions options;
  int rank = 0, size = 1, local_rank = 0, local_size = 1;
  int64_t step = 0;

 private:
  using Work = std::shared_ptr<Collective>;

  Work make(Op op, const Tensor& t, const std::string& label = "");
  // The stage in which every rank sends header and payload to all others.
  void exchange(Collective& work, std::span<const std::byte> payload);
  void check_headers(const Collective& work) const;
  Work launch(const Work& work);
  bool is_small(const Collective& work) const {
    return !work.tensor.defined() || bytes_of(work.tensor) <= kSmallCollective;
  }
  static int64_t bytes_of(const Tensor& t) {
    return t.numel() * static_cast<int64_t>(size_of(t.dtype()));
  }
  static std::byte* memory(const Tensor& t) {
    return dispatch(t.dtype(),
                    [&]<class T>(Type<T>) { return reinterpret_cast<std::byte*>(t.ptr<T>()); });
  }

  void send(Collective& work, const std::byte* data, int64_t bytes, int to, int tag);
  void receive(Collective& work, std::byte* data, int64_t bytes, int from, int tag);
  void add_reduce_stages(Collective& work);
  void add_tree_stages(Collective& work);

  bool progress();  // with the mutex; whether something moved
  bool advance(Collective& work);
  // `everywhere`: all ranks know, and nothing is under way: MPI can still end as usual.
  void break_with(const std::string& text, bool everywhere = false);
  void throw_if_broken() const {
    if (!broken_.empty()) throw CommunicationError(broken_);
  }
  std::string late(const Collective& work, double seconds) const;
  void help();
  void end_helper();

  std::unique_ptr<Transport> transport_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread helper_;
  std::deque<Work> active_;
  int waiting_ = 0;
  bool ending_ = false;
  std::string broken_;
  int64_t number_ = 0;
  CommunicatorStats stats_;
  Clock::time_point busy_since_;
};

}  // namespace loupe::detail
