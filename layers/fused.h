#pragma once
// Fusion of neighbouring layers: functions over the layers there are, so that names and state stay.
// Write them in a model's forward. A switch runs the parts instead; both give the same numbers
// (relu and pooling exactly).
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>

namespace loupe {

/// Whether the functions below run as one op: true unless LOUPE_FUSION=0 is in the environment. For
/// the whole program.
bool fusion();
void set_fusion(bool on);

/// relu(bn(x)): relu's input is not kept, and memory is passed over once less each way.
Tensor bn_relu(BatchNorm2d& bn, In x);
/// max_pool2d(relu(bn(x)), pool). One op for pool = 2; x is all that is kept for the backward.
Tensor bn_relu_max_pool(BatchNorm2d& bn, In x, int64_t pool = 2);
/// relu(layer(x)): relu's input is not kept, and memory is passed over once less.
Tensor linear_relu(Linear& layer, In x);

}  // namespace loupe
