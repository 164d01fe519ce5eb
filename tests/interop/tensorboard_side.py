"""TensorBoard's own reader, and a TensorBoard server: every record read back to its value."""
import glob
import io
import json
import math
import subprocess
import sys
import time
import urllib.request

from exchange import exact, loupe, path, peer, same, save

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.util import tensor_util

EVERYTHING = {kind: 0 for kind in ("scalars", "histograms", "images", "tensors", "graph", "compressedHistograms")}


def read(folder):
    reader = EventAccumulator(folder, size_guidance=EVERYTHING)
    reader.Reload()
    return reader


def records(folder):
    return sum(1 for file in glob.glob(folder + "/*tfevents*") for _ in RawEventFileLoader(file).Load())


def check_values():
    rng = np.random.default_rng(5)
    values = rng.normal(0, 1, (20, 300)) * 10.0 ** rng.integers(-14, 15, (20, 300))
    values[0, :5] = [0, -0.0, 1, -1, 1e30]
    pixels = rng.integers(0, 256, (31, 17, 3)).astype(np.uint8)
    peer("events", save(values, "values.npy"), save(pixels, "image.npy"), path("events"))
    reader = read(path("events"))
    got = reader.Scalars("values")
    exact("EventAccumulator: scalars, to the float32", values.size, [e.step for e in got] == list(range(values.size)) and
          np.array_equal(np.float32([e.value for e in got]), np.float32(values.flatten())))
    histograms = [e.histogram_value for e in reader.Histograms("rows")]
    moments = lambda r: [len(r), r.min(), r.max(), r.sum(), (r ** 2).sum()]
    told = np.array([[h.num, h.min, h.max, h.sum, h.sum_squares] for h in histograms])
    same("EventAccumulator: histograms' count, least, largest, sum, sum of squares, each over numpy's", told / [moments(r) for r in values], np.ones((20, 5)), 1e-12)
    held = 0
    for h, row in zip(histograms, values):
        counts = np.diff([np.sum(row <= limit) for limit in h.bucket_limit], prepend=0)
        held += np.array_equal(counts, h.bucket)
    exact("EventAccumulator: histograms' buckets against numpy's counts", len(values), held == len(values))
    text = tensor_util.make_ndarray(reader.Tensors("note/text_summary")[0].tensor_proto)[0].decode()
    exact("EventAccumulator: text", 1, text == "**bold** \u00e9 \u6f22 | a table" and reader.Tensors("note/text_summary")[0].step == 3)
    image = reader.Images("picture")[0]
    exact("EventAccumulator: the image, decoded by Pillow, pixel for pixel", pixels.size, image.step == 5 and
          np.array_equal(np.array(Image.open(io.BytesIO(image.encoded_image_string))), pixels))
    nodes = {n.name: list(n.input) for n in reader.Graph().node}
    exact("EventAccumulator: the graph's nodes and edges", len(nodes), nodes == {
        "0/weight": [], "0/bias": [], "0/linear": ["0/weight", "0/bias"], "1/relu": ["0/linear"], "2/weight": [], "2/bias": [],
        "2/linear": ["1/relu", "2/weight", "2/bias"]})
    exact("EventAccumulator: records in the file, all read", records(path("events")), records(path("events")) == values.size + len(values) + 4)

    peer("restarted", path("restarted"))
    loss = {e.step: e.value for e in read(path("restarted")).Scalars("loss")}
    exact("a run that went on from step 60: EventAccumulator forgets steps 61 to 100", len(loss), loss == {s: 1 if s <= 60 else 2 for s in range(1, 81)})


def get(address):
    for _ in range(60):
        try:
            return urllib.request.urlopen(address, timeout=20).read()
        except OSError:
            time.sleep(1)
    raise SystemExit(f"no answer from {address}")


def check_run():
    """A real training: read whole by the reader, followed live and shown by the server."""
    board = path("board", "x")[:-1]
    server = subprocess.Popen([sys.executable, "-m", "tensorboard.main", "--logdir", board, "--port", "6017", "--reload_interval", "2"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        out = [json.loads(line) for line in loupe("train", "cnn", "--steps", 60, "--json", "--log-every", 10, "--logdir", board + "cnn").splitlines()]
        loupe("train", "gpt", "--steps", 30, "--layers", 1, "--width", 32, "--log-every", 10, "--logdir", board + "gpt")
        reader = read(board + "cnn")
        final = [e for e in out if e["event"] == "eval"][-1]
        same("loupe train cnn --logdir: test accuracy as the program printed it", [reader.Scalars("eval/test_accuracy")[-1].value], [final["test_accuracy"]], 1e-7)
        tags = reader.Tags()
        total = sum(len(reader.Scalars(t)) for t in tags["scalars"]) + sum(len(reader.Histograms(t)) for t in tags["histograms"])
        total += sum(len(reader.Tensors(t)) for t in tags["tensors"]) + sum(len(reader.Images(t)) for t in tags["images"]) + 2  # version, graph
        exact("loupe train cnn --logdir: records in the file, all read", records(board + "cnn"), records(board + "cnn") == total)
        exact("loupe train cnn --logdir: no value is NaN", total, all(math.isfinite(e.value) for t in tags["scalars"] for e in reader.Scalars(t)))
        time.sleep(6)  # the server looks at the folder every two seconds
        root = "http://localhost:6017/data/plugin/"
        scalars = json.loads(get(root + "scalars/tags"))
        exact("TensorBoard server: scalar tags of both runs", sum(map(len, scalars.values())),
              set(scalars) == {"cnn", "gpt"} and set(scalars["cnn"]) == set(tags["scalars"]))
        points = json.loads(get(root + "scalars/scalars?run=cnn&tag=train%2Floss"))
        exact("TensorBoard server: the points of train/loss", len(points), [[p[1], np.float32(p[2])] for p in points] == [[e.step, np.float32(e.value)] for e in reader.Scalars("train/loss")])
        exact("TensorBoard server: histograms", len(tags["histograms"]), set(json.loads(get(root + "histograms/tags"))["cnn"]) == set(tags["histograms"]))
        graph = get(root + "graphs/graph?run=cnn&conceptual=false").decode()
        exact("TensorBoard server: the graph", graph.count("node {"), 'name: "conv1/weight"' in graph and 'name: "fc2/linear"' in graph)
    finally:
        server.terminate()
        server.wait()


def check():
    check_values()
    check_run()
