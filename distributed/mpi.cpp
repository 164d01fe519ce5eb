// The only source that knows MPI.
#include <loupe/distributed/group.h>

#include <mpi.h>

#include <cstdlib>
#include <mutex>

namespace loupe {
namespace detail {
namespace {

std::string text_of(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return std::string(text, static_cast<size_t>(length));
}

void check(const char* what, int code) {
  if (code != MPI_SUCCESS) fail<CommunicationError>("{}: MPI says: {}", what, text_of(code));
}

/// Starts MPI, and ends it with the program, unless the program does so itself.
class Environment : Pinned {
 public:
  static Environment& get() {
    static Environment one;
    return one;
  }
  bool failed = false;
  int threads = MPI_THREAD_SINGLE;

 private:
  Environment() {
    int running = 0;
    MPI_Initialized(&running);
    if (running) {
      MPI_Query_thread(&threads);
      return;
    }
    check("MPI_Init_thread", MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &threads));
    ours_ = true;
  }
  ~Environment() {
    int ended = 0;
    MPI_Finalized(&ended);
    // MPI_Finalize waits for everybody. After a failure the launcher ends the others when this
    // process leaves without it.
    if (ours_ && !ended && !failed) MPI_Finalize();
  }
  bool ours_ = false;
};

class MpiTransport final : public Transport {
 public:
  MpiTransport() {
    check("MPI_Comm_dup", MPI_Comm_dup(MPI_COMM_WORLD, &comm_));
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
    MPI_Comm node = MPI_COMM_NULL;
    MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &local_rank_);
    MPI_Comm_size(node, &local_size_);
    MPI_Comm_free(&node);
  }
  ~MpiTransport() override {
    int ended = 0;
    MPI_Finalized(&ended);
    if (!ended && !Environment::get().failed) MPI_Comm_free(&comm_);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }
  bool takes_threads() const override {
    return Environment::get().threads >= MPI_THREAD_SERIALIZED;
  }

  size_t send(const void* data, size_t bytes, int to, int tag) override {
    const size_t m = slot();
    check("MPI_Isend",
          MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, tag, comm_, &requests_[m]));
    return m;
  }
  size_t receive(void* data, size_t bytes, int from, int tag) override {
    const size_t m = slot();
    check("MPI_Irecv",
          MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, from, tag, comm_, &requests_[m]));
    return m;
  }
  bool test(size_t m) override {
    int done = 0;
    check("MPI_Test", MPI_Test(&requests_[m], &done, MPI_STATUS_IGNORE));
    if (done) free_.push_back(m);
    return done != 0;
  }
  void give_up() override { Environment::get().failed = true; }

 private:
  size_t slot() {
    if (free_.empty()) {
      requests_.push_back(MPI_REQUEST_NULL);
      return requests_.size() - 1;
    }
    const size_t m = free_.back();
    free_.pop_back();
    return m;
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
  std::vector<MPI_Request> requests_;
  std::vector<size_t> free_;
};

/// Whether a launcher started this process (Open MPI, MPICH and those that speak PMI), or the
/// program has started MPI itself. Starting MPI costs a process alone tens of milliseconds for
/// nothing.
bool launched() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS"})
    if (std::getenv(name)) return true;
  int running = 0;
  MPI_Initialized(&running);
  return running != 0;
}

}  // namespace

std::unique_ptr<Transport> open_transport() {
  if (!launched()) return nullptr;
  Environment::get();
  auto transport = std::make_unique<MpiTransport>();
  if (transport->size() == 1) return nullptr;
  return transport;
}

}  // namespace detail

std::string mpi_description() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0, version = 0, subversion = 0;
  MPI_Get_library_version(text, &length);
  MPI_Get_version(&version, &subversion);
  const std::string whole(text, static_cast<size_t>(length));
  // Open MPI: "Open MPI v4.1.4, package: ..., ident: ..."; MPICH has a line for each.
  const std::string first = whole.substr(0, whole.find_first_of(",\n"));
  return fmt::format("{} (MPI {}.{}, C binding)", first, version, subversion);
}

}  // namespace loupe
