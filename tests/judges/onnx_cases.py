#!/usr/bin/env python3
"""Writes the ONNX node tests that Loupe's judge reads: tests/judges/onnx_cases.bin and onnx_not_expressible.txt.

    pip install onnx
    python3 tests/judges/onnx_cases.py [TEST_ONNX]

The cases are those of the package `onnx` (onnx.backend.test.case.node.collect_testcases). The .bin is a protobuf message of
repeated Case (1): name (1), ModelProto (2), input TensorProtos (3), output TensorProtos (4), rtol (5), atol (6); and the number
of all cases (2), the package's version (3). A case is packed if its op type may have a form in Loupe, its element types exist
there and it is small; why the others are not is a line each of the .txt. Given the test program (build/release/tests/test_onnx),
the lines of packed cases that Loupe's table refuses follow.
"""
import os
import subprocess
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

HERE = os.path.dirname(os.path.abspath(__file__))
MOST_BYTES = 30000
MOST_BYTES_OF = {"Mish": 90000, "Attention": 17000}  # the only case of its op; variants of smaller ones
OPS = set(
    """Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Celu Clip Concat Constant ConstantOfShape Conv
    ConvTranspose Compress Cos CumProd CumSum Div Dropout Elu Equal Erf Exp Expand EyeLike Flatten Floor Ceil Round GRU GatherND Gather GatherElements Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
    InstanceNormalization IsInf IsNaN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization MatMul Max MaxPool MeanVarianceNormalization
    Mean Min Mish Mod Mul Neg NegativeLogLikelihoodLoss NonZero Not OneHot Or PRelu Pad Pow RMSNormalization RNN Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Resize Scatter ScatterElements Selu Shape Sigmoid Sign Sin Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Split Sqrt
    Squeeze Sub Sum SwiGLU Swish Tanh Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor Attention""".split()
)
# int32 is run as i64.
TYPES = {np.dtype(t) for t in (np.float32, np.float64, np.int32, np.int64, np.uint8, bool)}


def reason(case):
    """Why a case is not packed; empty if it is."""
    nodes = case.model.graph.node
    if "_expanded" in case.name:
        return "the function body of another case, on the same numbers"
    if len(nodes) != 1:
        return "more than one op"
    if nodes[0].op_type not in OPS or nodes[0].domain:
        return "no op or layer for " + nodes[0].op_type
    if len(case.data_sets) != 1:
        return "more than one data set"
    for value in [*case.data_sets[0][0], *case.data_sets[0][1]]:
        if not isinstance(value, (np.ndarray, np.generic)):
            return "a sequence or an optional value"
        if value.dtype not in TYPES:
            return "element type " + ("string" if value.dtype.kind in "OU" else str(value.dtype))
    return ""


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(tag, data):
    return varint(tag << 3 | 2) + varint(len(data)) + data


def double(tag, value):
    return varint(tag << 3 | 1) + np.float64(value).tobytes()


def packed(case):
    inputs, outputs = case.data_sets[0]
    data = field(1, case.name.encode()) + field(2, case.model.SerializeToString(deterministic=True))
    for value in inputs:
        data += field(3, numpy_helper.from_array(np.asarray(value)).SerializeToString())
    for value in outputs:
        data += field(4, numpy_helper.from_array(np.asarray(value)).SerializeToString())
    return data + double(5, case.rtol) + double(6, case.atol)


def main():
    cases = sorted({case.name: case for case in collect_testcases()}.values(), key=lambda case: case.name)
    message, lines, count = b"", [], 0
    for case in cases:
        why = reason(case)
        data = b"" if why else packed(case)
        most = MOST_BYTES_OF.get(case.model.graph.node[0].op_type, MOST_BYTES)
        if len(data) > most:
            why = f"more than {most} bytes"
        if why:
            lines.append(f"{case.name}: {why}")
        else:
            message += field(1, data)
            count += 1
    message += varint(2 << 3) + varint(len(cases)) + field(3, onnx.__version__.encode())
    with open(os.path.join(HERE, "onnx_cases.bin"), "wb") as f:
        f.write(message)
    print(f"onnx {onnx.__version__}: {len(cases)} cases, {count} packed, {len(message)} bytes")
    if len(sys.argv) > 1:
        out = subprocess.run([sys.argv[1], "[.list]"], capture_output=True, text=True).stdout
        lines += [line[len("refused ") :] for line in out.splitlines() if line.startswith("refused ")]
    with open(os.path.join(HERE, "onnx_not_expressible.txt"), "w") as f:
        f.write("\n".join(sorted(lines)) + "\n")


if __name__ == "__main__":
    main()
