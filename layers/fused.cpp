#include <loupe/autograd/ops.h>
#include <loupe/layers/fused.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace loupe {
namespace {

std::atomic<bool>& flag() {
  static std::atomic<bool> on = [] {
    const char* value = std::getenv("LOUPE_FUSION");
    if (!value || !*value || std::strcmp(value, "1") == 0) return true;
    if (std::strcmp(value, "0") != 0) fail<ValueError>("LOUPE_FUSION={}: expected 0 or 1", value);
    return false;
  }();
  return on;
}

// Hooks want the output of BatchNorm2d itself, and the fused kernels know channels in dimension 1
// only.
bool runs_fused(const BatchNorm2d& bn) {
  return fusion() && bn.options.axis == 1 && !bn.has_hooks();
}

}  // namespace

bool fusion() { return flag(); }
void set_fusion(bool on) { flag() = on; }

Tensor bn_relu(BatchNorm2d& bn, In x) {
  if (runs_fused(bn)) return bn(x, NormThen::relu);
  SiteScope site(x.here);
  return relu(bn(x));
}

Tensor bn_relu_max_pool(BatchNorm2d& bn, In x, int64_t pool) {
  if (runs_fused(bn) && pool == 2) return bn(x, NormThen::relu_max_pool);
  SiteScope site(x.here);
  return max_pool2d(bn_relu(bn, x), pool);
}

Tensor linear_relu(Linear& layer, In x) {
  if (fusion() && !layer.has_hooks()) return layer(x, LinearThen::relu);
  SiteScope site(x.here);
  return relu(layer(x));
}

}  // namespace loupe
