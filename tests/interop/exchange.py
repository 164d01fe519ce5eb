"""What the scripts share: Loupe's programs, scratch files, and the table of differences."""
import os
import subprocess
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.environ.get("LOUPE_BUILD", os.path.join(ROOT, "build", "release"))
FIXTURES = os.path.join(ROOT, "tests", "fixtures")
SCRATCH = tempfile.TemporaryDirectory(prefix="loupe-interop-")
rows = []  # (what, cases, largest absolute, largest relative, bound, whether it held)


def path(*names):
    full = os.path.join(SCRATCH.name, *names)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    return full


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def peer(*arguments):
    return run(os.path.join(BUILD, "tests", "interop_peer"), *arguments)


def loupe(*arguments):
    return run(os.path.join(BUILD, "loupe"), *arguments)


def save(array, *names):
    np.save(path(*names), np.asarray(array, order="C"))
    return path(*names)


def same(what, got, want, bound, cases=None):
    """Largest |got - want|, and that over the largest |want|; `bound` is for the relative one. `cases` defaults to rows of want."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, (what, got.shape, want.shape)
    difference = np.abs(got - want)
    absolute = difference.max() if difference.size else 0.0
    relative = absolute / np.abs(want).max() if absolute else 0.0
    rows.append((what, cases if cases is not None else len(want), absolute, relative, bound, bool(relative <= bound)))


def exact(what, cases, held):
    """What must be equal, byte for byte or token for token."""
    rows.append((what, cases, 0.0 if held else float("nan"), 0.0, 0.0, bool(held)))


def table():
    print(f"{'':70} {'cases':>6} {'absolute':>9} {'relative':>9} {'bound':>7}")
    for what, cases, absolute, relative, bound, held in rows:
        print(f"{what:70} {cases:6d} {absolute:9.1e} {relative:9.1e} {bound:7.0e} {'' if held else '  NOT MET'}")
    return all(row[-1] for row in rows)
