#include <loupe/distributed/sync_batch_norm.h>
#include <loupe/layers/state.h>

namespace loupe {
namespace {

class SharesOfRanks final : public BatchShares {
 public:
  explicit SharesOfRanks(Communicator& comm) : comm_(comm) {}
  std::vector<double> gather(std::span<const double> own) override { return comm_.all_gather(own); }
  Tensor sum(const Tensor& t) override { return all_reduce(t, comm_); }

 private:
  Communicator& comm_;
};

}  // namespace

int64_t convert_sync_batch_norm(Module& model, Communicator& comm) {
  const auto shares = std::make_shared<SharesOfRanks>(comm);
  int64_t converted = 0;
  for (const auto& [name, module] : named_modules(model)) {
    BatchNormState* bn = dynamic_cast<BatchNorm1d*>(module);
    if (!bn) bn = dynamic_cast<BatchNorm2d*>(module);
    if (!bn) continue;
    if (bn->options.convention == NormConvention::keras3)
      fail<ValueError>("convert_sync_batch_norm: \"{}\" is of the keras3 convention", name);
    if (comm.size() > 1) bn->shares = shares;
    ++converted;
  }
  return converted;
}

}  // namespace loupe
