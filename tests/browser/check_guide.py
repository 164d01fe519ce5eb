#!/usr/bin/env python3
"""Opens the guide's page in headless Chromium: nothing overflows, every link within it has its place, no request leaves it,
and the search finds, marks and jumps.

    tests/browser/check_guide.py MAKE.py
"""
import pathlib
import re
import subprocess
import sys
import tempfile

import chromium

CHECK = """
const problems = [];
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
if (wide > 0) problems.push(`the page is ${wide} px too wide`);
for (const link of document.querySelectorAll('a[href^="#"]'))
  if (!document.getElementById(decodeURIComponent(link.hash.slice(1)))) problems.push("no place for " + link.getAttribute("href"));
const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
for (const id of new Set(ids)) if (ids.filter(i => i === id).length > 1) problems.push("twice: " + id);
for (const image of document.images) if (image.naturalWidth === 0) problems.push("an image that shows nothing: " + image.alt);
if (document.querySelectorAll("article").length < 12) problems.push("chapters are missing");
if (document.querySelectorAll("pre.cpp .k").length < 100) problems.push("code without colours");

const input = document.getElementById("words"), found = document.getElementById("found");
const search = text => { input.value = text; input.dispatchEvent(new Event("input")); return [...found.children]; };
const press = key => input.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
document.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true }));
if (document.activeElement !== input) problems.push("/ does not go to the search");
if (!search("running variance")[0]?.querySelector("b").textContent.includes("BatchNorm")) problems.push("running variance is not found in chapter 7");
if (!found.querySelector("mark")) problems.push("the hit is not marked");
press("ArrowDown");
if (!found.children[1]?.classList.contains("chosen")) problems.push("arrow keys do not choose");
const wanted = found.children[1]?.hash;
press("Enter");
if (location.hash !== wanted) problems.push("Enter does not jump");
if (search("zyzzyva").length || !found.textContent.includes("Nothing")) problems.push("nothing found is not said");
press("Escape");
if (document.getElementById("contents").hidden) problems.push("Escape does not bring the contents back");
return { problems, requests: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
         ink: getComputedStyle(document.body).color };
"""


def main():
    if not chromium.is_there():
        return chromium.SKIPPED
    failed, inks = False, set()
    with tempfile.TemporaryDirectory() as folder, chromium.driver() as base:
        page = pathlib.Path(folder) / "guide.html"
        subprocess.run([sys.executable, sys.argv[1], str(page)], check=True)
        if re.search(r'(src|href)="(?!#|data:|https?:)', page.read_text()):
            print("a file outside of the page")
            failed = True
        for width, dark in ((390, False), (800, False), (1400, False), (1400, True)):
            result = chromium.run_in(page, CHECK, base, width, 900, dark)
            problems = [p for p in result["problems"] if not p.startswith("request: data:")]
            inks.add((dark, result["ink"]))
            print(f"{width} px, {'dark' if dark else 'light'}: {len(problems)} problems")
            for problem in problems:
                print("  " + problem)
            failed |= bool(problems)
    if len(inks) != 2:
        print("light and dark look alike:", inks)
        failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
