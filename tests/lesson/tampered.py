#!/usr/bin/env python3
"""A report with one wrong word, number or claim must not pass lesson/recompute.py.

usage: tampered.py FOLDER RECOMPUTE
FOLDER is what `loupe lesson --out` wrote; it is copied, not changed.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile


def result(recompute, folder):
    return subprocess.run([sys.executable, recompute, folder], capture_output=True).returncode


def main(folder, recompute):
    with tempfile.TemporaryDirectory() as place:
        copy = pathlib.Path(place) / "run"
        shutil.copytree(folder, copy)
        if result(recompute, copy) != 0:
            return "the report as it is does not pass"
        report = copy / "report.jsonl"
        lines = report.read_text(encoding="utf-8").splitlines()
        for identity, old, new in (("C12a", "REPRODUCED", "CONTRADICTED"), ("C12", "CONTRADICTED", "REPRODUCED"),
                                   ("C7a", '"effect":', '"effect":1')):
            changed = [line.replace(old, new) if f'"id":"{identity}"' in line else line for line in lines]
            if changed == lines:
                return f"{identity} says no {old}"
            report.write_text("\n".join(changed), encoding="utf-8")
            if result(recompute, copy) == 0:
                return f"a changed {identity} passes"
        report.write_text("\n".join(lines), encoding="utf-8")
        questions = copy / "questions.jsonl"
        questions.write_text("", encoding="utf-8")
        if result(recompute, copy) == 0:
            return "no questions pass"
    return 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2]))
