#!/usr/bin/env python3
"""The report in a real browser: headless Chromium driven over raw WebDriver, standard library only.

usage: check_report.py PAGE.html
Checks at 400 and 1400 pixels, light and dark, and as printed on A4: every figure shows exactly one chart with a size, no text of a chart
overlaps another or leaves its drawing, nothing is wider than the page, and no request leaves the page. Each claim opens with three
guesses, an answer of at most 25 words, a number and one chart (exact facts may have none); a guess that is opened replies. A page of twelve claims takes at most
12 screens of 1400 x 900 with everything folded, and the picture of the claims is on the first. Exits 77 (skipped) without chromium or
chromedriver.
"""
import pathlib
import sys

import chromium

CHECK = r"""
const problems = [], width = document.documentElement.clientWidth;
const say = (what, where) => problems.push(what + ": " + where);
if (document.documentElement.scrollWidth > width) say("page wider than the window", document.documentElement.scrollWidth);
const printed = matchMedia("print").matches;
const figures = [...document.querySelectorAll("figure.chart")];
const shown = e => e.getClientRects().length > 0;
const folded = e => printed && e.closest("details");  // not on paper
for (const f of figures.filter(f => !folded(f))) {
  const name = f.querySelector("figcaption").textContent;
  const charts = [...f.children].filter(e => e.tagName == "svg" && shown(e));
  if (charts.length != 1) { say("charts shown: " + charts.length, name); continue; }
  const box = charts[0].getBoundingClientRect();
  if (box.width < 250 || box.height < 150) say("chart too small", name + " " + box.width + "x" + box.height);
  if (box.right > width + 0.5 || box.left < -0.5) say("chart leaves the page", name);
  if (!charts[0].querySelector(".dot,.ring,.line,.cross,.cell")) say("chart without data", name);
  if (!charts[0].querySelector("text.axis")) say("chart without axis title", name);
  const texts = [...charts[0].querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
  texts.forEach(([s, r], i) => {
    if (r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1)
      say("text leaves its chart", name + ": " + s);
    if (r.height < 9) say("text too small", name + ": " + s);
    for (const [s2, r2] of texts.slice(i + 1))
      if (Math.min(r.right, r2.right) - Math.max(r.left, r2.left) > 2 && Math.min(r.bottom, r2.bottom) - Math.max(r.top, r2.top) > 5)
        say("texts overlap", name + ": '" + s + "' and '" + s2 + "'");
  });
  for (const m of charts[0].querySelectorAll(".dot,.ring,.cross,.line,.bar,.cell")) {
    const r = m.getBoundingClientRect();
    if (r.left < box.left - 3 || r.right > box.right + 3 || r.top < box.top - 3 || r.bottom > box.bottom + 3) {
      say("data leaves its chart", name); break;
    }
  }
}
for (const e of document.querySelectorAll("h1,h2,h3,p,td,th,li,blockquote,nav a,.v,.legend span")) {
  if (!shown(e) || e.closest(".scroll")) continue;
  const r = e.getBoundingClientRect();
  if (r.right > width + 1) say("leaves the page", e.textContent.slice(0, 60));
}
const blocks = [...document.querySelectorAll("main > *")].filter(shown).map(e => e.getBoundingClientRect());
for (let i = 1; i < blocks.length; ++i) if (blocks[i].top < blocks[i - 1].bottom - 1) say("blocks overlap", i);
const claims = [...document.querySelectorAll("section.claim")];
for (const c of claims) {
  const guesses = [...c.querySelectorAll(".guess details")], answer = c.querySelector(".answer").textContent;
  if (guesses.length != 3) say("guesses", c.id + ": " + guesses.length);
  for (const g of guesses) {
    if (g.open) say("open from the start", c.id);
    g.open = true;
    if (!printed && !(g.querySelector("p").getBoundingClientRect().height > 0)) say("a guess without reply", c.id);
    g.open = false;
  }
  if (answer.trim().split(/\s+/).length > 25) say("answer of more than 25 words", c.id);
  if (!c.querySelector(".number b").textContent) say("no number", c.id);
  const first = c.querySelectorAll(".shown figure");
  if (c.querySelector(".shown") && first.length != 1 && first.length != 2) say("charts in sight", c.id + ": " + first.length);
  if ([...first].some(f => f.closest("details"))) say("the first chart is folded", c.id);
}
if (claims.length == 12 && width == 1400) {
  const screens = document.documentElement.scrollHeight / 900, picture = document.querySelector(".hero").getBoundingClientRect();
  if (screens > 12) say("screens", screens.toFixed(1));
  if (picture.bottom + scrollY > 900) say("the picture leaves the first screen", picture.bottom + scrollY);
}
const css = getComputedStyle(document.body);
return {problems, figures: figures.length, requests: performance.getEntriesByType("resource").map(e => e.name),
        background: css.backgroundColor, dark: matchMedia("(prefers-color-scheme: dark)").matches};
"""


def check(page, width, dark, printed, base):
    result = chromium.run_in(page, CHECK, base, width, 1200, dark, printed)
    if result["dark"] != dark:
        result["problems"].append("the colour scheme was not applied")
    return result


def main():
    page = pathlib.Path(sys.argv[1]).resolve()
    if not chromium.is_there():
        return chromium.SKIPPED
    with chromium.driver() as base:
        expected, failed, backgrounds = page.read_text().count("<figure"), False, set()
        # 718 pixels: A4 without its margins.
        for width, dark, printed in ((400, False, False), (400, True, False), (1400, False, False), (1400, True, False), (718, False, True)):
            result = check(page, width, dark, printed, base)
            if not printed:
                backgrounds.add((dark, result["background"]))
            if result["figures"] != expected or expected == 0:
                result["problems"].append(f"{result['figures']} figures, expected {expected}")
            print(f"{width} px, {'print' if printed else 'dark' if dark else 'light'}: {result['figures']} charts, {len(result['problems'])} problems")
            for problem in result["problems"]:
                print("  " + problem)
            failed |= bool(result["problems"])
        if len(backgrounds) != 2:
            print("  light and dark look alike:", backgrounds)
            failed = True
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
