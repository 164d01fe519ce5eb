"""PyTorch's module_db -> Loupe's layers: for each the constructor's options and the tensors of forward."""
import inspect

import torch

import judge
from functions import dims, no, no_broadcast
from samples import DTYPES, LAYOUTS, Call, NotExpressible, describe, in_layout, is_tensor

MODULES = {}


def module(*names):
    def register(f):
        for name in names:
            MODULES[name] = f
        return f
    return register


def bound(cls, args, kwargs):
    """The constructor's arguments by name, without those that say nothing here."""
    given = inspect.signature(cls.__init__).bind(None, *args, **kwargs)
    given.apply_defaults()
    options = {k: v for k, v in given.arguments.items() if k not in ("self", "device", "dtype", "args", "kwargs")}
    options |= given.arguments.get("kwargs", {})
    if cls.__name__ in ("RNN", "GRU", "LSTM"):
        options |= dict(zip(("input_size", "hidden_size", "num_layers"), given.arguments["args"]))
    for name in ("inplace",):
        no(**{name: options.pop(name, None)})
    return options


def plain(name, options, input):
    return Call(name, [input], **options)


for name in ("ReLU", "SiLU", "Sigmoid", "Tanh", "LeakyReLU", "GELU", "Softplus", "ELU", "SELU", "Mish", "Hardswish", "ReLU6", "LogSigmoid", "CELU", "GLU", "RMSNorm", "GroupNorm", "LayerNorm", "Linear"):
    module(name)(plain)


@module("Hardtanh")
def hardtanh(name, options, input):
    no(min_value=options.pop("min_value", None), max_value=options.pop("max_value", None))
    return Call(name, [input], **options)


@module("Softmax", "LogSoftmax")
def softmax(name, options, input):
    if options["dim"] is None:
        raise NotExpressible("softmax without a dimension")
    return Call(name, [input], **options)


@module("Embedding")
def embedding(name, options, input):
    no(max_norm=options.pop("max_norm"), scale_grad_by_freq=options.pop("scale_grad_by_freq"), sparse=options.pop("sparse"))
    return Call(name, [input], num_embeddings=options["num_embeddings"], embedding_dim=options["embedding_dim"], padding_idx=options["padding_idx"])


@module("BatchNorm1d", "BatchNorm2d", "InstanceNorm2d")
def batch_norm(name, options, input):
    return Call(name, [input], averaged=options["momentum"] is None, **options)


@module("Conv1d", "Conv2d")
def conv(name, options, input):
    if options.pop("padding_mode") != "zeros":
        raise NotExpressible("padding_mode other than zeros")
    padding = options.pop("padding")
    return Call(name, [input], padding=0 if isinstance(padding, str) else padding, same=padding == "same", **options)


@module("ConvTranspose1d", "ConvTranspose2d")
def conv_transpose(name, options, input, output_size=None):
    no(output_size=output_size)
    if options.pop("padding_mode") != "zeros":
        raise NotExpressible("padding_mode other than zeros")
    return Call(name, [input], **options)


@module("MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d")
def pool(name, options, input):
    no(return_indices=options.pop("return_indices", None), divisor_override=options.pop("divisor_override", None))
    return Call(name, [input], **options)


@module("AdaptiveAvgPool1d", "AdaptiveAvgPool2d")
def adaptive(name, options, input):
    if any(n is None for n in dims(options["output_size"])):
        raise NotExpressible("an output size that is None")
    return Call(name, [input], **options)


@module("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")
def recurrent(name, options, input, hx=None):
    if options.pop("proj_size", 0):
        raise NotExpressible("no option proj_size")
    if options.pop("dropout", 0):
        raise NotExpressible("dropout draws other numbers")
    return Call(name, [input] + (list(hx) if isinstance(hx, (tuple, list)) else [] if hx is None else [hx]), **options)


def with_masks(name, tensors, masks, options):
    """Masks follow the tensors; an option names the place of each."""
    places = {}
    for key, mask in masks.items():
        if mask is not None:
            places[key] = len(tensors)
            tensors = tensors + [mask]
    return Call(name, tensors, **options, **places)


@module("MultiheadAttention")
def attention(name, options, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None, average_attn_weights=True, is_causal=False):
    no(add_bias_kv=options.pop("add_bias_kv"), add_zero_attn=options.pop("add_zero_attn"))
    if not options.pop("batch_first") and query.dim() == 3:
        raise NotExpressible("no option batch_first = false")
    if options["dropout"]:
        raise NotExpressible("dropout draws other numbers")
    return with_masks(name, [query, key, value], {"key_padding_mask": key_padding_mask, "attn_mask": attn_mask},
                      options | {"need_weights": need_weights, "average_attn_weights": average_attn_weights})


def transformer_options(options):
    options = dict(options)
    if not options.pop("batch_first"):
        raise NotExpressible("no option batch_first = false")
    if options["dropout"]:
        raise NotExpressible("dropout draws other numbers")
    activation = options.pop("activation")
    word = activation if isinstance(activation, str) else getattr(activation, "__name__", "")
    if word not in ("relu", "gelu"):
        raise NotExpressible("an activation that is neither relu nor gelu")
    return options | {"activation": word}


@module("TransformerEncoderLayer")
def encoder(name, options, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
    return with_masks(name, [src], {"src_mask": src_mask, "src_key_padding_mask": src_key_padding_mask}, transformer_options(options))


@module("TransformerDecoderLayer")
def decoder(name, options, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None, memory_key_padding_mask=None, tgt_is_causal=None, memory_is_causal=False):
    masks = {"tgt_mask": tgt_mask, "memory_mask": memory_mask, "tgt_key_padding_mask": tgt_key_padding_mask, "memory_key_padding_mask": memory_key_padding_mask}
    return with_masks(name, [tgt, memory], masks, transformer_options(options))


# Losses are functions in Loupe.
@module("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
def difference(name, options, input, target):
    no_broadcast(input, target)
    row = {"MSELoss": "mse_loss", "L1Loss": "l1_loss", "SmoothL1Loss": "smooth_l1_loss", "HuberLoss": "huber_loss"}[name]
    return Call(row, [input, target], **options)


@module("KLDivLoss")
def kl_div(name, options, input, target):
    no_broadcast(input, target)
    return Call("kl_div", [input, target], **options)


@module("NLLLoss", "CrossEntropyLoss", "BCEWithLogitsLoss", "BCELoss")
def class_loss(name, options, input, target):
    row = {"NLLLoss": "nll_loss", "CrossEntropyLoss": "cross_entropy", "BCEWithLogitsLoss": "binary_cross_entropy_with_logits", "BCELoss": "binary_cross_entropy"}[name]
    weights = {name: options.pop(name) for name in ("weight", "pos_weight") if name in options}
    return Call(row, [input, target, *weights], **options)  # the names: translate puts the layer's tensors there


def translate(info_name, cls, constructor, sample):
    state, args, kwargs = sample
    call = MODULES[info_name](info_name, bound(cls, *constructor), *args, **kwargs)
    if call.row.islower():  # a function: its tensors are arguments
        call.tensors = [state.get(t) if isinstance(t, str) else t for t in call.tensors]
        return call
    call.args["state"] = list(state)
    call.tensors += list(state.values())
    call.after = [t for t in state.values() if not t.requires_grad]
    return call


def label_of(constructor, args, kwargs, training):
    words = [describe(a) for a in constructor[0]] + [f"{k}={describe(v)}" for k, v in constructor[1].items()]
    inputs = [describe(a) for a in args] + [f"{k}={describe(v)}" for k, v in kwargs.items()]
    return " ".join(words) + " < " + " ".join(inputs) + ("" if training else " eval")


def module_cases(info, name):
    cls = info.module_cls
    for dtype in (torch.float32, torch.float64):
        for training in (True, False) if info.train_and_eval_differ else (True,):
            torch.manual_seed(0)
            for drawn in info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training):
                if drawn.forward_input is None:
                    continue
                constructor = (drawn.constructor_input.args, drawn.constructor_input.kwargs)
                args, kwargs = drawn.forward_input.args, drawn.forward_input.kwargs
                torch.manual_seed(1)
                m = cls(*constructor[0], **constructor[1]).to(dtype).train(training)
                state = {k: v.detach().requires_grad_(v.requires_grad) for k, v in m.state_dict(keep_vars=True).items()}
                label = label_of(constructor, args, kwargs, training)
                for layout in LAYOUTS:
                    laid = in_layout((state, tuple(args), dict(kwargs)), layout)
                    if laid is None or layout == "expanded" and any(not t.requires_grad for t in laid[0].values()):
                        continue  # a buffer is written to: its memory is its own

                    def ask(sample, constructor=constructor, training=training):
                        call = translate(name, cls, constructor, sample)
                        call.args["training"] = training
                        return call

                    yield judge.Case("nn." + name, label, DTYPES[dtype], layout, laid, ask,
                                     lambda s, call, m=m: torch.func.functional_call(m, s[0], s[1], s[2]), info.supports_gradgrad)


def all_modules():
    from torch.testing._internal.common_modules import module_db
    found = {i.name.removeprefix("nn."): i for i in module_db}
    missing = MODULES.keys() - found.keys()
    if missing:
        raise SystemExit(f"module_db has no {sorted(missing)}")
    return {"nn." + name: lambda name=name: module_cases(found[name], name) for name in found if name in MODULES}
