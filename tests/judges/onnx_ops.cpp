// ONNX's ops as calls of Loupe: one function an op type, in tables by family.
#include "onnx_ops.h"

namespace judges {

void refuse(const std::string& why) { throw NotExpressible(why); }
Dims dims(const std::vector<int64_t>& values) { return Dims(values); }

Tensors run_node(const OnnxCall& call) {
  const Functions* const families[] = {&elementwise(), &shapes(),  &reductions(),
                                       &windows(),     &network(), &sequences()};
  Function function = nullptr;
  for (const Functions* const family : families)
    if (const auto found = family->find(call.node.op); found != family->end())
      function = found->second;
  if (!function || !call.node.domain.empty()) refuse("no op or layer for " + call.node.op);
  const Tensors y = function(call);
  // Harmless: what the weight's shape says as well, the seed of a dropout that is off, the least
  // precision inside a norm.
  call.asked.insert({"kernel_shape", "seed", "stash_type"});
  for (const auto& [name, value] : call.node.attributes)
    if (!call.asked.contains(name)) refuse("attribute " + name + " of " + call.node.op);
  return y;
}

}  // namespace judges
