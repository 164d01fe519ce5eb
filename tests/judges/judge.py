"""Runs cases through PyTorch and through Loupe's driver, and compares them.

Two tensors agree if their dtypes and shapes are equal, NaN and infinities stand at the same places, and
|got - want| <= rtol |want| + atol scale, with torch.testing's numbers: f32 rtol 1.3e-6, atol 1e-5; f64 rtol 1e-7, atol 1e-7; other
dtypes 0. scale is the largest finite |want| of the tensor, but at least a hundredth of the largest number in the case (inputs, upstream
gradients, results): what is zero in theory is rounding in both. So an f32 result may be off by 1e-7 of the case's largest number.

An f32 case that differs from PyTorch's f32 is held against PyTorch's f64 on the same inputs. It agrees if every tensor is as close to
that as above, or at most twice as far from it as PyTorch's own f32 (ill-conditioned cases). The report counts these apart.
"""
import json
import os
import re
import subprocess
import tempfile
import zlib

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from samples import DTYPES, NotExpressible, memory_of, tensors_of, tree_map

BUILD = os.environ.get("LOUPE_BUILD", os.path.join(os.path.dirname(__file__), "../../build/release"))
DRIVER = os.path.join(BUILD, "tests", "judge_driver")
SCALE_FLOOR = 1e-2  # of the case's largest number
TOLERANCE = {torch.float32: (1.3e-6, 1e-5), torch.float64: (1e-7, 1e-7)}


class Case:
    def __init__(self, op, label, dtype, layout, sample, translate, apply, second):
        self.op, self.label, self.dtype, self.layout, self.sample = op, label, dtype, layout, sample
        self.translate, self.apply, self.second = translate, apply, second
        self.call = self.upstream = self.second_upstream = self.want = None

    @property
    def name(self):
        return f"{self.label} {self.dtype} {self.layout}"


def generator(text):
    return torch.Generator().manual_seed(zlib.crc32(text.encode()))


def random_like(t, rng):
    return torch.randn(t.shape, generator=rng, dtype=torch.float64).to(torch.float32).to(t.dtype)


def flat_outputs(y):
    if isinstance(y, (bool, int, float)):
        return [torch.tensor(y)]
    return tensors_of(tuple(y) if isinstance(y, tuple) else y)


def pytorch(case, sample, call):
    """PyTorch's outputs, gradients and second derivatives by the names that the driver uses. Fills in the upstreams once."""
    rng = generator(case.op + case.name)
    if call.memory:
        with torch.no_grad():
            call.torch()
        return {"memory": memory_of(call.tensors[0])}
    y = flat_outputs(case.apply(sample, call))
    want = {f"y{i}": t.detach().clone() for i, t in enumerate(y + call.after)}
    leaves = {i: t for i, t in enumerate(call.tensors) if t is not None and t.requires_grad}
    if not leaves or not any(t.requires_grad for t in y):
        case.upstream, case.second_upstream = [], {}
        return want
    if case.upstream is None:
        case.upstream = [random_like(t, rng) if t.requires_grad else None for t in y]
        case.second_upstream = {i: random_like(t, rng) for i, t in leaves.items()} if case.second else {}
    us = [None if u is None else u.detach().to(t.dtype).requires_grad_(case.second) for u, t in zip(case.upstream, y)]
    ends = [(t, u) for t, u in zip(y, us) if t.requires_grad]
    first = torch.autograd.grad([t for t, _ in ends], list(leaves.values()), [u for _, u in ends], create_graph=case.second, allow_unused=True)
    want.update({f"g{i}": g.detach() for i, g in zip(leaves, first) if g is not None})
    again = [(g, case.second_upstream[i].to(g.dtype)) for i, g in zip(leaves, first) if case.second and g is not None and g.requires_grad]
    if not again:
        return want
    inputs = {f"h{i}": t for i, t in leaves.items()} | {f"u{i}": u for i, u in enumerate(us) if u is not None}
    try:
        derivatives = torch.autograd.grad([g for g, _ in again], list(inputs.values()), [v for _, v in again], allow_unused=True)
    except (RuntimeError, NotImplementedError):  # PyTorch has no second derivative here
        case.second_upstream, case.second = {}, False
        return want
    want.update({name: d.detach() for name, d in zip(inputs, derivatives) if d is not None})
    return want


def restore(tensors, values):
    """So that the sample can be asked again."""
    with torch.no_grad():
        for t, v in zip(tensors, values):
            if not torch.equal(t, v):
                t.copy_(v)


class Batch:
    """Cases that one run of the driver takes. The memory of all tensors of a dtype is one tensor of the file."""

    def __init__(self):
        self.memory, self.counts, self.list, self.cases = {}, {}, [], []

    def describe(self, t, grad=False):
        """t as the driver reads it: where its memory is, shape, strides (row-major if not given), whether it needs a gradient."""
        if t is None:
            return None
        if t.dtype not in DTYPES:
            raise NotExpressible("no dtype " + str(t.dtype).removeprefix("torch."))
        memory, kind = memory_of(t), DTYPES[t.dtype]
        place = self.counts.get(kind, 0)
        self.memory.setdefault(kind, []).append(memory)
        self.counts[kind] = place + memory.numel()
        entry = {"data": kind, "at": place, "count": memory.numel(), "shape": list(t.shape)}
        if not t.is_contiguous():
            entry["strides"] = list(t.stride())
        return entry | ({"grad": True} if grad else {})

    def tensors(self):
        return {kind: torch.cat(parts) for kind, parts in self.memory.items()}

    def add(self, case):
        """Computes PyTorch's side; returns False if PyTorch refuses the case. NotExpressible if Loupe cannot be asked."""
        call = case.call = case.translate(case.sample)
        id = f"{len(self.cases)}"
        inputs = [self.describe(t, t is not None and t.requires_grad) for t in call.tensors]
        written = call.after + call.tensors[:1] * call.memory
        if any(n > 1 and step == 0 for t in written for n, step in zip(t.shape, t.stride())):
            return False  # PyTorch writes to no such memory
        before = [t.detach().clone() for t in written]
        try:
            case.want = pytorch(case, case.sample, call)
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError):
            return False
        finally:
            restore(written, before)
        entry = {"id": id, "op": call.row, "inputs": inputs, "args": plain(call.args)}
        if call.memory:
            entry["memory"] = case.want["memory"].numel()
        entry["upstream"] = [self.describe(u, case.second) for u in case.upstream or []]
        second = [case.second_upstream.get(i) for i in range(len(call.tensors))] if case.second_upstream else []
        entry["second"] = [self.describe(v) for v in second]
        self.list.append(entry)
        self.cases.append(case)
        return True


def plain(x):
    """What JSON can hold: infinities and NaN as text."""
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, complex):
        raise NotExpressible("no complex numbers")
    if isinstance(x, float) and (x != x or x in (float("inf"), float("-inf"))):
        return repr(x)
    return x


def drive(batch):
    """What Loupe gave: a list of (tensors by name, error) in the order of the cases."""
    results = [None] * len(batch.list)
    left = list(range(len(batch.list)))
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "in"), os.path.join(folder, "out")
        while left:
            chosen = [batch.list[i] for i in left]
            save_file(batch.tensors(), source, {"cases": json.dumps(chosen)})
            done = subprocess.run([DRIVER, source, target], capture_output=True, text=True)
            if done.returncode == 0:
                break
            last = re.findall(r"^\d+$", done.stderr, re.M)
            if not last:
                raise SystemExit(f"judge_driver failed: {done.stderr}")
            results[int(last[-1])] = ({}, f"the program ended with code {done.returncode}: {done.stderr.splitlines()[-1]}")
            left.remove(int(last[-1]))
        if left:
            with safe_open(target, "pt") as f:
                errors = json.loads(f.metadata()["errors"])
            tensors = load_file(target)
            for i in left:
                results[i] = ({}, errors.get(str(i), ""))
            for key, t in tensors.items():
                id, name = key.split("/")
                results[int(id)][0][name] = t
    return results


def largest(t):
    t = t.detach().double()
    finite = t[torch.isfinite(t)]
    return finite.abs().max().item() if finite.numel() else 0.0


def differs(got, want, case_scale, exact_dtype=True, slack=0.0):
    """Why two tensors do not agree, or None. slack: a further distance that is allowed."""
    if exact_dtype and got.dtype != want.dtype:
        return f"dtype {got.dtype} for {want.dtype}".replace("torch.", "")
    if got.shape != want.shape:
        return f"shape {tuple(got.shape)} for {tuple(want.shape)}"
    if got.dtype not in TOLERANCE:
        return None if torch.equal(got, want) else "values"
    rtol, atol = TOLERANCE[got.dtype]
    a, b = got.double(), want.double()
    same = (a == b) | (a.isnan() & b.isnan())
    scale = max(largest(want), SCALE_FLOOR * case_scale)
    close = ((a - b).abs() <= rtol * b.abs() + atol * scale + slack) & torch.isfinite(b)
    wrong = ~(same | close)
    if not bool(wrong.any()):
        return None
    at = int(wrong.flatten().nonzero()[0])
    return f"{int(wrong.sum())} of {wrong.numel()}: {a.flatten()[at]:.9g} for {b.flatten()[at]:.9g}, scale {scale:.3g}"


def scale_of(case, want):
    """The largest number in a case."""
    tensors = [*case.call.tensors, *(case.upstream or []), *(case.second_upstream or {}).values(), *want.values()]
    return max((largest(t) for t in tensors if t is not None and t.is_floating_point()), default=0)


def compare(case, got, want, exact_dtype=True, slack={}):
    """{name: why} of the tensors that do not agree. A gradient that is not there is zero."""
    case_scale = scale_of(case, want)
    found = {}
    for name in sorted(got.keys() | want.keys()):
        a, b = got.get(name), want.get(name)
        if name[0] == "y" and (a is None or b is None):
            found[name] = "only one of the two has it"
            continue
        a = torch.zeros_like(b) if a is None else a
        b = torch.zeros_like(a) if b is None else b
        why = differs(a, b, case_scale, exact_dtype, slack.get(name, 0.0))
        if why:
            found[name] = why
    return found


def own_error(want, exact):
    """How far PyTorch's f32 is from its f64, twice, by tensor."""
    slack = {}
    for name in want.keys() & exact.keys():
        if want[name].is_floating_point() and want[name].shape == exact[name].shape:
            slack[name] = 2 * largest(want[name].double() - exact[name].double())
    return slack


def in_double(case):
    """PyTorch's f64 result of an f32 case."""

    def widen(t):
        return t.detach().double().requires_grad_(t.requires_grad) if t.dtype == torch.float32 else t.detach().clone()

    sample = tree_map(widen, case.sample)
    return pytorch(case, sample, case.translate(sample))


def judge(case, result):
    """("agree" | "by f64" | "refused" | "differ", what) of a case."""
    got, error = result
    if error:
        return ("differ", {"error": error}) if error.startswith("the program") or error.startswith("judge:") else ("refused", error)
    found = compare(case, got, case.want)
    if not found:
        return "agree", {}
    if case.dtype == "f32" and not case.call.memory:
        try:
            exact = in_double(case)
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError):  # a call that PyTorch refuses in f64
            return "differ", found
        second = compare(case, got, exact, exact_dtype=False, slack=own_error(case.want, exact))
        found = {name: why for name, why in found.items() if name in second}
        if not found:
            return "by f64", {}
    return "differ", found
