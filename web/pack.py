#!/usr/bin/env python3
"""Makes the live lesson's page: one file that needs no other and asks for nothing.

usage: pack.py ROOT GLUE WASM OUT
ROOT has web/, view/page.css and lesson/; GLUE and WASM are what emscripten wrote. Besides OUT (live.html) it writes, into OUT's
folder, the page's data as it is: images.bin (2,048 training images of 28 x 28 bytes, their labels, then 1,024 test images and
labels, of the package dataset-fashion-mnist) and words.txt (of wamerican's lines made of a-z alone every eighth).
"""
import base64
import gzip
import json
import pathlib
import re
import struct
import sys

TRAIN, TEST = 2048, 1024  # as web/live.h
IMAGES = pathlib.Path("/usr/share/datasets/fashion-mnist")
WORDS = pathlib.Path("/usr/share/dict/american-english")
STOPS = {"C1": "C1b1", "C2": "C2c", "C5": "C5a", "C7": "C7a", "C9": "C9a1", "C11": "C11a"}


def idx(name, count):
    """The bytes of the first `count` items of an IDX file, gzip-compressed or not."""
    path = next(p for p in (IMAGES / (name + ".gz"), IMAGES / name) if p.exists())
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rank = data[3]
    sizes = struct.unpack(f">{rank}I", data[4:4 + 4 * rank])
    item = 1
    for size in sizes[1:]:
        item *= size
    return data[4 + 4 * rank:][:count * item]


def images():
    return (idx("train-images-idx3-ubyte", TRAIN) + idx("train-labels-idx1-ubyte", TRAIN) +
            idx("t10k-images-idx3-ubyte", TEST) + idx("t10k-labels-idx1-ubyte", TEST))


def words():
    lines = [w for w in WORDS.read_text(encoding="utf-8").split("\n") if re.fullmatch("[a-z]+", w)]
    return "".join(w + "\n" for w in lines[::8]).encode()


def parts(text):
    """The "== name" parts of one of the lesson's texts, lines joined."""
    found = {}
    for part in re.split(r"^== ", text, flags=re.M)[1:]:
        name, _, body = part.partition("\n")
        paragraphs = [" ".join(p.split()) for p in body.strip().split("\n\n")]
        found[name.strip()] = paragraphs
    return found


def lesson(root):
    """Of each stop: title, what is said, guesses, and the program's verdict of its line as shipped."""
    verdicts = {}
    for line in (root / "lesson/shipped.txt").read_text().splitlines():
        if line.startswith("{"):
            event = json.loads(line)
            if event.get("event") == "claim":
                verdicts[event["id"]] = event
    told = {}
    for claim, line in STOPS.items():
        text = parts((root / f"lesson/{claim.lower()}.txt").read_text())
        v = verdicts[line]
        told[claim] = {"title": text["title"][0], "says": text["says"][0], "guesses": text["guess"], "lines": {
            line: {"title": text[line][0], **{k: v[k] for k in ("verdict", "effect", "ci", "unit", "seeds")}}}}
    return told


def packed(data):
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def plain_script(name, text):
    assert "</script" not in text, name
    return f'<script type="text/plain" id="{name}">{text}</script>\n'


def main():
    root, glue, wasm, out = map(pathlib.Path, sys.argv[1:])
    web = root / "web"
    (out.parent / "images.bin").write_bytes(images())
    (out.parent / "words.txt").write_bytes(words())
    data = {"train": TRAIN, "test": TEST, "lesson": lesson(root)}
    scripts = plain_script("glue", glue.read_text()) + plain_script("worker", (web / "worker.js").read_text())
    scripts += plain_script("wasm", packed(wasm.read_bytes()))
    code = "".join((web / name).read_text() for name in ("live.js", "draw.js", "stops.js"))
    scripts += f"<script>const kData = {json.dumps(data, ensure_ascii=False)};\n{code}</script>\n"
    # The spirals need no data: they train while the browser reads on.
    scripts += plain_script("images", packed(images())) + plain_script("words", packed(words()))
    style = (root / "view/page.css").read_text() + (web / "live.css").read_text()
    page = (web / "live.html").read_text().replace("@STYLE@", style).replace("@SCRIPTS@", scripts)
    out.write_text(page)
    print(f"{out}: {len(page.encode()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
