#!/usr/bin/env python3
"""The page of a step in a real browser: headless Chromium driven over raw WebDriver, standard library only.

usage: check_see.py PROGRAM
Makes the page of a small CNN with `PROGRAM see`, and one with 5,000 ops from it. Checks at 400 and 1400 pixels, light and dark:
no error of a script, no request, rows and timeline are drawn, the keyboard walks and folds, the search finds; with 5,000 ops a
drawing takes less than 50 ms in the median. Exits 77 (skipped) without chromium or chromedriver.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import chromium

# A canvas is drawn on if two of its pixels differ.
CHECK = r"""
const problems = [];
const drawn = c => { const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  return d.some((v, i) => i >= 4 && v !== d[i % 4]); };
const [graph, strip] = [document.querySelector("#graph canvas"), document.querySelector("footer canvas")];
paint(); timeline();
if (!drawn(graph)) problems.push("the graph is empty");
if (!drawn(strip)) problems.push("the timeline is empty");
if (document.documentElement.scrollWidth > document.documentElement.clientWidth) problems.push("wider than the window");
if (!/^\d+ ops/.test(document.getElementById("sums").textContent)) problems.push("no sums");
const press = key => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
press("ArrowDown");
if (!selected) problems.push("an arrow selects nothing");
press("ArrowRight");
const opened = rows.length;
press("ArrowLeft");
if (rows.length >= opened) problems.push("nothing folds");
press("ArrowRight");
if (rows.length !== opened) problems.push("nothing unfolds");
const box = document.getElementById("find");
box.value = "conv2d";
box.dispatchEvent(new Event("input"));
if (found.size === 0) problems.push("conv2d is not found");
document.getElementById("fold").click();
document.getElementById("open").click();
const times = [];
for (let i = 0; i < 15; ++i) {
  document.getElementById("graph").scrollTop = i * 997 % (rows.length * height);
  const from = performance.now();
  paint();
  timeline();
  times.push(performance.now() - from);
}
times.sort((a, b) => a - b);
return { problems, rows: rows.length, median: times[7], requests: performance.getEntriesByType("resource").map(e => e.name),
         errors: window.seenErrors || [], ink: getComputedStyle(document.body).color };
"""


def many_ops(page, wanted):
    """The same page with its ops repeated: each copy a module of its own, later in time."""
    text = page.read_text()
    start = text.index("const step = ") + len("const step = ")
    end = text.index(";\nconst $", start)
    step = json.loads(text[start:end])
    ops, length = step["ops"], max(o["backward"][1] for o in step["ops"])
    many = []
    while len(many) < wanted:
        copy, first = len(many) // len(ops), len(many)
        for o in ops:
            o = json.loads(json.dumps(o))
            o["path"] = f"block{copy}." + o["path"] if o["path"] else f"block{copy}"
            o["inputs"] = [i + first if i >= 0 else first - 1 for i in o["inputs"]]
            o["forward"] = [t + copy * length for t in o["forward"]]
            o["backward"] = [t + copy * length for t in o["backward"]]
            many.append(o)
    step["ops"] = many
    out = page.with_name("many.html")
    out.write_text(text[:start] + json.dumps(step) + text[end:])
    return out


def main():
    if not chromium.is_there():
        return chromium.SKIPPED
    folder = tempfile.TemporaryDirectory()
    page = pathlib.Path(folder.name) / "step.html"
    subprocess.run([sys.argv[1], "see", "small-cnn", "--batch-size", "4", "--shadow", "--out", str(page)], check=True)
    assert not re.search(r"https?://", page.read_text()), "an address in the page"
    failed, inks = False, set()
    with chromium.driver() as base:
        for which, width, dark in ((page, 400, False), (page, 1400, False), (page, 1400, True), (many_ops(page, 5000), 1400, False)):
            result = chromium.run_in(which, CHECK, base, width, 900, dark)
            inks.add((dark, result["ink"]))
            if which != page and result["median"] > 50:
                result["problems"].append(f"a drawing of {result['rows']} rows takes {result['median']:.0f} ms")
            print(f"{which.name}, {width} px, {'dark' if dark else 'light'}: {result['rows']} rows, a drawing in "
                  f"{result['median']:.1f} ms, {len(result['problems'])} problems")
            for problem in result["problems"]:
                print("  " + problem)
            failed |= bool(result["problems"])
        if len(inks) != 2:
            print("  light and dark look alike:", inks)
            failed = True
    folder.cleanup()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
