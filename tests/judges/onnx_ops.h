#pragma once
// ONNX's ops as calls of Loupe: the tables of each family, and what their functions share.
#include <loupe/autograd/ops.h>
#include <loupe/core/raw.h>

#include <map>

#include "onnx_model.h"

namespace judges {

using Function = Tensors (*)(const OnnxCall&);
using Functions = std::map<std::string, Function>;

const Functions& elementwise();
const Functions& shapes();
const Functions& reductions();
const Functions& windows();
const Functions& network();
const Functions& sequences();

/// NotExpressible.
[[noreturn]] void refuse(const std::string& why);
Dims dims(const std::vector<int64_t>& values);

}  // namespace judges
