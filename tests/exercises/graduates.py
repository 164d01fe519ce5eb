"""Graduation: with the solutions nothing changes; with a wrong solution the lesson's verdict on it does.

  python3 tests/exercises/graduates.py      (LOUPE_BUILD: the build folder)
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COURSE = os.path.join(ROOT, "exercises")
sys.path.insert(0, COURSE)
import judging  # noqa: E402

PARTS = ["15_batch_norm", "16_batch_norm_backward", "17_layer_norm"]


def graduate(wrong, *arguments):
    """With the solutions, but for one wrong solution (exercise, name) or none."""
    with tempfile.TemporaryDirectory() as folder:
        for exercise in PARTS:
            text = judging.read(os.path.join(COURSE, exercise, "solution.cpp"))
            if wrong and wrong[0] == exercise:
                text = next(w["text"] for w in judging.wrong_solutions(exercise) if w["name"] == wrong[1])
            with open(os.path.join(folder, exercise[3:] + ".cpp"), "w", encoding="utf-8") as f:
                f.write(text)
        return subprocess.run([sys.executable, os.path.join(COURSE, "graduate"), "--files", folder, *arguments],
                              capture_output=True, text=True)


def main():
    faults = 0
    for wrong, arguments, code, words in (
            (None, ["--steps", "10", "--claims", "C7"], 0, "0 exact verdicts changed"),
            (("17_layer_norm", "the deviation detached"), ["--steps", "3", "--claims", "none"], 1, "not the library's"),
            (("15_batch_norm", "n in the running variance"), ["--steps", "0", "--claims", "C7"], 1, "C7e    REPRODUCED    CONTRADICTED"),
            (("15_batch_norm", "no eval mode"), ["--steps", "0", "--claims", "C5"], 1, "C5h    REPRODUCED    CONTRADICTED"),
            (("17_layer_norm", "the deviation detached"), ["--steps", "10", "--claims", "C10"], 1,
             "C10e   REPRODUCED    CONTRADICTED")):
        ran = graduate(wrong, *arguments)
        if ran.returncode != code or words not in ran.stdout:
            faults += 1
            print(f"FAULT {wrong}: must end with {code} and say \"{words}\", ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    # The README's GPT: five steps with the solutions are those with the library's norms.
    ran = graduate(None, "--gpt", "5", "--text", os.path.join(ROOT, "README.md"))
    pairs = re.findall(r"loss +([0-9.]+) with the library's norms, ([0-9.]+) with yours", ran.stdout)
    if len(pairs) != 2 or any(abs(float(a) - float(b)) > 1e-3 for a, b in pairs):
        faults += 1
        print(f"FAULT --gpt: the two losses must agree, gave\n{ran.stdout}{ran.stderr}")
    # A norm of one's own as a third arm: the functions of example 14 and one line.
    text = judging.read(os.path.join(ROOT, "examples", "14_own_norm.cpp")).split("int main")[0]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "norm.cpp")
        for line, code, words in (("LOUPE_OWN_NORM(absolute_norm)", 0, "AbsoluteNorm: gradient by any"),
                                  ("", 2, "LOUPE_OWN_NORM")):
            with open(path, "w", encoding="utf-8") as f:
                f.write("#include <loupe/lesson/own.h>\n" + text + line + "\n")
            ran = subprocess.run([sys.executable, os.path.join(COURSE, "graduate"), "--norm", path], capture_output=True, text=True)
            said = " ".join((ran.stdout + ran.stderr).split())
            if ran.returncode != code or words not in said:
                faults += 1
                print(f"FAULT --norm with \"{line}\": must end with {code} and say \"{words}\", ended with {ran.returncode}:\n{said}")
    print(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
