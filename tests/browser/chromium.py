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
    with urllib.request.urlopen(request, timeout=60) as response:
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


def run_in(page, script, base, width, height, dark=False, printed=False):
    """Opens `page` at exactly `width` CSS pixels (below the smallest window that Chromium opens, too) and runs `script`,
    which returns {problems, requests, ...}. Requests that leave the page and errors of its scripts join the problems."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
             f"--window-size={width},{height}"] + (["--blink-settings=preferredColorScheme=0"] if dark else [])
    options = {"args": flags, "perfLoggingPrefs": {"enableNetwork": True}}
    session = call(base + "/session", {"capabilities": {"alwaysMatch": {
        "browserName": "chrome", "goog:chromeOptions": options,
        "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}}})["sessionId"]
    root = f"{base}/session/{session}"
    try:
        call(root + "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}})
        call(root + "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
            "media": "print" if printed else "", "features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}})
        call(root + "/url", {"url": page.as_uri()})
        result = call(root + "/execute/sync", {"script": script, "args": []})
        log = [json.loads(e["message"])["message"] for e in call(root + "/se/log", {"type": "performance"})]
        sent = {m["params"]["request"]["url"] for m in log if m["method"] == "Network.requestWillBeSent"}
        for url in sorted((sent | set(result["requests"])) - {page.as_uri()}):
            result["problems"].append("request: " + url)
        for entry in call(root + "/se/log", {"type": "browser"}):
            if entry["level"] == "SEVERE":
                result["problems"].append("script: " + entry["message"])
        return result
    finally:
        urllib.request.urlopen(urllib.request.Request(root, method="DELETE"), timeout=60)
