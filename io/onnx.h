#pragma once
// Models for other programs: ONNX files (onnx.ai), which onnxruntime, browsers and phones run.
//
// The graph is traced: the model runs twice in eval mode, on the example and on a batch of one
// sample more, and every op of the first run becomes ONNX nodes. What differs between the runs is
// what depends on the input: sizes that grow with the batch stay open in the file. A value that
// depends on the input by a way that no op tells of (numbers read out and put back) mostly differs
// as well, and is refused. Where it is the same in both runs (the count of a token that stands in
// both as often, a number after rounding) it becomes a constant: write such a step with ops. A
// branch in C++ is taken as the example took it.
#include <loupe/layers/state.h>

namespace loupe {

struct OnnxOptions {
  /// Names of the graph's input (of a model that takes one tensor) and outputs.
  std::string input = "input";
  std::vector<std::string> outputs = {"output"};
  /// Puts batch norms into the weights of the convolutions before them: fewer nodes, but those
  /// weights are no longer the state_dict's.
  bool fold_batch_norm = false;
};

/// Writes the model, as it computes in eval mode, to `path`: opset 20, weights under their names in
/// the state_dict as raw data, the first axis of inputs open ("N"), each node with the op, source
/// line and module path it came from. The mode of the modules is as before afterwards.
///
/// `example` is an input of the usual shape, whose elements should not all be equal; axes other
/// than the first keep its sizes. The file appears whole or not at all.
///
/// ValueError, naming op, module path and source line: an op that ONNX cannot express (dropout in
/// a functional call, a loss), an option or a size that depends on the batch, a value that depends
/// on the input without being traced. ValueError for weights of 2 GiB or more, protobuf's limit;
/// IoError for a file that cannot be written.
void save_onnx(Module& model, const Tensor& example, const std::string& path,
               const OnnxOptions& options = {});

/// What a model computes of several inputs: the outputs, in options.outputs' order.
using OnnxForward = std::function<Tensors(const Tensors& inputs)>;
/// For models that take several tensors: `inputs` are examples under the names they get in the
/// file; all have the batch as their first axis. Token ids and a mask:
///   save_onnx(bert, {{"ids", ids}, {"mask", mask}},
///             [&](const Tensors& x) { return Tensors{bert(x[0], Tensor(), x[1])}; }, path);
void save_onnx(Module& model, const StateDict& inputs, const OnnxForward& forward,
               const std::string& path, const OnnxOptions& options = {});

}  // namespace loupe
