"""Headless Chromium over raw WebDriver, standard library only: what the checks of pages share."""
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

SKIPPED = 77  # the exit code of a check without chromium or chromedriver


def is_there():
    """True if both programs are there; says what to install otherwise."""
    if shutil.which("chromedriver") and (shutil.which("chromium") or shutil.which("google-chrome")):
        return True
    print("no chromium or chromedriver: apt-get install chromium chromium-driver")
    return False


def call(url, data=None):
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)["value"]


@contextlib.contextmanager
def driver():
    """A running chromedriver; gives its address."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                if call(base + "/status")["ready"]:
                    break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield base
    finally:
        process.terminate()
        process.wait()


class Page:
    """An open page."""

    def __init__(self, root, address):
        self.root, self.address = root, address

    def run(self, script):
        return call(self.root + "/execute/sync", {"script": script, "args": []})

    def run_async(self, script):
        """A script that may await; what it returns, or {"error": ...} where it threw."""
        return call(self.root + "/execute/async", {"args": [], "script": "const done = arguments[arguments.length - 1];"
                    f"(async () => {{ {script} }})().then(done, error => done({{ error: String(error) }}));"})

    def command(self, name, **parameters):
        """One of the browser's own (Chrome DevTools Protocol)."""
        return call(self.root + "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def problems(self, requests=(), own=()):
        """Requests that left the page (those that begin as one of `own` are its own) and errors of its scripts."""
        log = [json.loads(e["message"])["message"] for e in call(self.root + "/se/log", {"type": "performance"})]
        sent = {m["params"]["request"]["url"] for m in log if m["method"] == "Network.requestWillBeSent"}
        left = (sent | set(requests)) - {self.address}
        found = ["request: " + url for url in sorted(left) if not url.startswith(tuple(own))]
        for entry in call(self.root + "/se/log", {"type": "browser"}):
            if entry["level"] == "SEVERE":
                found.append("script: " + entry["message"])
        return found


@contextlib.contextmanager
def opened(page, base, width, height, dark=False, printed=False, calm=False, fragment="", slowed=1):
    """Opens `page` at exactly `width` CSS pixels (below the smallest window that Chromium opens, too), in a browser that is `slowed`
    times slower."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
             f"--window-size={width},{height}"] + (["--blink-settings=preferredColorScheme=0"] if dark else [])
    options = {"args": flags, "perfLoggingPrefs": {"enableNetwork": True}}
    session = call(base + "/session", {"capabilities": {"alwaysMatch": {
        "browserName": "chrome", "goog:chromeOptions": options, "timeouts": {"script": 110000},
        "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}}})["sessionId"]
    root = f"{base}/session/{session}"
    try:
        at = Page(root, page.as_uri())
        at.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
                    {"name": "prefers-reduced-motion", "value": "reduce" if calm else ""}]
        at.command("Emulation.setEmulatedMedia", media="print" if printed else "", features=features)
        if slowed != 1:
            at.command("Emulation.setCPUThrottlingRate", rate=slowed)
        call(root + "/url", {"url": page.as_uri() + fragment})
        yield at
    finally:
        urllib.request.urlopen(urllib.request.Request(root, method="DELETE"), timeout=60)


def run_in(page, script, base, width, height, dark=False, printed=False):
    """Opens `page` and runs `script`, which returns {problems, requests, ...}. Requests that leave the page and errors of its
    scripts join the problems."""
    with opened(page, base, width, height, dark, printed) as at:
        result = at.run(script)
        result["problems"] += at.problems(result["requests"])
        return result
