"""Writes torch.safetensors: what PyTorch gives for the cases of the exercises, in f64.

  python3 exercises/torch_cases.py      (needs torch and safetensors; the file is committed)
"""
import os

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)
out = {}


def keep(name, **tensors):
    for key, value in tensors.items():
        out[f"{name}.{key}"] = value.detach().clone().contiguous()


def leaf(*shape):
    return torch.randn(*shape).requires_grad_()


# BatchNorm, one call in training
x, weight, bias, dy = leaf(6, 3), leaf(3), leaf(3), torch.randn(6, 3)
mean, var = torch.randn(3), torch.rand(3) + 0.5
new_mean, new_var = mean.clone(), var.clone()
y = F.batch_norm(x, new_mean, new_var, weight, bias, training=True)
y.backward(dy)
keep("batch_norm", x=x, weight=weight, bias=bias, running_mean=mean, running_var=var, y=y, new_mean=new_mean, new_var=new_var,
     dy=dy, dx=x.grad, dweight=weight.grad, dbias=bias.grad)

# LayerNorm
x, weight, bias, dy = leaf(2, 3, 5), leaf(5), leaf(5), torch.randn(2, 3, 5)
y = F.layer_norm(x, (5,), weight, bias)
y.backward(dy)
keep("layer_norm", x=x, weight=weight, bias=bias, y=y, dy=dy, dx=x.grad, dweight=weight.grad, dbias=bias.grad)

# RMSNorm
x, weight, dy = leaf(4, 5), leaf(5), torch.randn(4, 5)
y = F.rms_norm(x, (5,), weight, eps=1e-6)
y.backward(dy)
keep("rms_norm", x=x, weight=weight, y=y, dy=dy, dx=x.grad, dweight=weight.grad)

# Cross-entropy
x, target = leaf(5, 4), torch.tensor([0, 3, 1, 1, 2])
loss = F.cross_entropy(x, target)
loss.backward()
keep("cross_entropy", x=x, target=target, loss=loss, dx=x.grad)

# Convolution
x, weight, bias = torch.randn(2, 3, 6, 7), torch.randn(4, 3, 3, 3), torch.randn(4)
keep("conv", x=x, weight=weight, bias=bias, y=F.conv2d(x, weight, bias, stride=2, padding=1))

# Attention, causal, and with a padding mask
q, k, v, dy = leaf(2, 4, 3), leaf(2, 4, 3), leaf(2, 4, 3), torch.randn(2, 4, 3)
y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
y.backward(dy)
keep("attention", q=q, k=k, v=v, y=y, dy=dy, dq=q.grad, dk=k.grad, dv=v.grad)

# Optimizers: five steps from the same weights with the same gradients
gradients = torch.randn(5, 4)
for name, make in (("sgd", lambda w: torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.01)),
                   ("adam", lambda w: torch.optim.Adam([w], lr=0.01))):
    w = torch.linspace(-1, 1, 4).requires_grad_()
    start, optimizer, path = w.detach().clone(), make(w), []
    for g in gradients:
        w.grad = g.clone()
        optimizer.step()
        path.append(w.detach().clone())
    keep(name, start=start, gradients=gradients, path=torch.stack(path))

# Clipping
a, b = torch.randn(3), torch.randn(2, 2)
pa, pb = torch.zeros(3, requires_grad=True), torch.zeros(2, 2, requires_grad=True)
pa.grad, pb.grad = a.clone() * 3, b.clone() * 3
keep("clip", a=pa.grad, b=pb.grad)
total = torch.nn.utils.clip_grad_norm_([pa, pb], 1.5)
keep("clip", total=total, clipped_a=pa.grad, clipped_b=pb.grad)

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch.safetensors")
save_file(out, path, metadata={"torch": torch.__version__})
print(f"{path}: {len(out)} tensors, torch {torch.__version__}")
