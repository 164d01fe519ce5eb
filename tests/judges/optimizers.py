"""Optimizers (optim_db's options, and more combinations) over several steps with given gradients; schedules over their epochs."""
import itertools

import torch

import judge
from samples import Call, NotExpressible, describe, relayout

STEPS, SHAPES = 6, [(3, 4), (5,), (2, 3, 2, 2)]
OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")
MORE = {
    "SGD": {"lr": (1e-3, 0.1), "momentum": (0, 0.9), "weight_decay": (0, 0.1), "maximize": (False, True), "nesterov": (False, True), "dampening": (0, 0.3)},
    "Adam": {"lr": (1e-3, 0.1), "betas": ((0.9, 0.999), (0.5, 0.7)), "weight_decay": (0, 0.1), "eps": (1e-8, 1e-3), "amsgrad": (False, True), "maximize": (False, True)},
    "RMSprop": {"lr": (1e-2, 0.1), "alpha": (0.99, 0.5), "weight_decay": (0, 0.1), "momentum": (0, 0.9), "centered": (False, True), "maximize": (False, True)},
    "Adagrad": {"lr": (1e-2, 0.1), "lr_decay": (0, 0.5), "weight_decay": (0, 0.1), "initial_accumulator_value": (0, 0.1), "eps": (1e-10, 1e-3), "maximize": (False, True)},
}
MORE["AdamW"] = MORE["Adam"]
IGNORED = ("foreach", "fused", "capturable", "differentiable")  # how PyTorch runs it, not what it computes


def option_sets(name):
    from torch.testing._internal.common_optimizers import optim_db
    info = next(o for o in optim_db if o.optim_cls.__name__ == name)
    sets = []
    for drawn in info.optim_inputs_func(device="cpu"):
        options = {k: v for k, v in drawn.kwargs.items() if k not in IGNORED}
        if options not in sets:
            sets.append(options)
    for values in itertools.product(*MORE[name].values()):
        options = dict(zip(MORE[name], values))
        if options.get("nesterov") and (not options["momentum"] or options["dampening"]):
            continue
        if options not in sets:
            sets.append(options)
    return sets


def optimizer_cases(name):
    for dtype, options, layout in itertools.product((torch.float32, torch.float64), option_sets(name), ("own", "reversed", "channels_last")):
        for grouping in ("one group", "two groups", "a gradient missing"):
            if layout != "own" and grouping != "one group":
                continue
            rng = judge.generator(name + str(options))
            draw = lambda shape: torch.randn(shape, generator=rng, dtype=torch.float64).to(torch.float32).to(dtype)
            place = lambda t: t if layout == "own" else relayout(t, layout) if relayout(t, layout) is not None else t
            params = [place(draw(s)).requires_grad_() for s in SHAPES]
            grads = [[place(draw(s)) for s in SHAPES] for _ in range(STEPS)]
            if grouping == "a gradient missing":
                grads[0][1] = grads[3][1] = None

            def ask(sample, options=options, grouping=grouping):
                given = {k: v.item() if isinstance(v, torch.Tensor) else v for k, v in options.items()}
                if any(isinstance(v, (tuple, list)) and any(isinstance(e, torch.Tensor) for e in v) for v in given.values()):
                    given["betas"] = [float(b) for b in given["betas"]]
                unknown = [k for k in given if k not in MORE[name]]
                if unknown:
                    raise NotExpressible("no option " + unknown[0])
                groups = [{"count": 3}]
                if grouping == "two groups":
                    groups = [{"count": 2, "lr": 0.05}, {"count": 1, "weight_decay": 0.2}]
                flat = sample[0] + [g for step in sample[1] for g in step]
                return Call("optim." + name, flat, groups=groups, count=3, **given)

            def apply(sample, call, options=options, grouping=grouping):
                ps = [torch.nn.Parameter(p.detach().clone(memory_format=torch.preserve_format)) for p in sample[0]]
                given = [{"params": ps}]
                if grouping == "two groups":
                    given = [{"params": ps[:2], "lr": 0.05}, {"params": ps[2:], "weight_decay": 0.2}]
                optimizer = getattr(torch.optim, name)(given, **options)
                after = []
                for step in sample[1]:
                    for p, g in zip(ps, step):
                        p.grad = None if g is None else g.clone(memory_format=torch.preserve_format)
                    optimizer.step()
                    after += [p.detach().clone() for p in ps]
                return after

            words = " ".join(f"{k}={describe(v)}" for k, v in options.items())
            yield judge.Case("optim." + name, f"{words} {grouping}", {torch.float32: "f32", torch.float64: "f64"}[dtype], layout, (params, grads), ask, apply, False)


def grid(**values):
    return [dict(zip(values, v)) for v in itertools.product(*values.values())]


SCHEDULES = {
    "ConstantLR": grid(factor=(1 / 3, 0.5, 1.0), total_iters=(0, 1, 5, 12)),
    "StepLR": grid(step_size=(1, 3, 10), gamma=(0.1, 0.5, 1.0)),
    "MultiStepLR": grid(milestones=([2, 5, 5, 11], [1], [7, 30]), gamma=(0.1, 0.3)),
    "ExponentialLR": grid(gamma=(0.9, 0.5, 1.0)),
    "CosineAnnealingLR": grid(T_max=(1, 2, 10, 40), eta_min=(0, 0.01)),
    "LinearLR": grid(start_factor=(1 / 3, 0.1, 1.0), end_factor=(1.0, 0.2, 0.0), total_iters=(1, 5, 20)),
    "OneCycleLR": grid(max_lr=(0.5,), total_steps=(40, 41), pct_start=(0.3, 0.25, 0.1), anneal_strategy=("cos", "linear"), three_phase=(False, True),
                       div_factor=(25.0, 10.0), final_div_factor=(1e4, 100.0)),
    "ReduceLROnPlateau": grid(mode=("min", "max"), factor=(0.1, 0.5), patience=(0, 2), threshold=(1e-4, 0.05), threshold_mode=("rel", "abs"), cooldown=(0, 2), min_lr=(0, 0.03)),
}
PART = {"linear": ("LinearLR", {"start_factor": 0.1, "total_iters": 4}), "cosine": ("CosineAnnealingLR", {"T_max": 12}), "exponential": ("ExponentialLR", {"gamma": 0.9}),
        "step": ("StepLR", {"step_size": 3, "gamma": 0.5}), "constant": ("ConstantLR", {"factor": 0.5, "total_iters": 3}), "multi": ("MultiStepLR", {"milestones": [2, 6], "gamma": 0.3})}
SCHEDULES["SequentialLR"] = [{"parts": p, "milestones": m} for p, m in ((("linear", "cosine"), [4]), (("constant", "exponential"), [3]), (("linear", "step", "exponential"), [5, 14]), (("multi", "constant"), [9]))]
SCHEDULES["ChainedScheduler"] = [{"parts": p} for p in itertools.permutations(PART, 2) if "cosine" not in p] + [{"parts": ("linear", "exponential", "step")}]


def make(name, options, optimizer):
    if name in ("SequentialLR", "ChainedScheduler"):
        parts = [make(*PART[p], optimizer) for p in options["parts"]]
        return torch.optim.lr_scheduler.SequentialLR(optimizer, parts, options["milestones"]) if name == "SequentialLR" else torch.optim.lr_scheduler.ChainedScheduler(parts)
    return getattr(torch.optim.lr_scheduler, name)(optimizer, **options)


def schedule_cases(name):
    steps = 40
    for index, (options, lr) in enumerate(itertools.product(SCHEDULES[name], (0.2, 1.0))):
        rng = judge.generator(str(index))
        metrics = (torch.randn(steps, generator=rng, dtype=torch.float64).cumsum(0) * 0.05 + 1).tolist()

        def ask(sample, options=options, lr=lr, metrics=metrics):
            given = {k: v for k, v in options.items() if k != "parts"}
            if "parts" in options:
                given["schedulers"] = [{"schedule": PART[p][0], **PART[p][1]} for p in options["parts"]]
            return Call("schedule", schedule=name, lr=lr, momentum=0.9, steps=steps, metrics=metrics, **given)

        def apply(sample, call, options=options, lr=lr, metrics=metrics):
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)
            schedule, rates = make(name, options, optimizer), []
            plateau = name == "ReduceLROnPlateau"
            for epoch in range(steps):
                if plateau:
                    schedule.step(metrics[epoch])
                rates.append(float(optimizer.param_groups[0]["lr"]))
                if not plateau and epoch + 1 < steps:
                    schedule.step()
            return torch.tensor(rates, dtype=torch.float64)

        words = " ".join(f"{k}={describe(v)}" for k, v in options.items())
        yield judge.Case("lr." + name, f"lr={lr} {words}", "f64", "own", (), ask, apply, False)


def all_optimizers():
    ops = {"optim." + name: lambda name=name: optimizer_cases(name) for name in OPTIMIZERS}
    return ops | {"lr." + name: lambda name=name: schedule_cases(name) for name in SCHEDULES}
