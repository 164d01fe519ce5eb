"""What Loupe has, read from its headers, against what is judged here."""
import glob
import os
import re
import subprocess

import judge

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
INNER_HEADERS = ("rule.h", "norm_parts.h")  # not part of the interface
# What no sample of PyTorch can ask for, and why.
WITHOUT = {
    "self_attention": "PyTorch has no such function; tests/autograd holds it against scaled_dot_product_attention",
    "Dropout": "draws other random numbers than PyTorch",
    "Dropout1d": "draws other random numbers than PyTorch",
    "Dropout2d": "draws other random numbers than PyTorch",
    "dropout1d": "draws other random numbers than PyTorch",
    "dropout2d": "draws other random numbers than PyTorch",
    "swiglu": "PyTorch has no such function; tests/autograd holds it against silu and a product",
    "SwiGLU": "the function swiglu", "Hardsigmoid": "module_db has no samples; the function hardsigmoid",
    "multinomial": "draws other random numbers than PyTorch", "Upsample": "the function interpolate",
    "Sequential": "a container", "ModuleList": "a container", "Flatten": "the function flatten",
    "GhostBatchNorm": "GhostBatchNorm1d and 2d",
    "GhostBatchNorm1d": "PyTorch has no such layer; tests/layers holds it against BatchNorm of each piece",
    "GhostBatchNorm2d": "PyTorch has no such layer; tests/layers holds it against BatchNorm of each piece",
    "BatchRenorm1d": "PyTorch has no such layer", "BatchRenorm2d": "PyTorch has no such layer",
    "WeightStandardizedConv2d": "PyTorch has no such layer", "SkipInit": "PyTorch has no such layer",
    "LayerScale": "PyTorch has no such layer",
    "Identity": "gives its input", "DynamicTanh": "PyTorch has no such layer", "DynamicErf": "PyTorch has no such layer",
    "Recurrent": "the base of RNN, LSTM and GRU",
    "Lion": "PyTorch has no such optimizer",
    "Muon": "PyTorch's rounds its iteration to bfloat16; tests/optim holds Loupe's against the same formula in f64",
    "recurrence": "the layers RNN, LSTM and GRU run it",
    "WarmupCosine": "PyTorch has no such schedule",
}


def declared():
    """Functions of autograd/ops, layers, optimizers and schedules, by the names of the headers."""
    names = set()
    for path in glob.glob(os.path.join(ROOT, "autograd/ops/*.h")):
        if os.path.basename(path) in INNER_HEADERS:
            continue
        text = re.sub(r"namespace detail \{.*?\n\}", "", open(path).read(), flags=re.S)
        names.update(re.findall(r"^(?:inline )?(?:Tensor|bool|Tensors|std::vector<Tensor>|[A-Z]\w+) (\w+)\((?:In|const|Tensor)", text, re.M))
    for path in glob.glob(os.path.join(ROOT, "layers/*.h")):
        text = open(path).read()
        names.update(re.findall(r"^class (\w+) : public Layer<", text, re.M))
        names.update(re.findall(r"^using (\w+) = (?:ActivationLayer|PoolLayer|\w+)<", text, re.M))
    for path in glob.glob(os.path.join(ROOT, "optim/*.h")):
        names.update(re.findall(r"^class (\w+) (?:final )?: public (?:Optimizer|Adam|Schedule)\b", open(path).read(), re.M))
    return {n for n in names if not n.startswith("operator")}


def missing():
    """What is declared and neither judged nor exempt, and exemptions that are not needed."""
    rows = subprocess.run([judge.DRIVER, "--list"], capture_output=True, text=True, check=True).stdout.split()
    source = open(os.path.join(ROOT, "tests/judges/optimizers.py")).read()
    judged = {r.removeprefix("optim.").split(".")[0] for r in rows} | set(re.findall(r'"(\w*LR\w*|ChainedScheduler)"', source))
    same = {"max": "amax", "min": "amin", "split": "split"}
    return sorted(n for n in declared() if same.get(n, n) not in judged and n not in WITHOUT)
