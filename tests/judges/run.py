#!/usr/bin/env python3
"""PyTorch judges Loupe: its own samples (torch.testing's op_db, module_db and optim_db) for every op, layer, optimizer and schedule that
Loupe has, in several dtypes and memory layouts, with gradients and second derivatives. By hand; neither the build nor the tests need it.

    pip install torch==2.13.0 expecttest safetensors
    cmake --build build/release --target judge_driver
    python3 tests/judges/run.py [--only WORD]... [--skip WORD]... [--show N] [--update] [--fixture]

Prints a row for each op: cases run, agreeing, differing, samples that Loupe cannot express. Fails if a difference is not in
differences.txt, if a reason is not in not_expressible.txt, or if one of these lists holds what no longer occurs. --only: ops whose name
holds WORD (the lists are then compared for those alone); --skip: not those. --show: details of so many differences. --update: writes
not_expressible.txt and README.md's table anew. --fixture: writes the committed cases of the quick test. LOUPE_BUILD: the build folder.
"""
import argparse
import collections
import fnmatch
import os
import re
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
import multiprocessing

import torch

import coverage
import functions
import judge
import modules
import optimizers
from samples import DTYPES, LARGEST, LAYOUTS, NotExpressible, describe, in_layout, tensors_of

HERE = os.path.dirname(os.path.abspath(__file__))
warnings.simplefilter("ignore")
torch.set_num_threads(1)
REFERENCE_SAMPLES = 40  # of op.reference_inputs, an op and dtype


def label_of(sample):
    args, kwargs = sample[0], sample[1]
    return " ".join([describe(a) for a in args] + [f"{k}={describe(v)}" for k, v in kwargs.items()])


def drawn(entry, dtype):
    """op_db's samples for one dtype: sample_inputs, then the first of reference_inputs."""
    grad = entry.supports_autograd and dtype.is_floating_point
    torch.manual_seed(0)
    samples = [(s, grad) for s in entry.sample_inputs("cpu", dtype, requires_grad=grad)]
    if entry.reference_inputs_func is not None:
        try:
            for s in entry.reference_inputs("cpu", dtype, requires_grad=False):
                if len(samples) >= REFERENCE_SAMPLES:
                    break
                samples.append((s, False))
        except Exception:  # some entries have none for this dtype
            pass
    return [((s.input, *s.args), dict(s.kwargs)) for s, _ in samples]


def function_cases(entry, name, translate):
    """Cases of one entry of op_db, and the reasons of samples that cannot be asked."""
    inplace = name.endswith("_")
    wanted = [t for t in (torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool) if t in entry.dtypes]
    for dtype in wanted:
        floating = dtype.is_floating_point
        for sample in drawn(entry, dtype):
            if any(t.numel() > LARGEST for t in tensors_of(sample)):
                continue
            for layout in LAYOUTS if floating else LAYOUTS[:3]:
                if inplace and layout == "expanded":
                    continue
                torch.manual_seed(1)
                laid = in_layout(sample, layout)
                if laid is None:
                    continue
                if inplace:
                    for t in tensors_of(laid):
                        t.requires_grad_(False) if t.is_leaf else None
                yield judge.Case(name, label_of(sample), DTYPES[dtype], layout, laid,
                                 lambda s: translate(*s[0], **s[1]), lambda s, call: call.torch() if call.torch else entry.op(*s[0], **s[1]),
                                 entry.supports_gradgrad and floating)


class Tally:
    def __init__(self, op):
        self.op, self.agree, self.by_double, self.differ, self.seconds = op, 0, 0, [], 0.0
        self.reasons = collections.Counter()


def run_op(name, cases, keep=None):
    """Runs the cases of one op; returns its tally. keep(case): called for those that agree."""
    tally, start = Tally(name), time.time()
    batch = judge.Batch()
    taken = set()  # samples that Loupe takes in their own layout: it may then refuse them in no other

    def finish():
        nonlocal batch
        for case, result in zip(batch.cases, judge.drive(batch)):
            verdict, what = judge.judge(case, result)
            sample = (case.label, case.dtype)
            if verdict != "refused" and case.layout == "own":
                taken.add(sample)
            if verdict == "refused" and sample in taken:
                verdict, what = "differ", {"error": what}
            if verdict == "agree":
                tally.agree += 1
                if keep:
                    keep(case)
            elif verdict == "by f64":
                tally.agree += 1
                tally.by_double += 1
            elif verdict == "refused":
                tally.reasons["refuses: " + general(what)] += 1
            else:
                tally.differ.append((case.name, what))
        batch = judge.Batch()

    asked_in_vain = set()
    for case in cases:
        sample = (case.label, case.dtype)
        if sample in asked_in_vain:  # in another layout
            continue
        try:
            batch.add(case)
        except (NotExpressible, TypeError) as e:
            tally.reasons[str(e) if isinstance(e, NotExpressible) else "options: " + general(str(e))] += 1
            asked_in_vain.add(sample)
        if len(batch.cases) >= 1000:
            finish()
    finish()
    tally.seconds = time.time() - start
    return tally


def general(text):
    """An error without its sample: numbers and shapes taken out."""
    text = re.sub(r" \((in |\w+\.cpp:).*", "", text.splitlines()[0])
    text = re.sub(r"\([-0-9, ]*\)", "(..)", text)
    return re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?", "N", text)[:150]


def all_ops():
    """{name: function that yields its cases}."""
    from torch.testing._internal.common_methods_invocations import op_db
    ops = {}
    for entry in op_db:
        name = entry.name + ("." + entry.variant_test_name if entry.variant_test_name else "")
        if name in functions.OPS:
            ops[name] = lambda entry=entry, name=name: function_cases(entry, name, functions.OPS[name])
        for own_name, (source, translate) in functions.DERIVED.items():
            if source == name:
                ops[own_name] = lambda entry=entry, own_name=own_name, translate=translate: function_cases(entry, own_name, translate)
    missing = functions.OPS.keys() - ops.keys()
    if missing:
        raise SystemExit(f"op_db has no {sorted(missing)}")
    ops.update(modules.all_modules())
    ops.update(optimizers.all_optimizers())
    return ops


def read_list(file, columns):
    """Lines of `a | b | ...`; # starts a comment."""
    path = os.path.join(HERE, file)
    if not os.path.exists(path):
        return []
    lines = [line.rstrip("\n") for line in open(path) if line.strip() and not line.startswith("#")]
    return [tuple(part.strip() for part in line.split(" | ", columns - 1)) for line in lines]


def explained(tally, lines, used):
    """The differences of an op that no line of differences.txt explains."""
    left = []
    for name, what in tally.differ:
        text = name + " : " + " ".join(what)
        hits = [line for line in lines if line[0] == tally.op and fnmatch.fnmatchcase(text, line[1].replace("[", "[[]"))]
        used.update(hits)
        if not hits:
            left.append((name, what))
    return left


def table(tallies):
    rows = [f"{'op':<44}{'run':>8}{'agree':>8}{'differ':>8}{'not expr.':>11}", "-" * 79]
    total = [0, 0, 0, 0]
    for t in tallies:
        numbers = [t.agree + len(t.differ), t.agree, len(t.differ), sum(t.reasons.values())]
        total = [a + b for a, b in zip(total, numbers)]
        rows.append(f"{t.op:<44}{numbers[0]:>8}{numbers[1]:>8}{numbers[2]:>8}{numbers[3]:>11}")
    rows += ["-" * 79, f"{'total of ' + str(len(tallies)):<44}{total[0]:>8}{total[1]:>8}{total[2]:>8}{total[3]:>11}"]
    rows.append(f"{sum(t.by_double for t in tallies)} f32 cases agree by PyTorch's f64")
    return "\n".join(rows)


OPS = None


def run_named(name):
    return run_op(name, OPS[name]())


def main():
    global OPS
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("--show", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--fixture", action="store_true")
    args = parser.parse_args()
    OPS = all_ops()
    if args.fixture:
        import fixture
        fixture.write(OPS, run_op)
        return
    chosen = [n for n in OPS if (not args.only or any(w in n for w in args.only)) and not any(w in n for w in args.skip)]
    os.environ["LOUPE_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("fork")) as pool:
        tallies = []
        for t in pool.map(run_named, chosen):
            tallies.append(t)
            print(f"{t.op}: {t.agree} agree, {len(t.differ)} differ, {t.seconds:.1f} s", file=sys.stderr)
    sys.exit(report(tallies, args))


def report(tallies, args):
    print(table(tallies))
    names = {t.op for t in tallies}
    lines = [line for line in read_list("differences.txt", 3) if line[0] in names]
    used, failed = set(), 0
    for t in tallies:
        left = explained(t, lines, used)
        failed += len(left)
        for name, what in left[:args.show]:
            print(f"DIFFERS {t.op}: {name}: {what}")
    for line in lines:
        if line not in used:
            print(f"GONE    differences.txt: {' | '.join(line)}")
            failed += 1
    now = {(t.op, reason) for t in tallies for reason in t.reasons}
    listed = {line for line in read_list("not_expressible.txt", 2) if line[0] in names}
    if args.update:
        write_reasons(tallies, names)
        if not args.only and not args.skip:
            write_table(table(tallies))
    else:
        for op, reason in sorted(now - listed):
            print(f"NEW     not_expressible.txt lacks: {op} | {reason}")
        for op, reason in sorted(listed - now):
            print(f"GONE    not_expressible.txt: {op} | {reason}")
        failed += len(now ^ listed)
    for name in [] if args.only or args.skip else coverage.missing():
        print(f"LACKING no sample of PyTorch judges {name}: add a row, or a line to coverage.py")
        failed += 1
    print(f"{failed} things to look at" if failed else "every case agrees or has its reason")
    return 1 if failed else 0


def write_table(text):
    """The table of a full run into README.md."""
    path = os.path.join(HERE, "README.md")
    before = open(path).read().split("## The last run")[0]
    with open(path, "w") as f:
        f.write(before + "## The last run\n\n```\n" + text + "\n```\n")


def write_reasons(tallies, names):
    kept = {line for line in read_list("not_expressible.txt", 2) if line[0] not in names}
    now = {(t.op, reason) for t in tallies for reason in t.reasons}
    with open(os.path.join(HERE, "not_expressible.txt"), "w") as f:
        f.write("# op | why samples of it cannot be asked of Loupe (\"refuses\": the error that Loupe throws, numbers as N).\n")
        f.write("# Written by run.py --update, compared by run.py.\n")
        for op, reason in sorted(kept | now):
            f.write(f"{op} | {reason}\n")


if __name__ == "__main__":
    main()
