"""PyTorch's side of the benchmark: the same work as `loupe bench`, at PyTorch's best settings.

A server: reads one JSON command a line, answers with one JSON line. `compare` starts it, once per thread count and allocator.
  {"cmd": "time", "work": W, "variant": V, "seconds": S} -> {"ms": median of one step, "steps": n, "compile_seconds": ...}
  {"cmd": "check", "work": W, "file": F}                 -> {"check": [...]}; F receives the weights and data it started from
  {"cmd": "info"}                                        -> versions
"""
import json
import os
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import torch_models as models  # noqa: E402


def optimizer(variant, kind, params, **options):
    """Fused unless the variant says otherwise; `default` is what a user gets who asks for nothing."""
    how = {} if "default" in variant else {"foreach": True} if "foreach" in variant else {"fused": True}
    return kind(params, **options, **how)


def last(variant):
    return torch.channels_last if "channels_last" in variant else torch.contiguous_format


class Training:
    """Steps of an optimizer on a model. `loss(model, data)` over a few fixed batches in turn."""

    def __init__(self, model, batches, kind, options, variant, loss):
        self.model, self.batches = model.to(memory_format=last(variant)) if "channels_last" in variant else model, batches
        if "channels_last" in variant:
            self.batches = [(x.to(memory_format=last(variant)), t) for x, t in batches]
        self.opt, self.loss, self.at = optimizer(variant, kind, model.parameters(), **options), loss, 0
        self.call = torch.compile(self.model) if "compile" in variant else self.model

    def tensors(self):
        state = self.model.state() if hasattr(self.model, "state") else self.model.state_dict()
        out = {f"model/{k}": v for k, v in state.items()}
        out["x"], out["t"] = torch.stack([x for x, _ in self.batches]), torch.stack([t for _, t in self.batches])
        return out

    def step(self):
        x, t = self.batches[self.at % len(self.batches)]
        self.at += 1
        self.opt.zero_grad(set_to_none=True)
        loss = self.loss(self.call(x), t)
        loss.backward()
        self.opt.step()
        return loss

    def check(self):
        return [self.step().item() for _ in range(5)]


class Op:
    """Forward and backward of one function: `f(*inputs)` with a fixed upstream gradient."""

    def __init__(self, f, names, inputs, variant, parameters=()):
        inputs = [x.to(memory_format=last(variant)) if x.dim() == 4 and "channels_last" in variant else x for x in inputs]
        self.names, self.inputs = names, [x.requires_grad_() for x in inputs]
        self.f = torch.compile(f) if "compile" in variant else f
        with torch.no_grad():
            y = f(*self.inputs)
        self.dy = torch.randn_like(y)

    def tensors(self):
        return {**dict(zip(self.names, self.inputs)), "dy": self.dy}

    def step(self):
        for x in self.inputs:
            x.grad = None
        y = self.f(*self.inputs)
        y.backward(self.dy)
        return y

    def check(self):
        y = self.step()
        return [y.norm().item()] + [x.grad.norm().item() for x in self.inputs]


class Inference:
    def __init__(self, model, ids, variant):
        self.model, self.ids = model.eval(), ids
        if "fast_path" in variant:
            encoder = model.fast_path()
            self.f = lambda i: encoder(model.embed(i))
        else:
            self.f = torch.compile(model) if "compile" in variant else model

    def tensors(self):
        return {"ids": self.ids, **{f"model/{k}": v for k, v in self.model.state_dict().items()}}

    def step(self):
        with torch.inference_mode():
            return self.f(self.ids)

    def check(self):
        y = self.step()
        return [y.norm().item(), y[0, 0].abs().sum().item(), y[-1, -1].abs().sum().item()]


class Generate:
    """Greedy tokens with a preallocated key-value cache; a step is one token."""

    def __init__(self, model, prompt, tokens, variant):
        self.model, self.prompt, self.tokens = model.eval(), prompt, tokens
        self.call = torch.compile(model) if "compile" in variant else model
        block = model.h[0]
        width = model.wte.weight.shape[1]
        shape = (1, block.heads, model.wpe.weight.shape[0], width // block.heads)
        self.caches = [[torch.zeros(shape), torch.zeros(shape), 0] for _ in model.h]

    def tensors(self):
        return {"ids": self.prompt, **{f"model/{k}": v for k, v in self.model.state().items()}}

    def run(self):
        with torch.inference_mode():
            for cache in self.caches:
                cache[2] = 0
            ids, out = self.prompt, []
            for _ in range(self.tokens):
                ids = self.call(ids, self.caches)[:, -1].argmax(-1, keepdim=True)
                out.append(ids)
            return torch.cat(out, 1)

    def step(self):
        return self.run()

    def check(self):
        return self.run()[0].tolist()


class Epoch:
    """An epoch of Fashion-MNIST from memory: shuffled indices, gathered bytes, scaled to floats; nothing a DataLoader would add."""

    whole = True  # a step is the epoch: one is enough per round

    def __init__(self, variant, data):
        import gzip
        read = lambda f, skip: torch.frombuffer(bytearray(gzip.open(os.path.join(data, f)).read()[skip:]), dtype=torch.uint8)
        self.x = read("train-images-idx3-ubyte.gz", 16).view(-1, 1, 28, 28)
        self.t = read("train-labels-idx1-ubyte.gz", 8).long()
        model = models.SmallCnn()
        self.model = model.to(memory_format=last(variant))
        self.call = torch.compile(self.model) if "compile" in variant else self.model
        self.opt = optimizer(variant, torch.optim.AdamW, model.parameters(), lr=1e-3)
        self.variant = variant

    def step(self):
        order = torch.randperm(len(self.x))
        for at in range(0, len(order) - 127, 128):
            pick = order[at:at + 128]
            x = self.x[pick].float().sub_(72.94).div_(90.02).to(memory_format=last(self.variant))
            self.opt.zero_grad(set_to_none=True)
            loss = F.cross_entropy(self.call(x), self.t[pick])
            loss.backward()
            self.opt.step()
        return loss


def images(variant, make, channels, size, kind=torch.optim.Adam, **options):
    torch.manual_seed(1)
    x = torch.randn(5, 64, channels, size, size)
    t = torch.randint(10, (5, 64))
    return Training(make(), list(zip(x, t)), kind, options, variant, F.cross_entropy)


def language(variant, batch, **config):
    torch.manual_seed(1)
    model = models.Gpt(**config)
    context = model.wpe.weight.shape[0]
    ids = torch.randint(65, (5, batch, context + 1))
    loss = lambda z, t: F.cross_entropy(z.view(-1, z.shape[-1]), t.reshape(-1))
    return Training(model, [(i[:, :-1].contiguous(), i[:, 1:].contiguous()) for i in ids], torch.optim.AdamW, {"lr": 1e-3},
                    variant, loss)


def perceptron(variant, batch, *sizes):
    torch.manual_seed(1)
    x, t = torch.randn(5, batch, sizes[0]), torch.randint(sizes[-1], (5, batch))
    return Training(models.Mlp(*sizes), list(zip(x, t)), torch.optim.Adam, {"lr": 1e-3}, variant, F.cross_entropy)


def norm(variant, kind, *shape):
    torch.manual_seed(1)
    x, c = torch.randn(*shape) * 2 + 0.5, shape[-1] if kind in ("layer", "rms") else shape[1]
    w, b = torch.rand(c) + 0.5, torch.randn(c)
    f = {
        "batch": lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, 1e-5),
        "group": lambda x, w, b: F.group_norm(x, 8, w, b, 1e-5),
        "instance": lambda x, w, b: F.instance_norm(x, None, None, w, b, True, 0.1, 1e-5),
        "layer": lambda x, w, b: F.layer_norm(x, (c,), w, b, 1e-5),
        "rms": lambda x, w: F.rms_norm(x, (c,), w, 1e-5),
    }[kind]
    names, inputs = ("x", "weight", "bias"), (x, w, b)
    return Op(f, names[:2] if kind == "rms" else names, inputs[:2] if kind == "rms" else inputs, variant)


def conv(variant, cin, cout, size, kernel=3, stride=1, groups=1):
    torch.manual_seed(1)
    x, w = torch.randn(64, cin, size, size), torch.randn(cout, cin // groups, kernel, kernel) * 0.1
    return Op(lambda x, w: F.conv2d(x, w, None, stride, kernel // 2, 1, groups), ("x", "weight"), (x, w), variant)


def attention(variant, batch, heads, length, depth):
    torch.manual_seed(1)
    qkv = [torch.randn(batch, heads, length, depth) for _ in range(3)]
    return Op(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), "qkv", qkv, variant)


def recurrent(variant, kind, steps, batch, width):
    """One layer over a sequence, from its weights."""
    torch.manual_seed(1)
    rows = {"lstm": 4, "gru": 3}[kind] * width
    inputs = [torch.randn(steps, batch, width)] + [torch.randn(*s) * 0.05 for s in ((rows, width), (rows, width), (rows,), (rows,))]
    h0 = torch.zeros(1, batch, width)
    options = (True, 1, 0.0, True, False, False)  # bias, layers, dropout, training, directions, batch first

    def f(x, *weights):
        return (torch._VF.lstm(x, (h0, h0), weights, *options) if kind == "lstm" else torch._VF.gru(x, h0, weights, *options))[0]

    return Op(f, ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh"), inputs, variant)


def encoder(variant, batch):
    torch.manual_seed(1)
    return Inference(models.Bert(), torch.randint(1000, 30000, (batch, 128)), variant)


def generate(variant):
    torch.manual_seed(1)
    model = models.Gpt(vocab=65, context=256, width=384, layers=6, heads=6)
    for p in model.parameters():
        p.data.add_(0.05 * torch.randn_like(p))
    return Generate(model, torch.arange(1, 9)[None], 128, variant)


LAYOUTS, PLAIN, SMALL = ("contiguous", "channels_last"), ("contiguous",), ("fused", "foreach", "default")
SGD = dict(kind=torch.optim.SGD, lr=0.005, momentum=0.9, weight_decay=5e-4)
# work: (make(variant), eager variants, what counts as one unit in a step)
WORKS = {
    "cnn": (lambda v: images(v, models.BenchCnn, 1, 28, lr=1e-3), LAYOUTS + ("contiguous default",)),
    "gpt": (lambda v: language(v, 12), PLAIN),
    "resnet20": (lambda v: images(v, models.ResNetCifar, 3, 32, **SGD), LAYOUTS),
    "gpt-6x384": (lambda v: language(v, 4, context=256, width=384, layers=6, heads=6), PLAIN),
    "mlp": (lambda v: perceptron(v, 64, 784, 256, 128, 10), SMALL),
    "tiny-mlp": (lambda v: perceptron(v, 16, 16, 32, 32, 2), SMALL),
    "norm-batch2d-32x28": (lambda v: norm(v, "batch", 64, 32, 28, 28), LAYOUTS),
    "norm-batch2d-64x14": (lambda v: norm(v, "batch", 64, 64, 14, 14), LAYOUTS),
    "norm-batch1d-128": (lambda v: norm(v, "batch", 64, 128), PLAIN),
    "norm-group-64x14": (lambda v: norm(v, "group", 64, 64, 14, 14), LAYOUTS),
    "norm-instance-64x14": (lambda v: norm(v, "instance", 64, 64, 14, 14), LAYOUTS),
    "norm-layer-768x128": (lambda v: norm(v, "layer", 12, 64, 128), PLAIN),
    "norm-layer-1024x384": (lambda v: norm(v, "layer", 4, 256, 384), PLAIN),
    "norm-rms-768x128": (lambda v: norm(v, "rms", 12, 64, 128), PLAIN),
    "norm-rms-1024x384": (lambda v: norm(v, "rms", 4, 256, 384), PLAIN),
    "conv-32-64-14": (lambda v: conv(v, 32, 64, 14), LAYOUTS),
    "conv-16-16-32": (lambda v: conv(v, 16, 16, 32), LAYOUTS),
    "conv-32-32-16": (lambda v: conv(v, 32, 32, 16), LAYOUTS),
    "conv-64-64-8": (lambda v: conv(v, 64, 64, 8), LAYOUTS),
    "conv-128-128-16": (lambda v: conv(v, 128, 128, 16), LAYOUTS),
    "conv-stride2-16-32-32": (lambda v: conv(v, 16, 32, 32, stride=2), LAYOUTS),
    "conv-1x1-64-128-16": (lambda v: conv(v, 64, 128, 16, kernel=1), LAYOUTS),
    "conv-depthwise-64-16": (lambda v: conv(v, 64, 64, 16, groups=64), LAYOUTS),
    "attention-64": (lambda v: attention(v, 12, 4, 64, 32), PLAIN),
    "attention-256": (lambda v: attention(v, 4, 6, 256, 64), PLAIN),
    "attention-1024": (lambda v: attention(v, 1, 6, 1024, 64), PLAIN),
    "lstm-64x32x128": (lambda v: recurrent(v, "lstm", 64, 32, 128), PLAIN),
    "lstm-32x16x64": (lambda v: recurrent(v, "lstm", 32, 16, 64), PLAIN),
    "gru-64x32x128": (lambda v: recurrent(v, "gru", 64, 32, 128), PLAIN),
    "bert-1": (lambda v: encoder(v, 1), ("sdpa", "fast_path")),
    "bert-32": (lambda v: encoder(v, 32), ("sdpa", "fast_path")),
    "generate": (generate, PLAIN),
    "epoch": (lambda v: Epoch(v, DATA), LAYOUTS),
}
DATA = "/usr/share/datasets/fashion-mnist"
alive = {}


def timed(name, variant, seconds):
    """Median of blocks of steps, each block at least 2 ms long, after two steps to warm up."""
    if (name, variant) not in alive:
        torch._dynamo.reset() if "compile" in variant else None
        start = time.perf_counter()
        alive[name, variant] = WORKS[name][0](variant)
        if not hasattr(alive[name, variant], "whole"):
            for _ in range(3):
                alive[name, variant].step()
        first = time.perf_counter() - start
    else:
        first = None
    work = alive[name, variant]
    whole = hasattr(work, "whole")
    start = time.perf_counter()
    if not whole:
        work.step()
        work.step()
    per = 1 if whole else max(1, int(0.002 / max((time.perf_counter() - start) / 2, 1e-7)))
    times, begin = [], time.perf_counter()
    while not times or (time.perf_counter() - begin < seconds and not whole):
        start = time.perf_counter()
        for _ in range(per):
            work.step()
        times.append((time.perf_counter() - start) / per)
    if isinstance(work, Generate):
        times = [t / work.tokens for t in times]
    answer = {"ms": 1e3 * statistics.median(times), "steps": per * len(times)}
    if first is not None and "compile" in variant:
        answer["compile_seconds"] = first
    return answer


def checked(name, file):
    from safetensors.torch import save_file
    variant = WORKS[name][1][0]
    work = WORKS[name][0](variant)
    save_file({k: v.detach().clone(memory_format=torch.contiguous_format) for k, v in work.tensors().items()}, file)
    return {"check": work.check()}


def main():
    global DATA
    threads = int(sys.argv[1])
    DATA = sys.argv[2] if len(sys.argv) > 2 else DATA
    torch.set_num_threads(threads)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["cmd"] == "time":
                answer = timed(command["work"], command["variant"], command["seconds"])
            elif command["cmd"] == "check":
                answer = checked(command["work"], command["file"])
            else:
                answer = {"torch": torch.__version__, "works": {k: list(v[1]) for k, v in WORKS.items()}}
        except Exception as error:  # reported, so that one failing setting does not end the run
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
