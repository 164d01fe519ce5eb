#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {

constinit const Micro table{kLanes,    kPanel,     kMaxRows,  product,   pack,
                            pack_left, turn,       dots,      depthwise, depthwise_weights,
                            largest,   &winograd2, &winograd4};

}  // namespace loupe::kernels::LOUPE_LEVEL
