"""Holds the course: every blank fails, every solution passes, every wrong solution fails with its own sentence, and each
exercise sees no more than the chapters before it. Then the machinery: whatever a student's file does, a sentence comes out.

  python3 tests/exercises/judge_all.py [EXERCISE...]      (LOUPE_BUILD: the build folder)
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COURSE = os.path.join(ROOT, "exercises")
sys.path.insert(0, COURSE)
import judging  # noqa: E402

SEEDS = [1, 2, 3, 2**40 + 7]
FEWEST_WRONG = 5
faults = []


def fault(text):
    faults.append(text)
    print("FAULT " + text, flush=True)


# --- What an exercise may see ---------------------------------------------------------------------------------------------

def allowed_from():
    """{header: the first exercise whose file may see it}, from taught.txt."""
    rows = [line.split() for line in judging.read(os.path.join(COURSE, "taught.txt")).splitlines()
            if line and not line.startswith("#")]
    return {header: int(number) for number, header in rows}


def loupe_headers(path, seen):
    """Every header of this tree that a file includes, directly or through others."""
    for name in re.findall(r'^#include [<"](?:loupe/)?([^>"]+)[>"]', judging.read(path), flags=re.M):
        full = os.path.join(ROOT, name)
        if name not in seen and os.path.exists(full):
            seen.add(name)
            loupe_headers(full, seen)
    return seen


def check_sight(exercise):
    number, allowed = int(exercise[:2]), allowed_from()
    for header in sorted(loupe_headers(os.path.join(COURSE, exercise, "exercise.h"), set())):
        if header.startswith(("core/", "exercises/")):
            continue
        if header not in allowed:
            fault(f"{exercise} sees {header}, which is not in exercises/taught.txt")
        elif allowed[header] > number:
            fault(f"{exercise} sees {header}, which is taught from exercise {allowed[header]} on")


# --- The files of an exercise ---------------------------------------------------------------------------------------------

def frame(text):
    """A file without what stands between the marks, and the parts between them."""
    parts = re.split(rf"^ *{re.escape(judging.START)}\n(.*?)^ *{re.escape(judging.END)}\n", text, flags=re.M | re.S)
    return parts[0::2], parts[1::2]


def check_files(exercise):
    folder = os.path.join(COURSE, exercise)
    blank, blank_parts = frame(judging.read(judging.hole(exercise)))
    solved, solved_parts = frame(judging.read(os.path.join(folder, "solution.cpp")))
    if blank != solved or not blank_parts:
        fault(f"{exercise}: the blank and solution.cpp differ outside of the marks")
    if any("fill_in(" not in part for part in blank_parts) or any("fill_in(" in part for part in solved_parts):
        fault(f"{exercise}: a part of the blank without fill_in(), or one of the solution with it")
    text = judging.read(os.path.join(folder, "README.md"))
    for heading in ("**Goal.**", "## Ten minutes of theory", "## What to fill in", "## Hints"):
        if heading not in text:
            fault(f"{exercise}/README.md has no \"{heading}\"")
    if "docs/guide/" not in text or len(judging.hints(exercise)) < 2:
        fault(f"{exercise}/README.md has no link to a chapter, or fewer than two hints")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http") and not os.path.exists(os.path.join(folder, link)):
            fault(f"{exercise}/README.md links to {link}, which is not there")


def compile_alone(exercise, text):
    return judging.judge(exercise, judging.hole(exercise), SEEDS, text=text)


def tasks(exercise):
    """(name, text, what must come out) of every file that is judged."""
    folder = os.path.join(COURSE, exercise)
    wrong = judging.wrong_solutions(exercise)
    if len(wrong) < FEWEST_WRONG:
        fault(f"{exercise} has {len(wrong)} wrong solutions, fewer than {FEWEST_WRONG}")
    says = [w["says"] for w in wrong]
    for a in says:
        if says.count(a) > 1:
            fault(f"{exercise}/wrong.txt: two wrong solutions share the sentence \"{a}\"")
    yield "blank", judging.read(judging.hole(exercise)), "blank"
    yield "solution", judging.read(os.path.join(folder, "solution.cpp")), "passed"
    for w in wrong:
        yield w["name"], w["text"], "says:" + w["says"]


def check_result(exercise, name, expected, results):
    place = f"{exercise}, {name}"
    if expected == "passed":
        if len(results) != len(SEEDS) or not all(r["passed"] for r in results):
            fault(f"{place}: must pass with every seed, gave {results}")
        return
    if any(r["passed"] for r in results):
        fault(f"{place}: must fail, but passed with seeds {[r['seed'] for r in results if r['passed']]}")
        return
    if expected == "blank":
        if any(r["kind"] != "blank" for r in results):
            fault(f"{place}: must say that nothing is filled in, says {results[0]['says']}")
        return
    for r in results:
        if expected[5:] not in r["says"]:
            fault(f"{place}: must say \"{expected[5:]}\", says ({r['kind']}) \"{r['says']}\" in case {r['case']}, "
                  f"{r['what']}: {r['yours']} for {r['right']}")
            return


def check_course(chosen):
    for exercise in chosen:
        check_sight(exercise)
        check_files(exercise)
    work = [(e, *task) for e in chosen for task in tasks(e)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        started = [(e, name, expected, pool.submit(compile_alone, e, text)) for e, name, text, expected in work]
        for exercise, name, expected, future in started:
            check_result(exercise, name, expected, future.result())
    return len(work)


# --- The machinery --------------------------------------------------------------------------------------------------------

PROBE = "02_broadcast"
# What a student's file may do, and what must be told of it.
ACCIDENTS = [
    ("crash", "volatile int* p = nullptr;\n  *p = 1;\n  return g;", "crash", "crashed"),
    ("endless loop", "for (volatile int i = 0;; ++i) {}\n", "endless", "did not come to an end"),
    ("exception", 'throw std::runtime_error("a word of mine");\n', "exception", "your code threw: a word of mine"),
    ("an error of the library", "return g + zeros({77}, DType::f64);\n", "exception", "do not broadcast"),
    ("beyond the end", "std::vector<int> v(2);\n  return g * double(v[size_t(g.dim()) + 5]);\n", "crash", "beyond the end"),
    ("exit", "std::exit(0);\n", "exit", "ended the program"),
    ("too much memory", "std::vector<double> v(size_t(1) << 40);\n  return g * v[1];\n", "exception", "your code threw"),
    ("no semicolon", "Tensor sum = g\n  return sum;\n", "compile", "semicolon"),
    ("a word that is not known", "return batch_norm(g);\n", "compile", "`batch_norm` is not known here"),
    ("no return", "", "compile", "a `return` is missing"),
    ("another element type", "return zeros(shape);\n", "different", "all your numbers are 0"),
    ("an undefined tensor", "return Tensor();\n", "different", "empty Tensor()"),
]


def check_accidents():
    blank = judging.read(judging.hole(PROBE))
    for name, body, kind, words in ACCIDENTS:
        text = re.sub(r'fill_in\("sum_to"\);', lambda _: body.rstrip(), blank)
        r = judging.judge(PROBE, "student.cpp", [1], text=text, time_limit=4)[-1]
        if r["kind"] != kind or words not in r["says"]:
            fault(f"{name}: must be told as {kind} with \"{words}\", gave ({r['kind']}) {r['says']}")
    text = judging.read(os.path.join(COURSE, PROBE, "solution.cpp"))
    r = judging.judge(PROBE, "student.cpp", [1], text='#include <loupe/layers/norm.h>\n' + text)[-1]
    if r["kind"] != "includes":
        fault(f"an include of a later chapter must be refused, gave {r}")
    r = judging.judge(PROBE, "student.cpp", [1], text=text.replace("mine::sum_to", "sum_of"))[-1]
    if r["kind"] != "missing" or "sum_to" not in r["says"]:
        fault(f"a function that is missing must be named, gave {r}")


def check_sentinel():
    """The judge runs this very text: a change of one number in it changes the verdict's number."""
    text = judging.read(os.path.join(COURSE, PROBE, "solution.cpp"))
    seen = set()
    for number in (1.25, 3.5):
        r = judging.judge(PROBE, "student.cpp", [1], text=text.replace("return sum;", f"return sum * 0 + {number};"))[-1]
        seen.add(r["yours"])
    if seen != {"1.25", "3.5"}:
        fault(f"the judge must show the numbers of the student's file, showed {seen}")


def check_passes():
    """The scored exercise counts passes over memory, and does without where a file takes no other float."""
    scored = "22_blocked_matmul"
    solution = judging.read(os.path.join(COURSE, scored, "solution.cpp"))
    one_block = solution.replace("kDepth = 64, kWidth = 256", "kDepth = 1 << 20, kWidth = 1 << 20")
    bare = solution.replace("// >>> your part", "static_assert(sizeof(float) == 4 && std::is_arithmetic_v<float>);")
    for text, least, most in ((solution, 1.5, 2.7), (one_block, 64, 66), (bare, 0, 0)):  # where arrays lie changes it a little
        r = judging.judge(scored, "student.cpp", [1], text=text)[-1]
        told = re.search(r"passes over memory ([0-9.]+), plain loops 65", r.get("score", ""))
        if not r["passed"] or not least <= (float(told[1]) if told else 0) <= most:
            fault(f"{scored}: must count {least} to {most} passes over memory, gave {r}")


def program(*arguments):
    return subprocess.run([sys.executable, os.path.join(COURSE, "check"), *arguments], capture_output=True, text=True)


def check_program():
    """exercises/check from outside: text, --json, --junit, --gradescope, --student, --hint, --watch."""
    with tempfile.TemporaryDirectory() as folder:
        mine = os.path.join(folder, "mine.cpp")
        wrong = judging.wrong_solutions(PROBE)[0]

        def write(text):
            with open(mine, "w", encoding="utf-8") as f:
                f.write(text)
        write(wrong["text"])
        shown = program("2", "--file", mine)
        flat = " ".join(shown.stdout.split()).lower()
        if shown.returncode != 1 or wrong["says"] not in flat or "yours" not in flat or "right" not in flat:
            fault(f"the text must show case, numbers and sentence: {shown.stdout}{shown.stderr}")
        for student in ("anna", "ben"):
            r = json.loads(program("2", "--file", mine, "--json", "--student", student).stdout)
            again = json.loads(program("2", "--file", mine, "--json", "--student", student).stdout)
            if r["yours"] != again["yours"]:
                fault("a student's seed must draw the same numbers again")
        junit, gradescope = os.path.join(folder, "junit.xml"), os.path.join(folder, "results.json")
        handed_in = os.path.join(folder, "in")
        os.mkdir(handed_in)
        with open(os.path.join(handed_in, "broadcast.cpp"), "w", encoding="utf-8") as f:
            f.write(judging.read(os.path.join(COURSE, PROBE, "solution.cpp")))
        program("all", "--files", handed_in, "--junit", junit, "--gradescope", gradescope)
        from xml.etree import ElementTree
        suite = ElementTree.parse(junit).getroot()
        count = len(judging.exercises())
        if suite.get("tests") != str(count) or suite.get("failures") != str(count - 1):
            fault(f"JUnit: must count {count} tests and {count - 1} failures, gave {suite.attrib}")
        tests = {t["name"]: t for t in json.loads(judging.read(gradescope))["tests"]}
        if len(tests) != count or tests[PROBE]["score"] != 10 or tests[PROBE]["status"] != "passed":
            fault(f"Gradescope: {PROBE} must have 10 points, gave {tests[PROBE]}")
        if "Hint 1 of" not in program("2", "--hint", "1").stdout or "Hint 2 of" in program("2", "--hint", "1").stdout:
            fault("--hint 1 must show one hint")
        check_watch(mine, write, wrong)


def check_watch(mine, write, wrong):
    watching = subprocess.Popen([sys.executable, os.path.join(COURSE, "check"), "2", "--file", mine, "--watch", "--json"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        watching.stdout.readline()  # "watching ..."
        first = json.loads(watching.stdout.readline())
        write(judging.read(os.path.join(COURSE, PROBE, "solution.cpp")))
        saved = time.monotonic()
        second = json.loads(watching.stdout.readline())
        print(f"--watch: {time.monotonic() - saved:.2f} s from the save to the verdict")
        if first["passed"] or not second["passed"]:
            fault(f"--watch must see the save: {first['passed']}, then {second['passed']}")
    finally:
        watching.terminate()
        watching.wait()


def main():
    start = time.monotonic()
    chosen = [judging.find(word) for word in sys.argv[1:]] or judging.exercises()
    count = check_course(chosen)
    print(f"{count} files of {len(chosen)} exercises judged in {time.monotonic() - start:.1f} s", flush=True)
    if not sys.argv[1:]:
        check_accidents()
        check_sentinel()
        check_passes()
        check_program()
    print(f"{time.monotonic() - start:.1f} s, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
