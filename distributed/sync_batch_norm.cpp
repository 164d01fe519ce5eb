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
  std::vector<BatchNormState*> norms;
  for (const auto& [name, module] : named_modules(model)) {
    BatchNormState* bn = dynamic_cast<BatchNorm1d*>(module);
    if (!bn) bn = dynamic_cast<BatchNorm2d*>(module);
    if (!bn) continue;
    if (bn->options.convention == NormConvention::keras3)
      fail<ValueError>("convert_sync_batch_norm: \"{}\" is of the keras3 convention", name);
    norms.push_back(bn);
  }
  const auto shares = std::make_shared<SharesOfRanks>(comm);
  if (comm.size() > 1)
    for (BatchNormState* bn : norms) bn->shares = shares;
  return static_cast<int64_t>(norms.size());
}

}  // namespace loupe
