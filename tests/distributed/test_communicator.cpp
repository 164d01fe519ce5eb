#include "ranks.h"

#include <loupe/autograd/gradcheck.h>

#include <chrono>
#include <cstring>
#include <thread>

using namespace ranks;

namespace {

// Rank r's numbers, known to all.
Tensor numbers(int rank, int64_t n, DType dtype) {
  Rng rng(1000 + static_cast<uint64_t>(rank));
  return randn(rng, {n}, dtype);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return dispatch(a.dtype(), [&]<class T>(Type<T>) {
    return std::memcmp(a.ptr<T>(), b.ptr<T>(), static_cast<size_t>(a.numel()) * sizeof(T)) == 0;
  });
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const CommunicationError& e) { return e.what(); }
  return "";
}

}  // namespace

TEST_CASE("ranks know each other") {
  Communicator comm(options());
  CHECK(comm.rank() >= 0);
  CHECK(comm.rank() < comm.size());
  CHECK(comm.local_size() == comm.size());  // one machine
  const std::vector<double> all = comm.all_gather(std::vector<double>{comm.rank() * 1.0, 7});
  REQUIRE(all.size() == static_cast<size_t>(2 * comm.size()));
  for (int r = 0; r < comm.size(); ++r) CHECK(all[static_cast<size_t>(2 * r)] == r);
  CHECK(comm.sum({1.0, comm.rank() * 1.0}) ==
        std::vector<double>{comm.size() * 1.0, comm.size() * (comm.size() - 1) / 2.0});
  CHECK(comm.any(comm.rank() == comm.size() - 1));
  CHECK(!comm.any(false));
  const std::vector<double> many(5000, comm.rank() + 1.0);  // more than one message holds
  const std::vector<double> gathered = comm.all_gather(many);
  REQUIRE(gathered.size() == many.size() * static_cast<size_t>(comm.size()));
  for (int r = 0; r < comm.size(); ++r)
    CHECK(gathered[static_cast<size_t>(r) * many.size() + 17] == r + 1.0);
  comm.barrier();
}

TEST_CASE("broadcast gives every rank what the root has") {
  Communicator comm(options());
  for (int root = 0; root < comm.size(); ++root)
    for (const int64_t n : {0, 1, 100, 70001})
      for (const DType dtype : {DType::f32, DType::f64}) {
        const Tensor t = numbers(comm.rank(), n, dtype);
        comm.broadcast(t, root);
        CHECK(same_bits(t, numbers(root, n, dtype)));
      }
  const auto turned = [](int rank, int64_t n) {
    return numbers(rank, 6 * n, DType::f32).reshape({2, 3, n}).transpose(0, 2);
  };
  for (const int64_t n : {2, 5000}) {  // in one message, and over the tree
    const Tensor t = turned(comm.rank(), n);
    comm.broadcast(t, comm.size() - 1);
    CHECK(t.to_vector<float>() == turned(comm.size() - 1, n).to_vector<float>());
  }
  const Tensor flags = full({5}, comm.rank() == 0 ? 3 : 0, DType::u8);
  comm.broadcast(flags);
  CHECK(flags.select(0, 4).item() == 3);
}

// Failure 11: the order of a sum is the ranks', whatever arrives first. MPI_Allreduce may take
// another one for each size, algorithm and number of ranks.
TEST_CASE("sums have the same bits, run after run and on every rank") {
  Communicator comm(options());
  for (const int64_t n : {1, 3, 1000, 4097, 100003}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      // The sum in the ranks' order, by plain loops.
      std::vector<double> sums(static_cast<size_t>(n), 0.0);
      for (int r = 0; r < comm.size(); ++r) {
        const Tensor x = raw::to(numbers(r, n, dtype), DType::f64);
        for (int64_t i = 0; i < n; ++i) sums[static_cast<size_t>(i)] += x.ptr<double>()[i];
      }
      const Tensor expected = raw::to(from_data(sums), dtype);
      for (int round = 0; round < 4; ++round) {
        std::this_thread::sleep_for(std::chrono::microseconds(300 * ((comm.rank() + round) % 3)));
        const Tensor t = numbers(comm.rank(), n, dtype);
        comm.all_reduce(t);
        CHECK(same_bits(t, expected));
      }
    }
  }
  // Numbers whose sum depends on the order: 1e16 + 1 = 1e16.
  const double own = comm.rank() == 0 ? 1e16 : comm.rank() == comm.size() - 1 ? -1e16 : 1;
  double in_order = 0;
  for (int r = 0; r < comm.size(); ++r)
    in_order += r == 0 ? 1e16 : r == comm.size() - 1 ? -1e16 : 1;
  const Tensor hard = full({5000}, own, DType::f64);
  comm.all_reduce(hard);
  CHECK(hard.select(0, 4999).item() == in_order);
  CHECK(comm.sum({own})[0] == in_order);
  const Tensor whole = full({3}, comm.rank() + 1, DType::i64);
  comm.all_reduce(whole);
  CHECK(whole.select(0, 2).item() == comm.size() * (comm.size() + 1) / 2);
}

TEST_CASE("several sums are under way at once, and bytes are the least there can be") {
  Communicator comm(options());
  const int64_t before = comm.stats().bytes_sent;
  std::vector<Tensor> tensors;
  std::vector<PendingCollective> pending;
  constexpr int64_t kElements = 120000;  // divisible by 2, 3 and 4
  for (int i = 0; i < 5; ++i) {
    tensors.push_back(full({kElements}, i + comm.rank()));
    pending.push_back(comm.all_reduce_begin(tensors.back(), "number " + std::to_string(i)));
  }
  for (PendingCollective& p : pending) p.wait();
  for (int i = 0; i < 5; ++i)
    CHECK(tensors[static_cast<size_t>(i)].select(0, kElements - 1).item() ==
          i * comm.size() + comm.size() * (comm.size() - 1) / 2);
  const int64_t n = comm.size(), bytes = kElements * 4;
  CHECK(comm.stats().bytes_sent - before == 5 * 2 * bytes * (n - 1) / n);
}

// Failure 8.
TEST_CASE("the collective passes gradcheck") {
  Communicator comm(options());
  const double n = comm.size();
  Rng rng(5);
  const Tensor x = randn(rng, {2, 3}, DType::f64);
  // One function of numbers that all ranks hold, computed by all of them together: with all ranks'
  // losses added up, its gradient is the mean of theirs.
  const auto f = [&](const Tensors& in) {
    const Tensor own = all_reduce(in[0], comm) / n;
    return all_reduce(own * own * (comm.rank() + 1.0), comm);
  };
  CHECK(gradcheck(f, {x.clone()}, {.label = "all_reduce"}));
  CHECK(gradgradcheck(f, {x.clone()}, {.label = "all_reduce"}));
  // And the definition: dx = sum over ranks of dy.
  Tensor own = full({2}, comm.rank() + 1.0, DType::f64);
  own.requires_grad_();
  const Tensor y = all_reduce(own, comm);
  (y * (comm.rank() + 1.0)).sum().backward();
  CHECK(own.grad().select(0, 0).item() == n * (n + 1) / 2);
}

// Failure 9: not a hang, and the same sentence on all ranks.
TEST_CASE("ranks that do different things hear of it at once") {
  if (Communicator(options()).size() == 1) return;
  const auto begin = std::chrono::steady_clock::now();
  {
    Communicator comm(options());  // an uneven number of batches
    const int64_t batches = comm.rank() == 1 ? 3 : 5;
    const std::string text = error_of([&] {
      for (int64_t step = 1; step <= batches; ++step) {
        comm.set_step(step);
        const Tensor t = full({10000}, 1);
        comm.all_reduce_begin(t, "gradient bucket 0").wait();
      }
      comm.barrier();
    });
    CAPTURE(text);
    CHECK(text.find("the ranks do different things") != std::string::npos);
    CHECK(text.find("rank 0 all_reduce of 10000 f32 (gradient bucket 0) at step 4") !=
          std::string::npos);
    CHECK(text.find("rank 1 barrier at step 3") != std::string::npos);
    CHECK(text.rfind(comm.rank() == 1 ? "barrier:" : "all_reduce:", 0) == 0);
    CHECK(error_of([&] { comm.barrier(); }) == text);  // it stays so
  }
  {
    Communicator comm(options());  // shape and element type
    const std::string text = error_of([&] {
      const Tensor t = comm.rank() == 0 ? zeros({6000}) : zeros({3000, 2});
      comm.all_reduce(t);
    });
    CHECK(text.find("rank 0 all_reduce of 6000 f32") != std::string::npos);
  }
  {
    Communicator comm(options());
    const std::string text =
        error_of([&] { comm.all_reduce(zeros({4}, comm.rank() == 0 ? DType::f32 : DType::f64)); });
    CHECK(text.find("rank 1 all_reduce of 4 f64") != std::string::npos);
  }
  {
    Communicator comm(options());  // a rank whose loop has ended
    if (comm.rank() > 0) {
      comm.set_step(7);
      const std::string text = error_of([&] { comm.all_reduce(zeros({20000})); });
      CHECK(text.find("rank 0 has ended after step 0") != std::string::npos);
      CHECK(text.find("at step 7") != std::string::npos);
    }
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  CHECK(taken.count() < 5);
}

// The two below end without MPI_Finalize, as a program does that has failed: each is a run of its
// own, whose output the test reads.

TEST_CASE("a rank that does not answer is named after the time limit", "[.hang]") {
  Communicator comm({.timeout = 1});
  comm.set_step(12);
  const auto begin = std::chrono::steady_clock::now();
  if (comm.rank() == 1) {
    std::this_thread::sleep_for(std::chrono::seconds(4));
    return;
  }
  const std::string text = error_of([&] { comm.all_reduce(zeros({50000})); });
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  CHECK(taken.count() < 3);
  if (comm.rank() == 0) std::printf("said: %s\n", text.c_str());
  std::fflush(stdout);
  std::this_thread::sleep_for(std::chrono::seconds(1));
}

TEST_CASE("a rank that fails tells the others at once", "[.failure]") {
  std::string text;
  {
    Communicator outer(options());
    try {
      Communicator comm(options());
      comm.set_step(3);
      if (comm.rank() == 1) throw std::runtime_error("no more memory");
      text = error_of([&] { comm.all_reduce(zeros({50000})); });
    } catch (const std::runtime_error&) {}
    outer.barrier();
  }
  if (!text.empty()) std::printf("said: %s\n", text.c_str());
}
