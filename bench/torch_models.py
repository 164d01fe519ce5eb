"""Loupe's models, written in PyTorch with the same names, for the fixtures and for the benchmark's peer."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class SmallCnn(nn.Module):
    def __init__(self, in_channels=1, classes=10, widths=(32, 64, 64, 128), hidden=128, norm="batch", dropouts=(0.25, 0.25, 0.4),
                 image_size=28):
        super().__init__()
        bias = norm == "none"
        make = {"batch": nn.BatchNorm2d, "layer": lambda c: nn.GroupNorm(1, c), "group": lambda c: nn.GroupNorm(8, c),
                "none": lambda c: nn.Identity()}[norm]
        channels = (in_channels, *widths)
        for i in range(4):
            self.add_module(f"conv{i + 1}", nn.Conv2d(channels[i], channels[i + 1], 3, padding=1, bias=bias))
            self.add_module(f"norm{i + 1}", make(channels[i + 1]))
        self.fc1 = nn.Linear(widths[3] * (image_size // 8) ** 2, hidden, bias=bias)
        self.norm5 = nn.BatchNorm1d(hidden) if norm == "batch" else nn.Identity() if norm == "none" else nn.GroupNorm(1, hidden)  # LayerNorm
        self.fc2 = nn.Linear(hidden, classes)
        self.dropouts = dropouts

    def forward(self, x):
        drop = lambda t, p: F.dropout(t, p, self.training) if p else t
        d = self.dropouts
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.relu(self.norm2(self.conv2(x)))
        x = drop(F.max_pool2d(F.relu(self.norm3(self.conv3(x))), 2), d[0])
        x = drop(F.max_pool2d(F.relu(self.norm4(self.conv4(x))), 2), d[1])
        x = drop(F.relu(self.norm5(self.fc1(x.flatten(1)))), d[2])
        return self.fc2(x)


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.downsample = None
        if stride != 1 or cin != cout:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNetCifar(nn.Module):
    """Depth 6n+2 with torchvision's names."""

    def __init__(self, depth=20, width=16, classes=10, in_channels=3):
        super().__init__()
        n = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        cin = width
        for stage in range(3):
            cout = width << stage
            blocks = [BasicBlock(cin if i == 0 else cout, cout, 2 if stage and i == 0 else 1) for i in range(n)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            cin = cout
        self.fc = nn.Linear(cin, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(width, 3 * width), "c_proj": nn.Linear(width, width)})
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x, cache=None):
        b, t, c = x.shape
        q, k, v = self.attn.c_attn(self.ln_1(x)).split(c, 2)
        q, k, v = (u.view(b, t, self.heads, c // self.heads).transpose(1, 2) for u in (q, k, v))
        if cache is not None:  # [k, v, length]: preallocated, filled up to `length`
            n = cache[2]
            cache[0][:, :, n:n + t], cache[1][:, :, n:n + t] = k, v
            cache[2] = n + t
            k, v = cache[0][:, :, :n + t], cache[1][:, :, :n + t]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=t > 1)
        x = x + self.attn.c_proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    """GPT-2 with Transformers' names. Weights are held as nn.Linear does; `state` and `load` speak Conv1D's (in, out)."""

    def __init__(self, vocab=65, context=64, width=128, layers=4, heads=4):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() > 1:
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * layers) if "c_proj" in name else 0.02)

    def forward(self, ids, caches=None):
        start = caches[0][2] if caches else 0
        x = self.wte(ids) + self.wpe(torch.arange(start, start + ids.shape[1]))
        for i, block in enumerate(self.h):
            x = block(x, caches[i] if caches else None)
        return F.linear(self.ln_f(x), self.wte.weight)

    def state(self):
        turn = lambda k, v: v.t().contiguous() if v.dim() == 2 and k.startswith("h.") else v
        return {"transformer." + k: turn(k, v) for k, v in self.state_dict().items()}

    def load(self, state):
        turn = lambda k, v: v.t() if v.dim() == 2 and k.startswith("h.") else v
        plain = {k.removeprefix("transformer."): v for k, v in state.items() if k != "lm_head.weight"}
        self.load_state_dict({k: turn(k, v) for k, v in plain.items()})


class Mlp(nn.Sequential):
    def __init__(self, *sizes):
        layers = []
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            layers += [nn.Linear(a, b)] + [nn.ReLU()] * (i + 2 < len(sizes))
        super().__init__(*layers)


class BenchCnn(nn.Sequential):
    """conv 1->32, BN, ReLU, pool, conv 32->64, BN, ReLU, pool, fc 3136->128, ReLU, fc 10: the benchmark's `cnn`."""

    def __init__(self):
        super().__init__(nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))


class Bert(nn.Module):
    """Transformers' BertModel without pooler, under its names: post-norm, exact gelu, attention by scaled_dot_product_attention."""

    def __init__(self, vocab=30522, width=384, layers=6, heads=12, inner=1536, context=512):
        super().__init__()
        self.heads = heads
        norm = lambda: nn.LayerNorm(width, eps=1e-12)
        self.embeddings = nn.ModuleDict({
            "word_embeddings": nn.Embedding(vocab, width), "position_embeddings": nn.Embedding(context, width),
            "token_type_embeddings": nn.Embedding(2, width), "LayerNorm": norm()})
        dense = lambda a, b: nn.ModuleDict({"dense": nn.Linear(a, b), "LayerNorm": norm()})
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(nn.ModuleDict({
            "attention": nn.ModuleDict({"self": nn.ModuleDict({n: nn.Linear(width, width) for n in ("query", "key", "value")}),
                                        "output": dense(width, width)}),
            "intermediate": nn.ModuleDict({"dense": nn.Linear(width, inner)}),
            "output": dense(inner, width)}) for _ in range(layers))})

    def embed(self, ids):
        e = self.embeddings
        return e.LayerNorm(e.word_embeddings(ids) + e.position_embeddings.weight[:ids.shape[1]] + e.token_type_embeddings.weight[0])

    def forward(self, ids):
        x = self.embed(ids)
        b, t, c = x.shape
        for layer in self.encoder.layer:
            a = layer.attention
            q, k, v = (a["self"][n](x).view(b, t, self.heads, -1).transpose(1, 2) for n in ("query", "key", "value"))
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c)
            x = a.output.LayerNorm(a.output.dense(y) + x)
            y = layer.output.dense(F.gelu(layer.intermediate.dense(x)))
            x = layer.output.LayerNorm(y + x)
        return x

    def fast_path(self):
        """The layers as nn.TransformerEncoder with the same weights, for PyTorch's fused inference path."""
        width, inner = self.embeddings.word_embeddings.weight.shape[1], self.encoder.layer[0].intermediate.dense.out_features
        make = lambda: nn.TransformerEncoderLayer(width, self.heads, inner, 0.0, "gelu", 1e-12, batch_first=True)
        encoder = nn.TransformerEncoder(make(), len(self.encoder.layer), enable_nested_tensor=False)
        for to, layer in zip(encoder.layers, self.encoder.layer):
            a = layer.attention
            qkv = [a["self"][n] for n in ("query", "key", "value")]
            to.self_attn.in_proj_weight.data = torch.cat([m.weight.data for m in qkv])
            to.self_attn.in_proj_bias.data = torch.cat([m.bias.data for m in qkv])
            for mine, theirs in ((to.self_attn.out_proj, a.output.dense), (to.norm1, a.output.LayerNorm),
                                 (to.linear1, layer.intermediate.dense), (to.linear2, layer.output.dense),
                                 (to.norm2, layer.output.LayerNorm)):
                mine.load_state_dict(theirs.state_dict())
        return encoder.eval()
