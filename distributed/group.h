#pragma once
// What a Communicator is made of: processes that exchange messages. For the sources of this folder.
#include <loupe/distributed/communicator.h>

#include <chrono>
#include <cstddef>
#include <exception>
#include <vector>

namespace loupe::detail {

/// Messages between processes, non-blocking: MPI behind a wall, so that one source alone knows it.
/// Numbers name messages under way; they stay valid until the message is done.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int local_rank() const = 0;
  virtual int local_size() const = 0;
  /// Whether a second thread may call it, one at a time.
  virtual bool takes_threads() const = 0;
  virtual size_t send(const void* data, size_t bytes, int to, int tag) = 0;
  /// `bytes` is room: the message may be shorter.
  virtual size_t receive(void* data, size_t bytes, int from, int tag) = 0;
  /// Whether message `m` is done; then the number is free. CommunicationError from MPI.
  virtual bool test(size_t m) = 0;
  /// The process has failed: leave without the others.
  virtual void give_up() = 0;
};

/// All processes; nullptr where there is one alone.
std::unique_ptr<Transport> open_transport();

}  // namespace loupe::detail
