#!/usr/bin/env python3
"""The report in a real browser: headless Chromium driven over raw WebDriver, standard library only.

usage: check_report.py PAGE.html
Checks at 400 and 1400 pixels, light and dark, and as printed on A4: every figure shows exactly one chart with a size, no text of a chart
overlaps another or leaves its drawing, nothing is wider than the page, and no request leaves the page. Exits 77
(skipped) without chromium or chromedriver.
"""
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

CHECK = r"""
const problems = [], width = document.documentElement.clientWidth;
const say = (what, where) => problems.push(what + ": " + where);
if (document.documentElement.scrollWidth > width) say("page wider than the window", document.documentElement.scrollWidth);
const figures = [...document.querySelectorAll("figure.chart")];
const shown = e => e.getClientRects().length > 0;
for (const f of figures) {
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
const css = getComputedStyle(document.body);
return {problems, figures: figures.length, requests: performance.getEntriesByType("resource").map(e => e.name),
        background: css.backgroundColor, dark: matchMedia("(prefers-color-scheme: dark)").matches};
"""


def call(url, data=None):
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["value"]


def check(page, width, dark, printed, base):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
             f"--window-size={width},1200"] + (["--blink-settings=preferredColorScheme=0"] if dark else [])
    options = {"args": flags, "perfLoggingPrefs": {"enableNetwork": True}}
    session = call(base + "/session", {"capabilities": {"alwaysMatch": {
        "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL"}}}})["sessionId"]
    try:
        root = f"{base}/session/{session}"
        # Exactly `width` CSS pixels, below the smallest window that Chromium opens.
        call(root + "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {
            "width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": width < 600}})
        call(root + "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
            "media": "print" if printed else "", "features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}})
        call(root + "/url", {"url": page.as_uri()})
        result = call(root + "/execute/sync", {"script": CHECK, "args": []})
        log = [json.loads(e["message"])["message"] for e in call(root + "/se/log", {"type": "performance"})]
        sent = {m["params"]["request"]["url"] for m in log if m["method"] == "Network.requestWillBeSent"}
        for url in sorted((sent | set(result["requests"])) - {page.as_uri()}):
            result["problems"].append("request: " + url)
        if result["dark"] != dark:
            result["problems"].append("the colour scheme was not applied")
        return result
    finally:
        urllib.request.urlopen(urllib.request.Request(f"{base}/session/{session}", method="DELETE"), timeout=60)


def main():
    page = pathlib.Path(sys.argv[1]).resolve()
    if not shutil.which("chromedriver") or not (shutil.which("chromium") or shutil.which("google-chrome")):
        print("no chromium or chromedriver: apt-get install chromium chromium-driver")
        return 77
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                if call(base + "/status")["ready"]:
                    break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
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
    finally:
        driver.terminate()
        driver.wait()


if __name__ == "__main__":
    sys.exit(main())
