"""safetensors and numpy read what Loupe wrote, and Loupe reads what they wrote."""
from exchange import exact, path, peer, save

import numpy as np
import torch
from safetensors.torch import load_file, save_file


def check():
    rng = np.random.default_rng(4)
    # safetensors: kept types come back byte for byte; narrow ones come back as the values they stand for.
    kept = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "U8": torch.uint8, "BOOL": torch.bool}
    narrow = {"F16": (torch.float16, torch.float32), "BF16": (torch.bfloat16, torch.float32), "I32": (torch.int32, torch.int64)}
    shapes = [(), (0,), (3,), (2, 3, 4), (5, 0, 2), (1, 1, 1, 1, 7)]
    tensors = {f"{word}/{i}\u00e9": (torch.randn(shape) * 60).to(dtype) for word, dtype in kept.items() for i, shape in enumerate(shapes)}
    save_file(tensors, path("kept.safetensors"), metadata={"format": "pt", "key \"\\\n": "v\u6f22"})
    peer("rewrite", path("kept.safetensors"), path("kept2.safetensors"))
    # The reference writes its metadata in no fixed order, so the file of two entries is compared without them.
    save_file(tensors, path("kept.safetensors"), metadata={"format": "pt"})
    got = load_file(path("kept2.safetensors"))
    exact("safetensors F32 F64 I64 U8 BOOL: values read by the reference", len(tensors), all(torch.equal(got[k], v) and got[k].dtype == v.dtype for k, v in tensors.items()))
    peer("rewrite", path("kept.safetensors"), path("kept2.safetensors"))
    exact("safetensors F32 F64 I64 U8 BOOL: the file byte for byte", 1, open(path("kept.safetensors"), "rb").read() == open(path("kept2.safetensors"), "rb").read())
    tensors = {f"{word}{i}": (torch.randn(shape) * 60).to(dtype) for word, (dtype, _) in narrow.items() for i, shape in enumerate(shapes)}
    tensors["F16 all"] = torch.arange(65536, dtype=torch.int32).to(torch.uint16).view(torch.float16)
    tensors["BF16 all"] = torch.arange(65536, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    save_file(tensors, path("narrow.safetensors"))
    peer("rewrite", path("narrow.safetensors"), path("narrow2.safetensors"))
    got = load_file(path("narrow2.safetensors"))
    exact("safetensors F16 BF16 I32: values after conversion, all 2 x 65536 patterns", len(tensors),
          all(torch.equal(got[k].nan_to_num(nan=7), v.to(got[k].dtype).nan_to_num(nan=7)) if v.is_floating_point() else torch.equal(got[k], v.to(torch.int64)) for k, v in tensors.items()))

    # numpy
    arrays = {}
    for code in ("<f4", "<f8", "<i8", "|u1", "|b1"):
        for i, shape in enumerate(shapes):
            arrays[f"{code[1:]}_{i}"] = (rng.normal(0, 60, shape)).astype(code)
    same_bytes = 0
    for name, a in arrays.items():
        peer("rewrite", save(a, "a.npy"), path("b.npy"))
        back = np.load(path("b.npy"))
        same_bytes += back.dtype == a.dtype and np.array_equal(back, a) and open(path("a.npy"), "rb").read() == open(path("b.npy"), "rb").read()
    exact(".npy f4 f8 i8 u1 b1: numpy's own file, byte for byte", len(arrays), same_bytes == len(arrays))
    np.savez(path("a.npz"), **arrays)
    np.savez_compressed(path("c.npz"), **arrays)
    for source in ("a.npz", "c.npz"):
        peer("rewrite", path(source), path("b.npz"))
        with np.load(path("b.npz")) as back:
            exact(f".npz ({'stored' if source == 'a.npz' else 'deflated'}): every array read back by numpy", len(arrays),
                  sorted(back.files) == sorted(arrays) and all(back[k].dtype == a.dtype and np.array_equal(back[k], a) for k, a in arrays.items()))
    others = {"f2": "<f2", "i1": "|i1", "i2": "<i2", "i4": "<i4", "u2": "<u2", "u4": "<u4", "big endian f8": ">f8", "big endian i4": ">i4"}
    right = 0
    for code in others.values():
        a = np.asfortranarray(rng.integers(0, 100, (3, 4, 5)).astype(code))
        np.save(path("a.npy"), a)
        peer("rewrite", path("a.npy"), path("b.npy"))
        right += np.array_equal(np.load(path("b.npy")), a)
    exact(".npy f2 i1 i2 i4 u2 u4, big-endian, Fortran order: values", len(others), right == len(others))
