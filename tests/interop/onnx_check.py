#!/usr/bin/env python3
"""Holds the files of save_onnx against onnx's checker and onnxruntime.

    pip install onnx onnxruntime
    cmake --build build/release --target onnx_peer
    python3 tests/interop/onnx_check.py [COUNT of random models, 100]

For every model that onnx_peer writes: the checker with shape inference (full_check, strict), then onnxruntime's outputs against
Loupe's over 256 inputs, in batches of 1, 7 and 248; the largest difference over the largest output is at most 1e-5. Exit code 1
if a bound is not met, 77 (skipped) without the packages.
"""
import glob
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.environ.get("LOUPE_BUILD", os.path.join(ROOT, "build", "release"))
BOUND = 1e-5


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def check(path):
    """The largest relative difference of a file's outputs, and how many inputs were tried."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    arrays = np.load(path[: -len(".onnx")] + ".npz")
    inputs = {name[2:]: arrays[name] for name in arrays.files if name.startswith("x_")}
    wanted = {name[2:]: arrays[name] for name in arrays.files if name.startswith("y_")}
    samples = len(next(iter(inputs.values())))
    run, parts = session(path), []
    for first, last in ((0, 1), (1, 8), (8, samples)):
        parts.append(run.run(list(wanted), {name: x[first:last] for name, x in inputs.items()}))
    worst = 0.0
    for k, want in enumerate(wanted.values()):
        got = np.concatenate([part[k] for part in parts])
        assert got.shape == want.shape and got.dtype == want.dtype, (path, got.shape, want.shape)
        assert np.isfinite(want).all() and np.isfinite(got).all(), path
        largest = float(np.abs(want).max())
        worst = max(worst, float(np.abs(got - want).max()) / (largest if largest > 0 else 1.0))
    return worst, samples


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    held = True
    with tempfile.TemporaryDirectory(prefix="loupe-onnx-") as folder:
        subprocess.run([os.path.join(BUILD, "tests", "onnx_peer"), folder, "1", str(count)], check=True)
        groups = {"random": [], "function": []}
        for path in sorted(glob.glob(folder + "/*.onnx")):
            name = os.path.basename(path)[: -len(".onnx")]
            worst, samples = check(path)
            held = held and worst <= BOUND
            group = name.split("_")[0]
            if group in groups:
                groups[group].append(worst)
                if worst > BOUND:
                    print(f"{name:24} {worst:.2e} FAILED")
                continue
            print(f"{name:24} {samples:4} inputs, relative difference {worst:.2e}{'' if worst <= BOUND else ' FAILED'}")
        for group, differences in groups.items():
            if differences:
                print(f"{len(differences)} {group} models: relative difference at most {max(differences):.2e}")
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}; bound {BOUND}")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
