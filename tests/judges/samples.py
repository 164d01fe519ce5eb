"""What a case is: a call of PyTorch and the same call of Loupe, drawn from a sample, in a dtype and a memory layout."""
import math

import torch

DTYPES = {torch.float32: "f32", torch.float64: "f64", torch.int64: "i64", torch.uint8: "u8", torch.bool: "bool"}
LAYOUTS = ("own", "gaps", "reversed", "channels_last", "expanded")
LARGEST = 30000  # elements: what is larger tests the same code again, slowly


class NotExpressible(Exception):
    """Loupe has no such call; the text says why, in words that do not depend on the sample."""


class Call:
    """Loupe's side of a sample: a row of the driver, its tensors (None: absent) and its options.

    `torch` computes PyTorch's result on the same tensors; `after` are tensors that it writes to, which are outputs too;
    `memory` compares all the memory behind the first tensor (in-place ops).
    """

    def __init__(self, row, tensors=(), /, after=(), memory=False, torch=None, **args):
        self.row, self.tensors, self.after, self.memory, self.torch, self.args = row, list(tensors), list(after), memory, torch, args


def is_tensor(x):
    return isinstance(x, torch.Tensor)


def tree_map(f, x):
    if is_tensor(x):
        return f(x)
    if isinstance(x, (list, tuple)) and type(x) in (list, tuple):
        return type(x)(tree_map(f, v) for v in x)
    if isinstance(x, dict):
        return {k: tree_map(f, v) for k, v in x.items()}
    return x


def tensors_of(x):
    found = []
    tree_map(found.append, x)
    return found


def describe(x):
    """A value in a few characters, the same in every run."""
    if is_tensor(x):
        return "(" + ",".join(map(str, x.shape)) + ")" + ("" if x.is_floating_point() else DTYPES.get(x.dtype, str(x.dtype)))
    if isinstance(x, float):
        return f"{x:.3g}"
    if isinstance(x, (list, tuple)):
        return "[" + " ".join(map(describe, x)) + "]"
    return str(x).replace("torch.", "")


def strided(shape, strides, dtype):
    """An uninitialised tensor with these strides whose whole memory is filled with NaN (integers: 77; bool: true)."""
    count = 1 + sum((n - 1) * s for n, s in zip(shape, strides)) if all(shape) else 0
    filler = math.nan if dtype.is_floating_point else True if dtype == torch.bool else 77
    return torch.full((count,), filler, dtype=dtype).as_strided(shape, strides)


def dense_strides(shape, order):
    """Strides of memory whose last dimension of `order` runs fastest."""
    strides, step = [0] * len(shape), 1
    for d in reversed(order):
        strides[d] = step
        step *= shape[d]
    return strides


def relayout(t, layout):
    """t's values in another memory layout; None where the layout says nothing new about t."""
    rank = t.dim()
    if layout == "own":
        return t.detach().clone(memory_format=torch.preserve_format) if t.is_contiguous() else own_strides(t)
    if layout == "gaps":
        strides = [2 * s for s in dense_strides(t.shape, range(rank))]
    elif layout == "reversed":
        if sum(n > 1 for n in t.shape) < 2:
            return None
        strides = dense_strides(t.shape, list(reversed(range(rank))))
    elif layout == "channels_last":
        if rank < 3 or t.shape[1] == 1:
            return None
        strides = dense_strides(t.shape, [0, *range(2, rank), 1])
    else:
        wide = [d for d in range(rank) if t.shape[d] > 1]
        if not wide or not t.is_floating_point():
            return None
        return t.detach().narrow(wide[0], 0, 1).clone().expand(t.shape)
    made = strided(t.shape, strides, t.dtype)
    made.copy_(t.detach())
    return made


def own_strides(t):
    if any(s == 0 and n > 1 for s, n in zip(t.stride(), t.shape)):
        made = t.detach().contiguous()
        wide = [d for d in range(t.dim()) if t.stride(d) == 0]
        for d in wide:
            made = made.narrow(d, 0, min(1, made.shape[d]))
        return made.contiguous().expand(t.shape)
    made = strided(t.shape, t.stride(), t.dtype)
    made.copy_(t.detach())
    return made


def in_layout(sample, layout):
    """(input, args, kwargs) with every tensor in `layout`; None if no tensor can be."""
    changed = False

    def change(t):
        nonlocal changed
        made = relayout(t, layout) if t.numel() else None
        changed |= made is not None
        if made is None:
            made = relayout(t, "own")
        return made.requires_grad_(t.requires_grad) if t.requires_grad else made

    result = tree_map(change, sample)
    return result if changed or layout == "own" else None


def memory_of(t):
    """The flat memory behind t from its first element to its last."""
    t = t.detach()
    count = 1 + sum((n - 1) * s for n, s in zip(t.shape, t.stride())) if t.numel() else 0
    return t.as_strided((count,), (1,), t.storage_offset()).clone()
