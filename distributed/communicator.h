#pragma once
// Processes that work together, over MPI. Most calls are collectives: all processes ("ranks") make
// them, in the same order. all_reduce_begin() does not wait.
//
//   Communicator comm;                        // all processes that mpirun started
//   const double loss = comm.sum({own})[0];   // the same bits on every rank
//
// Sums are taken in the order of the ranks, whatever arrives first: the same bits run after run,
// and on every rank. Where nothing launched the program, or the library was built without MPI, the
// communicator has one rank and every call works on its own values alone.
//
// How many bytes a rank sends to sum n bytes over N ranks: each rank owns 1/N of them, gets this
// part from all others, adds it up and sends the sum to all others: 2 n (N - 1) / N, the least that
// any algorithm can do, a ring's too (Patarasuk and Yuan 2009). Up to kSmallCollective bytes every
// rank sends all to all others, n (N - 1): one message's time instead of two.
#include <loupe/core/error.h>
#include <loupe/core/pinned.h>
#include <loupe/core/share.h>
#include <loupe/core/tensor.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace loupe {

/// The ranks do not do the same thing, or one of them does not answer. The text names op, rank and
/// step; the communicator cannot be used any more.
struct CommunicationError : Error {
  using Error::Error;
};

/// Bytes up to which a collective is one exchange of everything.
inline constexpr int64_t kSmallCollective = 16384;

struct CommunicatorOptions {
  /// Seconds that a rank waits for another one that does not go on; above 0.
  double timeout = 60;
  /// Ranks tell each other, before each collective, what they are about to do: op, element type,
  /// sizes, step. A difference is a CommunicationError on all of them at once. Without it a
  /// difference in a large collective ends by the timeout, or by MPI's own error.
  bool checked = true;
  /// Asked while waiting; true ends the wait with a CommunicationError a fifth of a second later.
  /// For a program that has been told to end.
  std::function<bool()> stop = {};
};

/// What a communicator has done so far on this rank.
struct CommunicatorStats {
  int64_t collectives = 0;
  int64_t bytes_sent = 0;     // payload, without what checked mode adds
  double busy_seconds = 0;    // some collective was under way
  double waited_seconds = 0;  // and the caller waited for one
  CommunicatorStats operator-(const CommunicatorStats& o) const {
    return {collectives - o.collectives, bytes_sent - o.bytes_sent, busy_seconds - o.busy_seconds,
            waited_seconds - o.waited_seconds};
  }
};

namespace detail {
struct Collective;
class CommunicatorImpl;
}  // namespace detail

/// A collective under way. Dropping it does not end it.
class PendingCollective {
 public:
  PendingCollective() = default;
  /// Returns when it is done. CommunicationError.
  void wait();
  bool done() const;

 private:
  friend class Communicator;
  std::shared_ptr<detail::CommunicatorImpl> group_;
  std::shared_ptr<detail::Collective> work_;
};

class Communicator : Pinned {
 public:
  using Options = CommunicatorOptions;
  /// All processes of the program, from the environment of MPI's launcher. A program that has
  /// called MPI_Init itself must have asked for MPI_THREAD_SERIALIZED at least, to have collectives
  /// go on while it computes. ValueError for a timeout that is not above 0.
  explicit Communicator(Options options);
  Communicator() : Communicator(Options{}) {}
  /// Tells the other ranks that this one has come to its end: a rank that still waits for it gets
  /// its CommunicationError at once. It then waits until they have ended too; after an exception at
  /// most two seconds.
  ~Communicator();

  int rank() const;
  int size() const;
  /// The same among the ranks on this machine.
  int local_rank() const;
  int local_size() const;
  /// rank() and size(), as samplers and loaders take them.
  Share share() const { return {rank(), size()}; }

  /// The step that errors name: counts as the caller likes.
  void set_step(int64_t step);
  int64_t step() const;

  /// Every rank's t becomes that of `root`. Any element type, any dense layout (ranks must have the
  /// same). ValueError for a root that is none, and for memory with gaps.
  void broadcast(const Tensor& t, int root = 0);
  /// t = the sum of every rank's t, added in the order of the ranks (f32 in double). f32, f64, i64.
  void all_reduce(const Tensor& t);
  /// The same without waiting. Do not read or write t until wait() has returned: the communicator
  /// reads and writes it in that time.
  PendingCollective all_reduce_begin(const Tensor& t, const std::string& label = "");
  /// The values of every rank, those of rank 0 first; each rank gives as many.
  std::vector<double> all_gather(std::span<const double> own);
  /// Element by element over all ranks, in their order.
  std::vector<double> sum(std::span<const double> own);
  std::vector<double> sum(std::initializer_list<double> own) {
    return sum(std::span(own.begin(), own.size()));
  }
  /// True on all ranks if it is on one.
  bool any(bool own);
  /// Returns when every rank has come here.
  void barrier();

  CommunicatorStats stats() const;

 private:
  std::shared_ptr<detail::CommunicatorImpl> impl_;
};

/// "Open MPI v4.1.4 (MPI 3.1, C binding)"; "none" where the library was built without MPI. Does not
/// start MPI.
std::string mpi_description();

/// The sum of x over all ranks, recorded: y = sum_r x_r on every rank, dx = sum_r dy_r (each rank
/// differentiates the sum of all ranks' losses). It can be differentiated again. The communicator
/// outlives the graph.
Tensor all_reduce(In x, Communicator& comm);

}  // namespace loupe
