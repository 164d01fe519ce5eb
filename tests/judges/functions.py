"""PyTorch's ops -> Loupe's: for each entry of op_db the call that Loupe has for it. A function here has the signature of
the PyTorch op and returns a Call (samples.py), or says why Loupe cannot express the sample."""
import torch
import torch.nn.functional as F

from samples import DTYPES, Call, NotExpressible, is_tensor

OPS = {}  # op_db's name (with variant) -> function of (input, *args, **kwargs)


def op(*names):
    def register(f):
        for name in names:
            OPS[name] = f
        return f
    return register


def no(**options):
    """Options that Loupe does not have must be at the default, which is None or False."""
    for name, value in options.items():
        if value is not None and value is not False:
            raise NotExpressible(f"no option {name}")


def numbers(**options):
    for name, value in options.items():
        if is_tensor(value):
            raise NotExpressible(f"{name} is a number, not a tensor")


def dims(dim):
    if dim is None:
        return []
    return list(dim) if isinstance(dim, (list, tuple, torch.Size)) else [dim]


def same_dtype(x, dtype):
    """No other dtype than Loupe gives by itself: x's, and i64 for sums of integers."""
    if dtype is not None and (dtype != x.dtype or dtype in (torch.uint8, torch.bool)):
        raise NotExpressible("no option dtype")


def dtype_name(dtype):
    if dtype not in DTYPES:
        raise NotExpressible("dtypes are f32, f64, i64, u8, bool")
    return DTYPES[dtype]


def binary(row, x, other, swapped=False):
    """x op other, where one of them may be a number."""
    if is_tensor(x) and is_tensor(other):
        return Call(row, [other, x] if swapped else [x, other])
    if is_tensor(other):
        x, other, swapped = other, x, not swapped
    if isinstance(other, complex):
        raise NotExpressible("no complex numbers")
    return Call(row, [x], **({"self": other} if swapped else {"other": other}))


# --- Arithmetic ---

for name, row in {"add": "add", "sub": "sub", "mul": "mul", "div.no_rounding_mode": "div", "true_divide": "div", "__radd__": "add", "__rmul__": "mul"}.items():
    def arithmetic(x, other, alpha=1, rounding_mode=None, row=row):
        no(rounding_mode=rounding_mode)
        if alpha != 1:
            raise NotExpressible("no option alpha")
        return binary(row, x, other)
    op(name)(arithmetic)


@op("__rsub__", "rsub")
def rsub(x, other, alpha=1):
    if alpha != 1:
        raise NotExpressible("no option alpha")
    return binary("sub", x, other, swapped=True)


@op("__rdiv__")
def rdiv(x, other):
    return binary("div", x, other, swapped=True)


for name in ("logical_and", "logical_or", "logical_xor"):
    op(name)(lambda x, other, row=name: Call(row, [x, other]))


@op("pow")
def pow_(x, exponent):
    return binary("pow", x, exponent)


@op("__rpow__")
def rpow(x, base):
    return binary("pow", x, base, swapped=True)


@op("remainder")
def remainder(x, other):
    if not is_tensor(x) or not is_tensor(other) and isinstance(other, complex):
        raise NotExpressible("remainder of a number")
    return binary("remainder", x, other)


for name in ("eq", "ne", "lt", "le", "gt", "ge"):
    op(name)(lambda x, other, row=name: binary(row, x, other))

UNARY = {"neg": "neg", "square": "square", "reciprocal": "reciprocal", "sqrt": "sqrt", "rsqrt": "rsqrt", "exp": "exp", "log": "log", "abs": "abs",
         "sign": "sign", "erf": "erf", "sigmoid": "sigmoid", "tanh": "tanh", "logical_not": "logical_not", "expm1": "expm1", "log1p": "log1p", "sin": "sin", "cos": "cos",
         "floor": "floor", "ceil": "ceil", "trunc": "trunc", "isnan": "isnan", "isinf": "isinf", "isfinite": "isfinite", "contiguous": "contiguous", "t": "t"}
for name, row in UNARY.items():
    def unary(x, memory_format=None, row=row):
        no(memory_format=memory_format)
        return Call(row, [x])
    op(name)(unary)
op("round")(lambda x: Call("round", [x]))
for name, row in {"relu": "relu", "silu": "silu", "selu": "selu", "mish": "mish", "hardsigmoid": "hardsigmoid", "hardswish": "hardswish", "logsigmoid": "log_sigmoid", "relu6": "relu6"}.items():
    def activation(x, inplace=False, row=row):
        no(inplace=inplace)
        return Call(row, [x])
    op(f"nn.functional.{name}")(activation)


@op("maximum", "max.binary")
def maximum(x, other):
    return Call("maximum", [x, other])


@op("minimum", "min.binary")
def minimum(x, other):
    return Call("minimum", [x, other])


@op("clamp")
def clamp(x, min=None, max=None):
    if is_tensor(min) or is_tensor(max):
        if not all(b is None or is_tensor(b) for b in (min, max)):
            raise NotExpressible("a bound as a tensor, the other as a number")
        return Call("clamp", [x, min, max])
    return Call("clamp", [x], min=min, max=max)


@op("clamp_min")
def clamp_min(x, min):
    return clamp(x, min=min)


@op("clamp_max")
def clamp_max(x, max):
    return clamp(x, max=max)


@op("where")
def where(x, condition=None, other=None):
    if not is_tensor(x) and not is_tensor(other):
        raise NotExpressible("where of two numbers")
    if not is_tensor(other):
        return Call("where", [condition, x], other=other)
    if not is_tensor(x):
        return Call("where", [condition, other], self=x)
    return Call("where", [condition, x, other])


@op("masked_fill")
def masked_fill(x, mask, value):
    numbers(value=value)
    return Call("masked_fill", [x, mask], value=value)




op("tril")(lambda x, diagonal=0: Call("tril", [x], diagonal=diagonal))
op("triu")(lambda x, diagonal=0: Call("triu", [x], diagonal=diagonal))


@op("equal")
def equal(x, other):
    return Call("equal", [x, other])


@op("allclose")
def allclose(x, other, rtol=1e-5, atol=1e-8, equal_nan=False):
    no(equal_nan=equal_nan)
    return Call("allclose", [x, other], rtol=rtol, atol=atol)


@op("nn.functional.leaky_relu")
def leaky_relu(x, negative_slope=0.01, inplace=False):
    no(inplace=inplace)
    return Call("leaky_relu", [x], negative_slope=negative_slope)


@op("nn.functional.gelu")
def gelu(x, approximate="none"):
    return Call("gelu", [x], approximate=approximate)


@op("nn.functional.softplus")
def softplus(x, beta=1, threshold=20):
    return Call("softplus", [x], beta=beta, threshold=threshold)


@op("nn.functional.elu")
def elu(x, alpha=1.0, inplace=False):
    no(inplace=inplace)
    return Call("elu", [x], alpha=alpha)


@op("nn.functional.celu")
def celu(x, alpha=1.0, inplace=False):
    no(inplace=inplace)
    return Call("celu", [x], alpha=alpha)


@op("nn.functional.hardtanh")
def hardtanh(x, min_val=-1.0, max_val=1.0, inplace=False):
    no(inplace=inplace)
    return Call("hardtanh", [x], min_val=min_val, max_val=max_val)


op("nn.functional.glu")(lambda x, dim=-1: Call("glu", [x], dim=dim))


@op("softmax", "softmax.with_dtype")
def softmax(x, dim, dtype=None, _stacklevel=3):
    same_dtype(x, dtype)
    return Call("softmax", [x], dim=dim)


@op("log_softmax", "log_softmax.with_dtype")
def log_softmax(x, dim, dtype=None, _stacklevel=3):
    same_dtype(x, dtype)
    return Call("log_softmax", [x], dim=dim)


# --- Reductions and indices ---


@op("sum")
def sum_(x, dim=None, keepdim=False, dtype=None):
    same_dtype(x, dtype)
    return Call("sum", [x], dim=dims(dim), keepdim=keepdim)


@op("mean")
def mean(x, dim=None, keepdim=False, dtype=None):
    same_dtype(x, dtype)
    return Call("mean", [x], dim=dims(dim), keepdim=keepdim)


for name in ("prod", "any", "all"):
    def reduction(x, dim=None, keepdim=False, dtype=None, row=name):
        same_dtype(x, dtype)
        return Call(row, [x], dim=dims(dim), keepdim=keepdim)
    op(name)(reduction)
for name in ("cumsum", "cumprod"):
    def scan(x, dim, dtype=None, row=name):
        same_dtype(x, dtype)
        return Call(row, [x], dim=dim)
    op(name)(scan)


@op("logsumexp")
def logsumexp(x, dim, keepdim=False):
    return Call("logsumexp", [x], dim=dims(dim), keepdim=keepdim)


@op("norm", "norm.fro", "norm.inf", "norm.nuc")
def norm(x, p="fro", dim=None, keepdim=False, dtype=None):
    same_dtype(x, dtype)
    if p == "nuc":
        raise NotExpressible("the nuclear norm")
    return Call("norm", [x], p=2 if p == "fro" else p, dim=dims(dim), keepdim=keepdim)


@op("linalg.vector_norm")
def vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    same_dtype(x, dtype)
    return Call("norm", [x], p=ord, dim=dims(dim), keepdim=keepdim)


for name in ("amax", "amin"):
    op(name)(lambda x, dim=None, keepdim=False, row=name: Call(row, [x], dim=dims(dim), keepdim=keepdim))
op("max.reduction_no_dim")(lambda x: Call("amax", [x], dim=[]))
op("min.reduction_no_dim")(lambda x: Call("amin", [x], dim=[]))

for name in ("var", "std"):
    def moment(x, *args, dim=None, unbiased=None, correction=1, keepdim=False, row=name):
        if len(args) == 1 and isinstance(args[0], bool):
            unbiased = args[0]
        elif args:
            dim = args[0]
            unbiased = args[1] if len(args) > 1 else unbiased
            keepdim = args[2] if len(args) > 2 else keepdim
        if unbiased is not None:
            correction = int(unbiased)
        if correction is None:
            correction = 1
        if correction != int(correction):
            raise NotExpressible("correction is an integer")
        return Call(row, [x], dim=dims(dim), correction=int(correction), keepdim=keepdim)
    op(name, name + ".unbiased")(moment)


for name in ("argmax", "argmin"):
    op(name)(lambda x, dim=None, keepdim=False, row=name: Call(row, [x], dim=dim, keepdim=keepdim))


@op("topk")
def topk(x, k, dim=-1, largest=True, sorted=True):
    return Call("topk", [x], k=k, dim=dim, largest=largest)


@op("sort")
def sort(x, dim=-1, descending=False, stable=False):
    return Call("sort", [x], dim=dim, descending=descending)


@op("argsort")
def argsort(x, dim=-1, descending=False, stable=False):
    return Call("argsort", [x], dim=dim, descending=descending)


op("msort")(lambda x: Call("sort", [x], dim=0, values=True))
op("masked_select")(lambda x, mask: Call("masked_select", [x, mask]))
op("argwhere")(lambda x: Call("nonzero", [x]))


@op("nonzero")
def nonzero(x, as_tuple=False):
    no(as_tuple=as_tuple)
    return Call("nonzero", [x])


@op("scatter")
def scatter(x, dim, index, src=None, value=None, reduce=None):
    no(reduce=reduce)
    src = value if src is None else src
    return Call("scatter", [x, index, src], dim=dim) if is_tensor(src) else Call("scatter", [x, index], dim=dim, value=src)


@op("take_along_dim")
def take_along_dim(x, index, dim=None):
    if dim is None:
        raise NotExpressible("take_along_dim of all elements")
    if x.dim() != index.dim() or any(a != b for d, (a, b) in enumerate(zip(x.shape, index.shape)) if d != dim % x.dim()):
        raise NotExpressible("gather does not broadcast")
    return Call("gather", [x, index], dim=dim)


@op("index_select")
def index_select(x, dim, index):
    return Call("index_select", [x, index], dim=dim)


@op("gather")
def gather(x, dim, index, sparse_grad=False):
    no(sparse_grad=sparse_grad)
    return Call("gather", [x, index], dim=dim)


@op("scatter_add")
def scatter_add(x, dim, index, src):
    return Call("scatter_add", [x, index, src], dim=dim)


@op("nn.functional.one_hot")
def one_hot(x, num_classes=-1):
    return Call("one_hot", [x], num_classes=num_classes)


@op("nn.functional.embedding")
def embedding(weight, index, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    no(max_norm=max_norm, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)
    return Call("embedding", [index, weight], padding_idx=padding_idx)


# --- Views and factories ---


def shape_of(args):
    return list(args[0]) if len(args) == 1 and isinstance(args[0], (list, tuple, torch.Size)) else list(args)


op("flip")(lambda x, dims: Call("flip", [x], dims=list(dims)))
op("fliplr")(lambda x: Call("flip", [x], dims=[1]))
op("flipud")(lambda x: Call("flip", [x], dims=[0]))
op("roll")(lambda x, shifts, dims=(): Call("roll", [x], shifts=globals()["dims"](shifts), dims=globals()["dims"](dims)))
for name in ("repeat", "tile"):
    op(name)(lambda x, *counts, row=name: Call(row, [x], counts=shape_of(counts)))
op("unbind")(lambda x, dim=0: Call("unbind", [x], dim=dim))
op("diagonal")(lambda x, offset=0, dim1=0, dim2=1: Call("diagonal", [x], offset=offset, dim1=dim1, dim2=dim2))
op("meshgrid.list_of_tensors")(lambda xs, indexing="ij": Call("meshgrid", list(xs), indexing=indexing))
op("meshgrid.variadic_tensors")(lambda *xs, indexing="ij": Call("meshgrid", list(xs), indexing=indexing))
op("reshape", "view")(lambda x, *shape: Call("reshape", [x], shape=shape_of(shape)))
op("reshape_as", "view_as")(lambda x, other: Call("reshape", [x], shape=list(other.shape)))
op("flatten")(lambda x, start_dim=0, end_dim=-1: Call("flatten", [x], start_dim=start_dim, end_dim=end_dim))
op("ravel")(lambda x: Call("flatten", [x]))
op("transpose")(lambda x, dim0, dim1: Call("transpose", [x], dim0=dim0, dim1=dim1))
op("permute")(lambda x, *axes: Call("permute", [x], dims=shape_of(axes)))
op("expand", "broadcast_to")(lambda x, *shape: Call("expand", [x], shape=shape_of(shape)))
op("expand_as")(lambda x, other: Call("expand", [x], shape=list(other.shape)))
op("unsqueeze")(lambda x, dim: Call("unsqueeze", [x], dim=dim))
op("slice")(lambda x, dim=0, start=None, end=None, step=1: Call("slice", [x], dim=dim, start=start or 0, end=end, step=step))
op("select")(lambda x, dim, index: Call("select", [x], dim=dim, index=index))


@op("movedim")
def movedim(x, source, destination):
    return Call("movedim", [x], source=dims(source), destination=dims(destination))


@op("narrow")
def narrow(x, dim, start, length):
    return Call("narrow", [x], dim=dim, start=int(start), length=length)


@op("squeeze")
def squeeze(x, dim=None):
    return Call("squeeze", [x], dim=dim)


@op("squeeze.multiple")
def squeeze_multiple(x, dim):
    raise NotExpressible("squeeze of several dimensions")


@op("__getitem__")
def getitem(x, index):
    steps, tensors = [], [x]
    for p in index if isinstance(index, tuple) else (index,):
        if p is None:
            steps.append(["none"])
        elif p is Ellipsis:
            steps.append(["ellipsis"])
        elif isinstance(p, slice):
            steps.append(["slice", p.start, p.stop, p.step])
        elif is_tensor(p) or isinstance(p, list):
            steps.append(["tensor", len(tensors)])
            tensors.append(p if is_tensor(p) else torch.tensor(p))
        elif isinstance(p, bool):
            raise NotExpressible("a truth value as an index")
        else:
            steps.append(["int", int(p)])
    return Call("getitem", tensors, steps=steps)


@op("clone")
def clone(x, memory_format=None):
    no(memory_format=memory_format)
    return Call("clone", [x])


for name, target in {"double": "f64", "float": "f32", "long": "i64", "bool": "bool", "byte": "u8"}.items():
    def convert(x, memory_format=None, target=target):
        if memory_format is torch.channels_last:
            raise NotExpressible("no option memory_format")
        return Call("to", [x], dtype=target)
    op(name)(convert)


@op("to")
def to(x, *args, memory_format=None, **options):
    dtype = options.get("dtype")
    for a in args:
        dtype = a if isinstance(a, torch.dtype) else a.dtype if is_tensor(a) else dtype
    return Call("to", [x], dtype=dtype_name(dtype or x.dtype))


op("cat")(lambda xs, dim=0: Call("cat", xs, dim=dim))
op("stack")(lambda xs, dim=0: Call("stack", xs, dim=dim))
op("split_with_sizes", "split.list_args")(lambda x, sizes, dim=0: Call("split", [x], sizes=list(sizes), dim=dim))
op("split")(lambda x, size, dim=0: Call("split", [x], size=size, dim=dim))
op("chunk")(lambda x, chunks, dim=0: Call("chunk", [x], chunks=chunks, dim=dim))


@op("nn.functional.pad.constant")
def pad(x, pad, mode="constant", value=None):
    return Call("pad", [x], pad=list(pad), value=value or 0)


def factory(dtype=None, device=None, layout=None, requires_grad=False, pin_memory=None):
    return dtype_name(dtype or torch.float32)


op("zeros")(lambda shape, **o: Call("zeros", shape=list(shape), dtype=factory(**o)))
op("ones")(lambda shape, **o: Call("ones", shape=list(shape), dtype=factory(**o)))
op("full")(lambda shape, value, **o: Call("full", shape=list(shape), value=value, dtype=factory(**o)))
op("scalar_tensor")(lambda value, **o: Call("scalar", value=value, dtype=factory(**o)))




for name in ("zeros_like", "ones_like"):
    def like(x, dtype=None, device=None, row=name, **o):
        same_dtype(x, dtype)
        return Call(row, [x])
    op(name)(like)


@op("arange")
def arange(start, end=None, step=1, dtype=None, device=None):
    if end is None:
        start, end = 0, start
    if dtype is None:
        dtype = torch.float32 if any(isinstance(v, float) for v in (start, end, step)) else torch.int64
    return Call("arange", start=start, end=end, step=step, dtype=dtype_name(dtype))


@op("linspace")
def linspace(start, end, steps, dtype=None, device=None):
    numbers(start=start, end=end)
    return Call("linspace", start=start, end=end, steps=steps, dtype=dtype_name(dtype or torch.float32))


@op("eye")
def eye(n, m=None, **o):
    if m is not None and m != n:
        raise NotExpressible("eye is square")
    return Call("eye", n=n, dtype=factory(**o))


# --- Products ---

op("matmul", "mm", "bmm", "mv", "dot")(lambda x, other: Call("matmul", [x, other]))
op("__rmatmul__")(lambda x, other: Call("matmul", [other, x]))
op("nn.functional.linear")(lambda x, weight, bias=None: Call("linear", [x, weight, bias]))


@op("addmm", "addmm.decomposed")
def addmm(bias, x, weight, alpha=1, beta=1):
    if alpha != 1 or beta != 1:
        raise NotExpressible("no options alpha and beta")
    if bias.dim() != 1:
        raise NotExpressible("the bias of addmm is a vector")
    return Call("addmm", [bias, x, weight])


# --- Convolution and pooling ---


def conv(row, rank, x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    same = padding == "same"
    return Call(row, [x, weight, bias], stride=dims(stride), padding=dims(0 if isinstance(padding, str) else padding), same=same, dilation=dims(dilation), groups=groups)


op("nn.functional.conv1d")(lambda *a, **k: conv("conv1d", 1, *a, **k))
op("nn.functional.conv2d")(lambda *a, **k: conv("conv2d", 2, *a, **k))


def conv_transpose(row, x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    return Call(row, [x, weight, bias], stride=dims(stride), padding=dims(padding), output_padding=dims(output_padding), groups=groups, dilation=dims(dilation))


op("nn.functional.conv_transpose1d")(lambda *a, **k: conv_transpose("conv_transpose1d", *a, **k))
op("nn.functional.conv_transpose2d")(lambda *a, **k: conv_transpose("conv_transpose2d", *a, **k))


def max_pool(row, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    options = dict(kernel_size=dims(kernel_size), stride=dims(stride) or None, padding=dims(padding), dilation=dims(dilation), ceil_mode=ceil_mode)
    return Call(row + "_with_indices" * return_indices, [x], **options)


op("nn.functional.max_pool1d")(lambda *a, **k: max_pool("max_pool1d", *a, **k))
op("nn.functional.max_pool2d")(lambda *a, **k: max_pool("max_pool2d", *a, **k))


def avg_pool(row, x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    no(divisor_override=divisor_override)
    return Call(row, [x], kernel_size=dims(kernel_size), stride=dims(stride) or None, padding=dims(padding), ceil_mode=ceil_mode, count_include_pad=count_include_pad)


op("nn.functional.avg_pool1d")(lambda *a, **k: avg_pool("avg_pool1d", *a, **k))
op("nn.functional.avg_pool2d")(lambda *a, **k: avg_pool("avg_pool2d", *a, **k))


def adaptive(row, rank, x, output_size):
    """None: the input's size."""
    sizes = dims(output_size) if isinstance(output_size, (list, tuple)) else [output_size] * rank
    return Call(row, [x], output_size=[x.shape[i - rank] if n is None else n for i, n in enumerate(sizes)])


op("nn.functional.adaptive_avg_pool1d")(lambda *a, **k: adaptive("adaptive_avg_pool1d", 1, *a, **k))
op("nn.functional.adaptive_avg_pool2d")(lambda *a, **k: adaptive("adaptive_avg_pool2d", 2, *a, **k))



def interpolation(x, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None, antialias=False):
    no(recompute_scale_factor=recompute_scale_factor, antialias=antialias)
    if mode not in ("nearest", "nearest-exact", "linear", "bilinear") or x.dim() > 4:
        raise NotExpressible("interpolation other than of sequences and images, nearest and linear")
    if scale_factor is not None and len(set(dims(scale_factor))) > 1:
        raise NotExpressible("one scale_factor a dimension")
    given = None if scale_factor is None else dims(scale_factor)[0]
    sizes = None if size is None else dims(size) * (x.dim() - 2 if not isinstance(size, (list, tuple)) else 1)
    return Call("interpolate", [x], size=sizes, scale_factor=given, mode=mode, align_corners=bool(align_corners))


for name in ("nearest", "nearest-exact", "linear", "bilinear"):
    op(f"nn.functional.interpolate.{name}")(interpolation)
op("nn.functional.upsample_nearest")(lambda x, size=None, scale_factor=None: interpolation(x, size, scale_factor, "nearest"))
op("nn.functional.upsample_bilinear")(lambda x, size=None, scale_factor=None: interpolation(x, size, scale_factor, "bilinear", True))

# --- Norms, attention, dropout ---


@op("nn.functional.batch_norm", "nn.functional.batch_norm.without_cudnn")
def batch_norm(x, running_mean=None, running_var=None, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    buffers = [t for t in (running_mean, running_var) if t is not None]
    return Call("batch_norm", [x, weight, bias, running_mean, running_var], after=buffers, training=training, momentum=momentum, eps=eps)


@op("nn.functional.instance_norm")
def instance_norm(x, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5):
    buffers = [t for t in (running_mean, running_var) if t is not None]
    return Call("instance_norm", [x, weight, bias, running_mean, running_var], after=buffers, training=use_input_stats, momentum=momentum, eps=eps)


@op("nn.functional.group_norm")
def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    return Call("group_norm", [x, weight, bias], num_groups=num_groups, eps=eps)


@op("nn.functional.layer_norm")
def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    return Call("layer_norm", [x, weight, bias], normalized_shape=list(normalized_shape), eps=eps)


@op("nn.functional.rms_norm")
def rms_norm(x, normalized_shape, weight=None, eps=None):
    return Call("rms_norm", [x, weight], normalized_shape=list(normalized_shape), eps=eps)


@op("nn.functional.scaled_dot_product_attention")
def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    no(enable_gqa=enable_gqa)
    if dropout_p:
        raise NotExpressible("dropout draws other numbers")
    return Call("scaled_dot_product_attention", [q, k, v, attn_mask], is_causal=is_causal, scale=scale)


@op("nn.functional.dropout")
def dropout(x, p=0.5, training=True, inplace=False):
    no(inplace=inplace)
    if not training:
        raise NotExpressible("dropout out of training is the layer's")
    if p not in (0, 1):
        raise NotExpressible("dropout draws other numbers")
    return Call("dropout", [x], p=p)


# --- Losses ---


def no_broadcast(x, target):
    if x.shape != target.shape:
        raise NotExpressible("losses do not broadcast")


@op("nn.functional.cross_entropy")
def cross_entropy(x, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean", label_smoothing=0.0):
    return Call("cross_entropy", [x, target, weight], ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)


@op("nn.functional.nll_loss")
def nll_loss(x, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    return Call("nll_loss", [x, target, weight], ignore_index=ignore_index, reduction=reduction)


for name in ("mse_loss", "l1_loss"):
    def difference(x, target, size_average=None, reduce=None, reduction="mean", weight=None, row=name):
        no(weight=weight)
        no_broadcast(x, target)
        return Call(row, [x, target], reduction=reduction)
    op(f"nn.functional.{name}")(difference)


@op("nn.functional.smooth_l1_loss")
def smooth_l1_loss(x, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    no_broadcast(x, target)
    return Call("smooth_l1_loss", [x, target], reduction=reduction, beta=beta)


@op("nn.functional.huber_loss")
def huber_loss(x, target, reduction="mean", delta=1.0, weight=None):
    no(weight=weight)
    no_broadcast(x, target)
    return Call("huber_loss", [x, target], reduction=reduction, delta=delta)


@op("nn.functional.binary_cross_entropy_with_logits")
def bce_with_logits(x, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None):
    return Call("binary_cross_entropy_with_logits", [x, target, weight, pos_weight], reduction=reduction)


@op("nn.functional.binary_cross_entropy")
def bce(x, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    return Call("binary_cross_entropy", [x, target, weight], reduction=reduction)


@op("nn.functional.kl_div")
def kl_div(x, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    no_broadcast(x, target)
    return Call("kl_div", [x, target], reduction=reduction, log_target=log_target)


# --- What Loupe has besides: members, in-place functions, fused ops; on the samples of one of PyTorch's ops. Their result in
# PyTorch is `torch` where it is not that op's. ---

DERIVED = {}  # Loupe's name -> (op_db's name, function)


def derived(name, source):
    def register(f):
        DERIVED[name] = (source, f)
        return f
    return register


def as_member(name, source):
    def member(*args, **kwargs):
        call = OPS[source](*args, **kwargs)
        call.row = name
        return call
    derived(name, source)(member)


as_member("sum.member", "sum")
as_member("mean.member", "mean")
as_member("reshape.member", "reshape")


@derived("scatter_add.zeros", "scatter_add")
def scatter_add_zeros(x, dim, index, src):
    if src.shape != index.shape:
        raise NotExpressible("scatter_add without a tensor to add to: src of index's shape")
    return Call("scatter_add.zeros", [x, index, src], dim=dim)


@derived("index_select.member", "index_select")
def index_member(x, dim, index):
    if x.dim() == 0 or index.dim() != 1 or index.dtype != torch.int64:
        raise NotExpressible("indices of one dimension, i64")
    steps = [["slice", None, None, None]] * (dim % x.dim()) + [["tensor", 1]]
    return Call("getitem", [x, index], steps=steps)


@derived("attention_with_weights", "nn.functional.scaled_dot_product_attention")
def attention_with_weights(*args, **kwargs):
    call = attention(*args, **kwargs)
    call.row = "attention_with_weights"
    return call


@derived("linear_relu", "nn.functional.linear")
def linear_relu(x, weight, bias=None):
    return Call("linear_relu", [x, weight, bias], torch=lambda: F.relu(F.linear(x, weight, bias)))


@derived("batch_norm_relu", "nn.functional.batch_norm")
def batch_norm_relu(*args, **kwargs):
    call = batch_norm(*args, **kwargs)
    call.row, call.torch = "batch_norm_relu", lambda: F.relu(F.batch_norm(*args, **kwargs))
    return call


@derived("batch_norm_relu_max_pool", "nn.functional.batch_norm")
def batch_norm_relu_max_pool(x, *args, **kwargs):
    if x.dim() != 4:
        raise NotExpressible("images of rank 4")
    call = batch_norm(x, *args, **kwargs)
    call.row, call.torch = "batch_norm_relu_max_pool", lambda: F.max_pool2d(F.relu(F.batch_norm(x, *args, **kwargs)), 2)
    return call


def in_place(row, x, tensors, torch, **args):
    return Call(row, [x, *tensors], memory=True, torch=torch, **args)


@derived("add_", "add")
def add_(x, other, alpha=1):
    if is_tensor(other):
        return in_place("add_", x, [other], lambda: x.add_(other, alpha=alpha), alpha=alpha)
    return in_place("add_", x, [], lambda: x.add_(other, alpha=alpha), alpha=alpha, other=other)


@derived("mul_", "mul")
def mul_(x, other):
    if is_tensor(other):
        return in_place("mul_", x, [other], lambda: x.mul_(other))
    return in_place("mul_", x, [], lambda: x.mul_(other), other=other)


@derived("fill_", "fill")
def fill_(x, value):
    numbers(value=value)
    return in_place("fill_", x, [], lambda: x.fill_(value), value=value)


@derived("zero_", "zero_")
def zero_(x):
    return in_place("zero_", x, [], lambda: x.zero_())


@derived("copy_", "sub")  # samples of two tensors
def copy_(x, other, alpha=1):
    if not is_tensor(other):
        raise NotExpressible("copy_ of a number")
    return in_place("copy_", x, [other], lambda: x.copy_(other))
