#!/usr/bin/env python3
"""Writes tests/fuzz/seeds/: a few tiny valid files for the targets whose formats have no fixture."""
import gzip
import os
import zlib

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds")


def seed(target, name, content):
    os.makedirs(os.path.join(HERE, target), exist_ok=True)
    with open(os.path.join(HERE, target, name), "wb") as f:
        f.write(content)


idx = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
seed("idx", "plain", idx)
seed("idx", "gzip", gzip.compress(idx, mtime=0))
seed("idx", "f32", bytes([0, 0, 13, 1, 0, 0, 0, 1, 63, 192, 0, 0]))
seed("cifar10", "one", bytes([3]) + bytes(range(256)) * 12)
for level in (0, 1, 9):
    packed = zlib.compressobj(level, zlib.DEFLATED, -15)
    seed("inflate", f"level{level}", packed.compress(b"abcabcabd" * 20) + packed.flush())
seed("json", "all", b'{"a":[1,-2.5e3,true,false,null,"x\\u00e9\\ud83d\\ude00\\n"],"b":{}}')
seed("text", "utf8", "héllo 中 😀\n".encode())
seed("wordpiece", "mixed", "Élan [MASK] 中文 don't 😀 \u0301\u200b각 ab.".encode())
