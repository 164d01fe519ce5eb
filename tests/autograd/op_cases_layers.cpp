// Activations, normalisation, pooling, attention, losses.
#include "op_cases.h"

namespace loupe::testing {

std::vector<OpCase> layer_cases() { return {}; }

}  // namespace loupe::testing
