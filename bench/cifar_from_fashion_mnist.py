#!/usr/bin/env python3
"""Writes Fashion-MNIST in CIFAR-10's binary format, to try what reads that: images in a frame of two black pixels, once a colour.

    bench/cifar_from_fashion_mnist.py FOLDER [IMAGES_OF_A_FILE]
    loupe train cnn --dataset cifar10 --data FOLDER --model resnet20 --augment
"""
import gzip
import os
import sys

SOURCE = "/usr/share/datasets/fashion-mnist"


def read(part, images):
    with gzip.open(f"{SOURCE}/{part}-images-idx3-ubyte.gz") as f:
        pixels = f.read()[16:]
    with gzip.open(f"{SOURCE}/{part}-labels-idx1-ubyte.gz") as f:
        labels = f.read()[8:]
    for i, label in enumerate(labels[:images]):
        image = pixels[784 * i:784 * (i + 1)]
        rows = [b"\0\0" + image[28 * y:28 * (y + 1)] + b"\0\0" for y in range(28)]
        channel = bytes(64) + b"".join(rows) + bytes(64)
        yield bytes([label]) + 3 * channel


def main():
    folder, each = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    os.makedirs(folder, exist_ok=True)
    train = list(read("train", 5 * each))
    files = {f"data_batch_{i + 1}": train[each * i:each * (i + 1)] for i in range(5)}
    files["test_batch"] = list(read("t10k", each))
    for name, records in files.items():
        with open(os.path.join(folder, name + ".bin"), "wb") as f:
            f.write(b"".join(records))


main()
