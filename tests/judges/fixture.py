"""The committed cases: for each op the smallest that agree, of as many samples, dtypes and layouts as there is room for."""
import json
import os

import torch
from safetensors.torch import save_file

import judge

BYTES = 480_000
EACH = 6  # cases of one op, at most


def size(case):
    """About how many bytes the case takes in the file."""
    entry = json.dumps(case_entry(judge.Batch(), case))
    elements = sum(t.numel() * t.element_size() for t in [*case.want.values()])
    return len(entry) + 2 * elements


def case_entry(batch, case):
    batch.add(case)
    entry = batch.list[-1]
    entry.pop("id")
    entry["of"] = f"{case.op} {case.name}"
    entry["want"] = {name: batch.describe(t.contiguous()) for name, t in case.want.items()}
    return entry


def choose(cases):
    """Small ones, of different samples first, then of different dtype and layout."""
    chosen = []
    for case in sorted(cases, key=lambda c: c.bytes):
        seen = [(c.label, c.dtype, c.layout) for c in chosen]
        if any(label == case.label for label, _, _ in seen) or sum(l == case.layout for _, _, l in seen) > 2 or sum(d == case.dtype for _, d, _ in seen) > 2:
            continue
        chosen.append(case)
        if len(chosen) == EACH:
            break
    return chosen


def write(ops, run_op):
    rounds = []
    for name, cases in ops.items():
        agreeing = []

        def keep(case):
            if sum(t.numel() for t in case.want.values()) <= 150:
                agreeing.append(case)

        small = (c for i, c in enumerate(cases()) if i < 250)
        run_op(name, small, keep)
        for case in agreeing:
            case.bytes = sum(t.numel() * t.element_size() for t in case.want.values())
        rounds.append(choose(agreeing))
    batch, used = judge.Batch(), 0
    for turn in range(EACH):
        for chosen in rounds:
            if turn < len(chosen) and used < BYTES:
                used += size(chosen[turn])
                case_entry(batch, chosen[turn])
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases.safetensors")
    save_file(batch.tensors(), path, {"cases": json.dumps(batch.list, separators=(",", ":")), "torch": torch.__version__})
    print(f"{len(batch.list)} cases of {len({e['op'] for e in batch.list})} ops, {os.path.getsize(path)} bytes")
