// The library without MPI: one process.
#include <loupe/distributed/group.h>

namespace loupe {

std::unique_ptr<detail::Transport> detail::open_transport() { return nullptr; }

std::string mpi_description() { return "none"; }

}  // namespace loupe
