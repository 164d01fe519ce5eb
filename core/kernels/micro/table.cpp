#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {

constinit const Micro table{
    .lanes = kLanes,
    .panel = kPanel,
    .rows = kMaxRows,
    .product = product,
    .pack_right = pack_right,
    .pack_left = pack_left,
    .transpose = transpose,
    .dots = dots,
    .depthwise = depthwise,
    .depthwise_weights = depthwise_weights,
    .largest = largest,
    .winograd2 = &winograd2,
    .winograd4 = &winograd4,
};

}  // namespace loupe::kernels::LOUPE_LEVEL
