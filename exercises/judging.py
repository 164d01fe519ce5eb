"""Compiles a student's file with the check of its exercise, lets the judge run it, and says in plain words what came out.

The build (cmake --build build/release --target exercises) leaves in build/release/exercises: the judge, the checks' objects,
precompiled headers, and tools.json, which says how to compile.
"""
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("LOUPE_BUILD", os.path.join(os.path.dirname(HERE), "build", "release"))
TIME_LIMIT = 10  # seconds for the check of one file with one seed
MEMORY_LIMIT = 4 << 30  # bytes
START, END = "// >>> your part", "// <<<"


class Trouble(Exception):
    """Something that is not the student's fault, in a sentence."""


def exercises():
    """The folders' names, in order: 01_strides, ..."""
    return sorted(d for d in os.listdir(HERE) if re.fullmatch(r"\d\d_\w+", d))


def find(word):
    """The exercise that a number or a part of its name means."""
    number = word.zfill(2) if word.isdigit() else None
    found = [e for e in exercises() if e[:2] == number or (number is None and word in e)]
    if len(found) != 1:
        some = ", ".join(found or exercises())
        raise Trouble(f'"{word}" means {"more than one exercise" if found else "no exercise"}: {some}')
    return found[0]


def hole(exercise):
    """The student's file."""
    return os.path.join(HERE, exercise, exercise[3:] + ".cpp")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def tools():
    path = os.path.join(BUILD, "exercises", "tools.json")
    if not os.path.exists(path):
        raise Trouble("the exercises are not built: run\n"
                      "  cmake --preset release && cmake --build build/release --target exercises")
    return json.loads(read(path))


def seed_of(student, exercise):
    """The seed that draws shapes and data: another one for every student and exercise."""
    number = 1469598103934665603  # FNV-1a
    for byte in f"{student}/{exercise}".encode():
        number = (number ^ byte) * 1099511628211 % 2**64
    return number >> 1


# --- Wrong solutions: what wrong.txt adds to solution.cpp -----------------------------------------------------------------

def wrong_solutions(exercise):
    """[{name, says, text}]: each the solution with some lines replaced.

    An entry of wrong.txt:   # a name
                             says: part of the sentence that the check must give
                             - lines of solution.cpp, as they stand there
                             + the lines in their place
    """
    solution = read(os.path.join(HERE, exercise, "solution.cpp"))
    found = []
    for block in re.split(r"^# ", read(os.path.join(HERE, exercise, "wrong.txt")), flags=re.M)[1:]:
        name, *lines = block.rstrip("\n").split("\n")
        says = next((line[5:].strip() for line in lines if line.startswith("says:")), "")
        text, changes = solution, 0
        hunk = re.compile(r"((?:^-.*\n)+)((?:^\+.*(?:\n|\Z))*)", re.M)
        for old, new in hunk.findall("\n".join(lines) + "\n"):
            old = "".join(line[1:] + "\n" for line in old.splitlines())
            new = "".join(line[1:] + "\n" for line in new.splitlines())
            if text.count(old) != 1:
                raise Trouble(f"{exercise}/wrong.txt, {name}: these lines stand {text.count(old)} times in "
                              f"solution.cpp, not once:\n{old}")
            text, changes = text.replace(old, new), changes + 1
        if not says or not changes:
            raise Trouble(f"{exercise}/wrong.txt, {name}: no `says:` or no changed line")
        found.append({"name": name, "says": says, "text": text})
    return found


def hints(exercise):
    """The hints of the text, which unfold one by one."""
    text = read(os.path.join(HERE, exercise, "README.md"))
    found = re.findall(r"<details><summary>Hint \d+</summary>\n+(.*?)\n*</details>", text, flags=re.S)
    return [hint.strip() for hint in found]


# --- What a compiler says, in plain words ---------------------------------------------------------------------------------

COMPILER = [
    (r"expected ['‘](?:,['’] or ['‘])?;['’]", "a semicolon is missing here, or at the end of the line before"),
    (r"['‘]([^'’]+)['’] was not declared in this scope|['‘]([^'’]+)['’] is not a member of",
     "`{}` is not known here: it is misspelt, or it belongs to a later chapter and is for you to build"),
    (r"use of undeclared identifier '([^']+)'",
     "`{}` is not known here: it is misspelt, or it belongs to a later chapter and is for you to build"),
    (r"no declaration matches ['‘]([^'’]+)['’]",
     "`{}` is not what exercise.h declares: leave the first line of the function as it was"),
    (r"no matching function for call to ['‘]([^'’]+)['’]", "no function takes these arguments: `{}`"),
    (r"control reaches end of non-void function|no return statement", "a `return` is missing"),
    (r"could not convert|cannot convert|invalid conversion", "a value has the wrong type"),
    (r"expected ['‘]\}['’]", "a closing brace is missing"),
    (r"discards qualifiers|read-only", "this is constant and cannot be changed: make a copy"),
]


def compiler_words(text, path):
    """The first error of a compiler's output, as a sentence with its line."""
    name = os.path.basename(path)
    for line in text.splitlines():
        m = re.match(r"(.*?):(\d+):(?:\d+:)? (?:fatal )?error: (.*)", line)
        if not m:
            continue
        place = f"line {m[2]}" if os.path.basename(m[1]) == name else f"{os.path.basename(m[1])}, line {m[2]}"
        for pattern, words in COMPILER:
            found = re.search(pattern, m[3])
            if found:
                argument = next((g for g in found.groups() if g), "")
                return f"your file does not compile, {place}: {words.format(argument)}"
        return f"your file does not compile, {place}: {m[3]}"
    return "your file does not compile"


SIGNALS = {
    11: "your code crashed: it read or wrote memory that is not its own (an index too large?)",
    7: "your code crashed: it read or wrote memory that is not its own (an index too large?)",
    6: "your code was stopped by a check of the standard library, or called abort()",
    8: "your code crashed: a whole number was divided by 0",
    4: "your code crashed: a function that gives a value ended without `return`?",
}


# --- Judging --------------------------------------------------------------------------------------------------------------

def limits():
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def foreign_includes(text):
    """Includes of the student's file that are neither exercise.h nor the standard library's."""
    found = re.findall(r'^\s*#\s*include\s*([<"][^>"]+[>"])', text, flags=re.M)
    return [i for i in found if i != '"exercise.h"' and (i[0] == '"' or "/" in i)]


def told(kind, says, **more):
    return {"passed": False, "kind": kind, "case": "", "what": "", "yours": "", "right": "", "says": says, **more}


def judge(exercise, path, seeds, text=None, time_limit=TIME_LIMIT):
    """Judges the file at `path` (or `text` in its place). One result a seed; a file that cannot run gives one for all."""
    folder = os.path.join(HERE, exercise)
    tool = tools()
    text = read(path) if text is None else text
    foreign = foreign_includes(text)
    if foreign:
        return [told("includes", f"your file includes {foreign[0]}: exercise.h has all that the chapters before this one "
                                 "taught, and the standard library is open to you")]
    with tempfile.TemporaryDirectory(prefix="loupe_exercise_") as scratch:
        nonce = secrets.token_hex(16)  # only what was compiled from this very text knows it
        source = os.path.join(scratch, "student.cpp")
        with open(source, "w", encoding="utf-8") as f:
            f.write(f'#line 1 "{path}"\n{text}\n#line 1 "{source}"\n'
                    f'extern "C" const char* loupe_exercise_sentinel() {{ return "{nonce}"; }}\n')
        made = compile_and_link(tool, exercise, folder, source, scratch)
        if made.returncode != 0:
            return [told("compile", compiler_words(made.stderr, path), output=made.stderr)]
        return run_judge(tool, scratch, seeds, nonce, time_limit * len(seeds))


def compile_and_link(tool, exercise, folder, source, scratch):
    taught = re.search(r"<loupe/exercises/taught/(\w+)\.h>", read(os.path.join(folder, "exercise.h")))[1]
    extra = read(os.path.join(folder, "flags")).split() if os.path.exists(os.path.join(folder, "flags")) else []
    environment = {**os.environ, "LC_ALL": "C"}
    header = [] if extra else ["-include", os.path.join(BUILD, "exercises", taught + ".hxx")]
    made = subprocess.run([tool["compiler"], *tool["flags"], *extra, *header, "-iquote", folder, "-c", source, "-o",
                           os.path.join(scratch, "student.o")], capture_output=True, text=True, env=environment)
    if made.returncode != 0:
        return made
    check = os.path.join(BUILD, tool["checks"][exercise])

    def linked(*objects):
        return subprocess.run([tool["compiler"], "-shared", "-Wl,-Bsymbolic", "-o", os.path.join(scratch, "student.so"),
                               *objects, check], capture_output=True, text=True, env=environment)

    student, counted = os.path.join(scratch, "student.o"), os.path.join(scratch, "counted.o")
    if extra:  # scored: once more with numbers that count passes over memory, where the file allows it
        made = subprocess.run([tool["compiler"], *tool["flags"], *extra, "-Dloupe_exercise_sentinel=loupe_exercise_counted",
                               "-include", os.path.join(HERE, "counted_float.h"), "-iquote", folder, "-c", source, "-o", counted],
                              capture_output=True, text=True, env=environment)
        if made.returncode == 0:
            made = linked(student, counted)
            if made.returncode == 0:
                return made
    return linked(student)


def run_judge(tool, scratch, seeds, nonce, time_limit):
    result = os.path.join(scratch, "result")
    command = [os.path.join(BUILD, tool["judge"]), os.path.join(scratch, "student.so"), result,
               os.path.join(HERE, "torch.safetensors"), *map(str, seeds)]
    ended, code, err = "", 0, ""
    try:
        ran = subprocess.run(command, stderr=subprocess.PIPE, stdout=sys.stderr, text=True, timeout=time_limit,
                             preexec_fn=limits, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
        code, err = ran.returncode, ran.stderr
    except subprocess.TimeoutExpired:
        ended = f"your code did not come to an end in {time_limit} s: a loop that never ends?"
    lines = [json.loads(line) for line in read(result).splitlines()] if os.path.exists(result) else []
    results = [line for line in lines if "sentinel" in line]
    for line in results:
        if line["sentinel"] != nonce:
            raise Trouble("the judge ran something else than your file; build the exercises again")
    cases = [line["trying"] for line in lines if "trying" in line]
    case = cases[-1] if cases else ""
    if ended:
        results.append(told("endless", ended, case=case))
    elif code == 3:
        missing = re.search(r"undefined symbol: (\S+)", err)
        name = demangled(missing[1]) if missing else err.strip()
        results.append(told("missing", f"your file does not define `{name}`: leave the first line of each function as it was"))
    elif code < 0:
        words = SIGNALS.get(-code, f"your code was ended by signal {-code}")
        assertion = re.search(r"Assertion '(.+)' failed", err)
        if assertion:
            words = ("your code used an element beyond the end of an array "
                     f"(the standard library's check `{assertion[1]}` failed)")
        results.append(told("crash", words, case=case))
    elif code != 0:
        raise Trouble(f"the judge failed with code {code}: {err}")
    elif len(results) < len(seeds):
        results.append(told("exit", "your code ended the program: a function of an exercise returns", case=case))
    elif err:
        sys.stderr.write(err)
    return results


def demangled(name):
    try:
        return subprocess.run(["c++filt", name], capture_output=True, text=True).stdout.strip() or name
    except OSError:
        return name


def now():
    return time.monotonic()
