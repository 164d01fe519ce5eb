// Wrong use of what lies in distributed/: the same error on every rank.
#include "misuse.h"
#include "ranks.h"

#include <loupe/distributed/data_parallel.h>
#include <loupe/distributed/sharded_sampler.h>
#include <loupe/distributed/sync_batch_norm.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/sequential.h>

using namespace ranks;
using misuse::refuses;

TEST_CASE("misuse: collectives") {
  Communicator comm(options());
  refuses<ValueError>("Communicator", [] { Communicator({.timeout = 0}); });
  refuses<ValueError>("Communicator", [] { Communicator({.timeout = NAN}); });
  refuses<ValueError>("broadcast", [&] { comm.broadcast(zeros({2}), comm.size()); });
  refuses<ValueError>("broadcast", [&] { comm.broadcast(zeros({2}), -1); });
  refuses<ValueError>("broadcast", [&] { comm.broadcast(Tensor()); });
  refuses<DtypeError>("all_reduce", [&] { comm.all_reduce(zeros({2}, DType::u8)); });
  refuses<DtypeError>("all_reduce", [&] { all_reduce(zeros({2}, DType::boolean), comm); });
  refuses<ValueError>("all_reduce", [&] { comm.all_reduce(zeros({4, 4}).slice(1, 0, 2)); });
  Tensor leaf = zeros({2});
  leaf.requires_grad_();
  refuses<GradError>("all_reduce", [&] { comm.all_reduce(leaf); });
  refuses<GradError>("broadcast", [&] { comm.broadcast(leaf); });
  PendingCollective().wait();  // of nothing
  CHECK(PendingCollective().done());
  CHECK(mpi_description().find("MPI") != std::string::npos);
}

TEST_CASE("misuse: data-parallel training") {
  Communicator comm(options());
  Rng rng(12);
  Sequential net(Linear(rng, 2, 2)), none;
  refuses<ValueError>("DataParallel", [&] { DataParallel(net, comm, {.bucket_bytes = 0}); });
  refuses<ValueError>("DataParallel", [&] { DataParallel(net, comm, {.first_bucket_bytes = -1}); });
  refuses<ValueError>("DataParallel", [&] { DataParallel(none, comm); });
  DataParallel parallel(net, comm);
  refuses<ValueError>("mean_loss", [&] { parallel.mean_loss(scalar(1), -1); });
  refuses<ValueError>("mean_loss", [&] { parallel.mean_loss(scalar(1), NAN); });
  refuses<ShapeError>("mean_loss", [&] { parallel.mean_loss(ones({2}), 2); });
  refuses<ValueError>("ShardedSampler", [] { ShardedSampler(3, {2, 2}); });
  refuses<ValueError>("ShardedSampler", [] { ShardedSampler(-1, {}); });
  refuses<ValueError>("ShardedSampler", [] { ShardedSampler(3, {}, {.batch_size = 0}); });
  refuses<ValueError>("ShardedSampler", [] { ShardedSampler(3, {}).epoch(-1); });
}

TEST_CASE("misuse: synchronised BatchNorm") {
  Communicator comm(options());
  BatchNorm1d keras(3, {.convention = NormConvention::keras3});
  refuses<ValueError>("convert_sync_batch_norm", [&] { convert_sync_batch_norm(keras, comm); });
  refuses<ValueError>("BatchNorm1d", [&] { SyncBatchNorm<1>(comm, 0); });
  SyncBatchNorm1d bn(comm, 3);
  const Tensor mask = ones({2}, DType::boolean);
  if (comm.size() > 1) refuses<ValueError>("batch_norm", [&] { bn(ones({2, 3}), mask); });
}
