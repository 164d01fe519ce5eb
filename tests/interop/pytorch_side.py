"""PyTorch: models trained on either side, in files, on the other."""
import os
import sys

from exchange import ROOT, exact, loupe, path, peer, same, save

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.path.insert(0, os.path.join(ROOT, "tests", "fixtures"))
from make_models import images  # noqa: E402
from torch_models import ResNetCifar, SmallCnn  # noqa: E402

torch.set_default_dtype(torch.float32)


def make(kind):
    return ResNetCifar(in_channels=1) if kind == "resnet20" else SmallCnn(norm=kind, dropouts=(0, 0, 0))


def trained_on(kind, file, x, t, dtype):
    """The losses of further steps in PyTorch."""
    model = make(kind).to(dtype).train()
    model.load_state_dict(load_file(file))
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-3), []
    for images, labels in zip(x, t):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images.to(dtype)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def check():
    torch.manual_seed(1)
    for kind in ("batch", "layer", "group", "none", "resnet20"):
        name = "ResNetCifar(20)" if kind == "resnet20" else f"SmallCnn({kind})"
        steps, batch = (6, 8) if kind == "resnet20" else (20, 32)
        x, t = images(1, 28, steps + 10, batch)
        x = x.float() / 255
        test = images(1, 28, 1, 256)[0][0].float() / 255

        # PyTorch trains, Loupe evaluates, and trains on.
        model = make(kind).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for s in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x[s]), t[s]).backward()
            optimizer.step()
        file = path(kind, "torch.safetensors")
        save_file(model.state_dict(), file, metadata={"format": "pt"})
        with torch.no_grad():
            want = model.eval()(test).numpy()
        peer("logits", kind, file, save(test.numpy(), "x.npy"), path("logits.npy"))
        same(f"{name}: trained in PyTorch, logits in Loupe", np.load(path("logits.npy")), want, 1e-5)

        peer("train-on", kind, file, save(x[steps:].numpy(), "x.npy"), save(t[steps:].numpy(), "t.npy"), path("losses.npy"), path(kind, "on.safetensors"))
        narrow, wide = trained_on(kind, file, x[steps:], t[steps:], torch.float32), trained_on(kind, file, x[steps:], t[steps:], torch.float64)
        losses = np.load(path("losses.npy"))
        same(f"{name}: trains on in Loupe: the first loss", losses[:1], wide[:1], 1e-5)
        # Adam magnifies rounding from step to step, PyTorch's own as well: both are held against PyTorch in f64.
        bound = max(1e-3, 2 * np.abs(narrow - wide).max() / np.abs(wide).max())
        same(f"{name}: trains on in Loupe: ten losses against PyTorch's in f64", losses, wide, bound)

        # What Loupe wrote opens in PyTorch.
        mine = load_file(path(kind, "on.safetensors"))
        back = make(kind)
        back.load_state_dict(mine, strict=True)
        with torch.no_grad():
            want = back.eval()(test).numpy()
        peer("logits", kind, path(kind, "on.safetensors"), save(test.numpy(), "x.npy"), path("logits.npy"))
        same(f"{name}: written by Loupe, strict=True in PyTorch, logits", np.load(path("logits.npy")), want, 1e-5)
        counted = [v.item() for k, v in mine.items() if k.endswith("num_batches_tracked")]
        exact(f"{name}: num_batches_tracked counts on", max(1, len(counted)), all(n == steps + 10 for n in counted))
        save_file(back.state_dict(), path(kind, "again.safetensors"), metadata={"format": "pt"})
        exact(f"{name}: Loupe's file is safetensors' own, byte for byte", 1,
              open(path(kind, "on.safetensors"), "rb").read() == open(path(kind, "again.safetensors"), "rb").read())

    # The program's own training, and its dropout.
    loupe("train", "cnn", "--steps", 100, "--out", path("run"))
    model = SmallCnn()
    model.load_state_dict(load_file(path("run", "model.safetensors")), strict=True)
    with torch.no_grad():
        want = model.eval()(test).numpy()
    peer("logits", "batch", path("run", "model.safetensors"), save(test.numpy(), "x.npy"), path("logits.npy"))
    same("loupe train cnn: strict=True in PyTorch, logits", np.load(path("logits.npy")), want, 1e-5)
    with safe_open(path("run", "model.safetensors"), "pt") as f:
        exact("loupe train cnn: the file says format pt", 1, f.metadata() == {"format": "pt"})
