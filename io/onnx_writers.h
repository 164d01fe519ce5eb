#pragma once
// How each op is said in ONNX: one writer an op, in tables by family. Each table stands at the end
// of its file.
#include <loupe/io/onnx_step.h>

#include <limits>
#include <map>

namespace loupe::onnx {

using Writers = std::map<std::string_view, Writer>;
const Writers& elementwise_writers();
const Writers& shape_writers();
const Writers& reduction_writers();
const Writers& window_writers();
const Writers& network_writers();
const Writers& recurrent_writers();

inline constexpr double kInf = std::numeric_limits<double>::infinity();
/// TensorProto.DataType of int32, which Loupe has not, and of an element type by its name.
inline constexpr int64_t kOnnxInt32 = 6;
int64_t onnx_type(const std::string& dtype);

std::vector<int64_t> list(const Dims& dims);
/// The op of another name, which has the same inputs and no options.
void renamed(Step& s, const char* op);
Writer same(const char* op);

}  // namespace loupe::onnx
