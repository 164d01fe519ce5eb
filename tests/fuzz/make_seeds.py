#!/usr/bin/env python3
"""Writes tests/fuzz/seeds/: a few tiny valid files for the targets whose formats have no fixture."""
import gzip
import json
import os
import struct
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

seed("gzip", "one", gzip.compress(b"abcabcabd" * 20, mtime=0))
seed("gzip", "two_members", gzip.compress(b"first", mtime=0) + gzip.compress(b"", mtime=0))
seed("config", "bert.json", b'{"hidden_act":"gelu","hidden_size":384,"intermediate_size":1536,"layer_norm_eps":1e-12,'
     b'"max_position_embeddings":512,"num_attention_heads":12,"num_hidden_layers":6,"type_vocab_size":2,"vocab_size":30522}')
seed("config", "options.json", b'{"command":"train gpt","vocab":"\\nabc","context":64,"layers":4,"heads":4,"width":128,"norm":"layer"}')
seed("runs", "one", b'{"claim":"C1","arm":"batch","role":"verdict","seed":3,"dead":false,"seconds":1.5,"config":{"lr":"0.1"},'
     b'"metrics":{"loss":0.25,"gap":null},"series":{"loss":[1.0,0.5,null]}}')
seed("command_line", "cnn", b"train\ncnn\n--norm\nlayer\n--epochs=2\n--seed\n7\n--json")
seed("command_line", "gpt", b"train\ngpt\n--dropout\n0.1\n--width\n64\n--optimizer\nsgd\n--shadow\n2\n--resume")
seed("command_line", "sample", b"sample\n/tmp\n--prompt\nab\n--top-k\n5")
seed("command_line", "lesson", b"lesson\n--quick\n--claims\nC5,C9\n--seeds\n3")
seed("command_line", "embed", b"embed\n--model\n/\na text\nanother")


def safetensors(tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, (dtype, shape, values) in sorted(tensors.items(), key=lambda t: ("I64", "F64", "F32").index(t[1][0])):
        packed = struct.pack("<%d%s" % (len(values), {"F32": "f", "F64": "d", "I64": "q"}[dtype]), *values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


# What fuzz_checkpoint.cpp's own run would write after three steps.
weight, bias, count = ("F32", [3, 2], [0.5] * 6), ("F32", [3], [0.25] * 3), ("I64", [], [3])
checkpoint = {"model/weight": weight, "model/bias": bias, "optimizer/steps": count, "rates": ("F64", [3], [0.1, 0.1, 0.01]),
              "schedule": ("F64", [1], [3]), "loader": ("I64", [4], [7, 5, 1, 0]), "stream/data": ("I64", [2], [1, 2]),
              "number/step": ("F64", [], [3])}
for parameter, value in (("weight", weight), ("bias", bias)):
    checkpoint["optimizer/step." + parameter] = count
    checkpoint["optimizer/exp_avg." + parameter] = checkpoint["optimizer/exp_avg_sq." + parameter] = value
seed("checkpoint", "whole", safetensors(checkpoint, {"loupe_checkpoint": "1", "optimizer": "adamw", "options": "{}", "checksum": ""}))
