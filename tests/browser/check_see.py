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
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from check_report import call

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


def check(page, width, dark, base):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", f"--window-size={width},900"]
    session = call(base + "/session", {"capabilities": {"alwaysMatch": {
        "browserName": "chrome", "goog:chromeOptions": {"args": flags, "perfLoggingPrefs": {"enableNetwork": True}},
        "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}}})["sessionId"]
    try:
        root = f"{base}/session/{session}"
        call(root + "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}})
        call(root + "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
            "features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}})
        call(root + "/url", {"url": page.as_uri()})
        result = call(root + "/execute/sync", {"script": CHECK, "args": []})
        log = [json.loads(e["message"])["message"] for e in call(root + "/se/log", {"type": "performance"})]
        sent = {m["params"]["request"]["url"] for m in log if m["method"] == "Network.requestWillBeSent"}
        for url in sorted((sent | set(result["requests"])) - {page.as_uri()}):
            result["problems"].append("request: " + url)
        for entry in call(root + "/se/log", {"type": "browser"}):
            if entry["level"] == "SEVERE":
                result["problems"].append("script: " + entry["message"])
        return result
    finally:
        urllib.request.urlopen(urllib.request.Request(f"{base}/session/{session}", method="DELETE"), timeout=60)


def main():
    if not shutil.which("chromedriver") or not (shutil.which("chromium") or shutil.which("google-chrome")):
        print("no chromium or chromedriver: apt-get install chromium chromium-driver")
        return 77
    folder = tempfile.TemporaryDirectory()
    page = pathlib.Path(folder.name) / "step.html"
    subprocess.run([sys.argv[1], "see", "small-cnn", "--batch-size", "4", "--shadow", "--out", str(page)], check=True)
    assert not re.search(r"https?://", page.read_text()), "an address in the page"
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    failed, inks = False, set()
    try:
        for _ in range(100):
            try:
                if call(base + "/status")["ready"]:
                    break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        for which, width, dark in ((page, 400, False), (page, 1400, False), (page, 1400, True), (many_ops(page, 5000), 1400, False)):
            result = check(which, width, dark, base)
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
        return 1 if failed else 0
    finally:
        driver.terminate()
        driver.wait()
        folder.cleanup()


if __name__ == "__main__":
    sys.exit(main())
