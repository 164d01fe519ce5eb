#!/usr/bin/env python3
"""Every verdict of a lesson's run, computed again from its files. Python's standard library only; no code of the program.

usage: recompute.py FOLDER
FOLDER is what `loupe lesson --out` wrote. questions.jsonl says what was asked of which runs, runs.jsonl holds the runs,
report.jsonl the program's answers. Prints the differences and returns 1 if there is one.
"""
import json
import math
import pathlib
import sys

NAN = float("nan")
INF = float("inf")


# --- Student's t: its density integrated over the angle atan(t / sqrt(dof)) by Simpson's rule ---

def upper_tail(t, dof):
    """P(T > t) for t >= 0."""
    steps = 2000
    end = math.atan(t / math.sqrt(dof))
    h = end / steps
    total = 1 + math.cos(end) ** (dof - 1)
    for i in range(1, steps):
        total += math.cos(i * h) ** (dof - 1) * (4 if i % 2 else 2)
    scale = math.exp(math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2)) / math.sqrt(math.pi)
    return max(0.0, 0.5 - scale * total * h / 3)


CACHE = {}
# Pocock's nominal level of each of so many looks, 5 % in all.
LEVELS = {1: 0.05, 2: 0.0294, 3: 0.0221, 4: 0.0182, 5: 0.0158}


def t_value(dof, level):
    """The quantile that leaves half of the level above it."""
    key = (round(dof, 9), level)
    if key not in CACHE:
        lo, hi = 0.0, 100.0
        for _ in range(60):
            middle = (lo + hi) / 2
            if upper_tail(middle, dof) > level / 2:
                lo = middle
            else:
                hi = middle
        CACHE[key] = (lo + hi) / 2
    return CACHE[key]


# --- Values of runs ---

def number(value):
    return NAN if value is None else value


def outcome(run, metric):
    """value, dead, slack, marks."""
    value = number(run["metrics"].get(metric))
    if metric == "steps" and not run["dead"]:
        return steps_to_threshold(run)
    marks = run.get("marks", {}).get(metric)
    return value, run["dead"], 0.0, marks


def steps_to_threshold(run, threshold=1.0):
    """From the losses: the first step whose last ten average below the threshold; else cut off at the budget."""
    losses = [number(x) for x in run["series"]["loss"]]
    for i in range(9, len(losses)):
        if math.fsum(losses[i - 9:i + 1]) / 10 < threshold:
            return float(i + 1), False, 0.0, None
    return float(run["config"]["steps"]), False, INF, None


def pick(sample, runs):
    """The outcome of one seed's runs, one an arm."""
    how, metric = sample["pick"], sample["metric"]
    if how == "value":
        return outcome(runs[0], metric)
    if how == "largest":
        return max(number(r["metrics"][metric]) for r in runs), False, 0.0, None
    if how == "decades":
        values = [number(r["metrics"][metric]) for r in runs]
        return math.log10(max(values)) - math.log10(min(values)), False, 0.0, None
    if how == "gap":
        first, second = (outcome(r, metric) for r in runs)
        return first[0] - second[0], first[1] or second[1], 0.0, None
    if how == "best_valid":
        best = runs[0]
        for r in runs:
            if not r["dead"] and (best["dead"] or r["metrics"]["valid_loss"] < best["metrics"]["valid_loss"]):
                best = r
        return outcome(best, metric)
    if how == "usable_rate":
        rates = [float(r["config"]["lr"]) for r in runs]
        usable = [i for i, r in enumerate(runs) if not r["dead"] and number(r["metrics"][metric]) < sample["bound"]]
        step = rates[1] / rates[0] if len(rates) > 1 else 1.0
        at = max(usable) if usable else -1
        value = rates[at] if usable else rates[0] / step
        following = rates[at + 1] if at + 1 < len(rates) else INF
        return value, False, following - value, None
    raise ValueError(how)


def outcomes(sample, runs_by_key, n):
    if sample["pick"] == "constant":
        return [(sample["bound"], False, 0.0, None)] * n
    result = []
    for seed in sample["arms"][0]["seeds"][:n]:
        runs = [runs_by_key[(seed, tuple(sorted(arm["config"].items())))] for arm in sample["arms"]]
        result.append(pick(sample, runs))
    return result


# --- Comparisons ---

def mean(x):
    total = 0.0
    for v in x:
        total += v
    return total / len(x)


def variance(x):
    if len(x) < 2:
        return 0.0
    m = mean(x)
    return sum((v - m) ** 2 for v in x) / (len(x) - 1)


def bits(marks):
    return [int(b) for digit in marks for b in format(int(digit, 16), "04b")]


def images(a, b):
    """Variance of the mean difference by the images, and their number."""
    have_a, have_b = [o[3] is not None for o in a], [o[3] is not None for o in b]
    if not all(have_a) or (any(have_b) and not all(have_b)):
        return 0.0, 0
    columns_a = [bits(o[3]) for o in a]
    columns_b = [bits(o[3]) if o[3] else [0] * len(columns_a[0]) for o in b]
    n, count = len(a), len(columns_a[0])
    means, within = [], 0.0
    for j in range(count):
        d = [x[j] - y[j] for x, y in zip(columns_a, columns_b)]
        means.append(sum(d) / n)
        within += variance(d)
    between = variance(means) - within / count / n
    return max(0.0, between) / count, count


def block_error(pool, ratios):
    """Of a difference: twice the interaction mean square of arms x seeds, and its degrees of freedom. (0, 0) without."""
    if len(pool) < 3 or any(o[1] or o[2] != 0 or not math.isfinite(o[0]) for arm in pool for o in arm):
        return 0.0, 0
    table = [[math.log2(o[0]) if ratios else o[0] for o in arm] for arm in pool]
    arms, seeds = len(table), len(table[0])
    total = sum(map(sum, table)) / (arms * seeds)
    of_arms = seeds * sum((sum(row) / seeds - total) ** 2 for row in table)
    of_seeds = arms * sum((sum(row[j] for row in table) / arms - total) ** 2 for j in range(seeds))
    rest = sum((v - total) ** 2 for row in table for v in row) - of_arms - of_seeds
    dof = (arms - 1) * (seeds - 1)
    return 2 * rest / dof, dof


def bound(x, pooled, extra, count):
    """Mean, standard error, degrees of freedom."""
    if any(math.isinf(v) for v in x):
        return math.copysign(INF, next(v for v in x if math.isinf(v))), 0.0, len(x) - 1
    dof, spread = len(x) - 1, variance(x)
    if pooled[1] > 0:
        dof, spread = pooled[1], max(spread, pooled[0])
    seeds = spread / len(x)
    total = seeds + extra
    if extra > 0 and len(x) > 1:
        dof = total ** 2 / (seeds ** 2 / dof + extra ** 2 / (count - 1))
    return mean(x), math.sqrt(total), dof


def compare(question, a, b, pool):
    """(lower bound, upper bound, n) of the mean difference."""
    less = question["better"] == "less"
    living = [(x, y) for x, y in zip(a, b) if not x[1] and not y[1]]
    if len(living) < 2 and len(living) < len(a):
        nothing = (question["nothing"], False, INF if less else 0.0, None)
        living = [(nothing if x[1] else x, nothing if y[1] else y) for x, y in zip(a, b)]
    lower, upper = [], []
    for (va, _, sa, _), (vb, _, sb, _) in living:
        if question["contrast"] == "difference":
            lower.append(va - (vb + sb))
            upper.append(va + sa - vb)
        else:
            lower.append(-INF if math.isinf(sb) else math.log2(va / (vb + sb)))
            upper.append(INF if math.isinf(sa) else math.log2((va + sa) / vb))
    extra, count = (0.0, 0)
    if question["contrast"] == "difference" and living:
        extra, count = images([p[0] for p in living], [p[1] for p in living])
    all_live = not any(o[1] for o in a + b)
    pooled = block_error(pool, question["contrast"] == "doublings") if all_live else (0.0, 0)
    return bound(lower, pooled, extra, count), bound(upper, pooled, extra, count), len(living)


def interval(lower, upper, n, level):
    if n < 2 or (lower[0] == upper[0] and lower[1] == 0):
        return lower[0], -INF, INF
    width = [t_value(e[2], level) * e[1] if e[1] > 0 else 0.0 for e in (lower, upper)]
    lo = lower[0] - width[0] if math.isfinite(lower[0]) else -INF
    hi = upper[0] + width[1] if math.isfinite(upper[0]) else INF
    if math.isfinite(lower[0]) and math.isfinite(upper[0]):
        return (lower[0] + upper[0]) / 2, lo, hi
    return (lower[0] if math.isfinite(lower[0]) else upper[0]), lo, hi


def judge(lo, hi, margin, expect):
    if expect == "negative":
        lo, hi = -hi, -lo
    if not lo <= hi:
        return "INCONCLUSIVE"
    inside = lo >= -margin and hi <= margin
    if expect == "none":
        return "REPRODUCED" if inside else "CONTRADICTED" if lo > margin or hi < -margin else "INCONCLUSIVE"
    if expect == "at_most":
        return "REPRODUCED" if hi <= margin else "CONTRADICTED" if lo > margin else "INCONCLUSIVE"
    if lo > margin:
        return "REPRODUCED"
    if hi < -margin:
        return "CONTRADICTED"
    if lo > 0:
        return "SMALL"
    if hi < 0:
        return "SMALL OPPOSITE"
    return "NO DIFFERENCE" if inside else "INCONCLUSIVE"


def p_value(lower, upper, n, margin, expect, word):
    if expect == "negative":
        lower, upper = (-upper[0], *upper[1:]), (-lower[0], *lower[1:])

    def level(distance, e):
        if not distance > 0 or n < 2:
            return 1.0
        return 2.0 ** (1 - n) if e[1] == 0 else min(1.0, 2 * upper_tail(distance / e[1], e[2]))

    above, below = level(lower[0] - margin, lower), level(-upper[0] - margin, upper)
    inside = max(level(margin - upper[0], upper), level(margin + lower[0], lower))
    if expect == "at_most":
        return level(margin - upper[0], upper) if word == "REPRODUCED" else above if word == "CONTRADICTED" else 1.0
    if word == "REPRODUCED":
        return inside if expect == "none" else above
    if word == "CONTRADICTED":
        return min(above, below) if expect == "none" else below
    if word == "NO DIFFERENCE":
        return inside
    if word == "SMALL":
        return level(lower[0], lower)
    if word == "SMALL OPPOSITE":
        return level(-upper[0], upper)
    return 1.0


def answer(question, runs):
    n = min(len(arm["seeds"]) for s in (question["a"], question["b"]) for arm in s["arms"])
    a, b = outcomes(question["a"], runs, n), outcomes(question["b"], runs, n)
    scale = question["scale"]
    if question["kind"] == "exact":
        gaps = [abs(x[0] - y[0]) for x, y in zip(a, b)]
        value = scale * max(INF if math.isnan(g) else g for g in gaps)
        holds = value <= question["margin"] if question["holds"] == "at_most" else value > question["margin"]
        return {"effect": value, "ci": None, "verdict": "REPRODUCED" if holds else "CONTRADICTED", "p": None}
    pool = [outcomes({"pick": "value", "metric": question["a"]["metric"], "arms": [arm]}, runs, n)
            for arm in question["pool"] if len(arm["seeds"]) >= n]
    lower, upper, count = compare(question, a, b, pool)
    effect, lo, hi = (scale * v for v in interval(lower, upper, count, LEVELS[question["looks"]]))
    word = judge(lo, hi, question["margin"], question["expect"])
    p = question["looks"] * p_value(lower, upper, count, question["margin"] / scale, question["expect"], word)
    return {"effect": effect, "ci": [lo, hi], "verdict": word, "p": min(1.0, p)}


def holm(p_values, level=0.05):
    stands = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, i in enumerate(order):
        if not p_values[i] <= level / (len(order) - rank):
            break
        stands[i] = True
    return stands


def word_of(claim, questions, answers, stands):
    """From the primary line and the lines that limit it."""
    mine = [q for q in questions if q["claim"] == claim]
    primary = next(q["id"] for q in mine if q["role"] == "primary")
    word = answers[primary]["verdict"]
    if not stands.get(primary, True):
        return "INCONCLUSIVE"
    limits = [answers[q["id"]]["verdict"] for q in mine if q["role"] == "limits"]
    if word == "REPRODUCED" and any(v != "REPRODUCED" for v in limits):
        return "PARTLY"
    return word


# --- The files ---

def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def same(a, b):
    if a is None or b is None:
        return (a is None or math.isinf(a)) and (b is None or math.isinf(b))
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def differences(mine, theirs):
    """What of an answer differs."""
    found = []
    if mine["verdict"] != theirs["verdict"]:
        found.append(f"{theirs['verdict']}, here {mine['verdict']}")
    if not same(mine["effect"], theirs["effect"]):
        found.append(f"effect {theirs['effect']}, here {mine['effect']}")
    if theirs["ci"] is not None and not all(same(x, y) for x, y in zip(mine["ci"], theirs["ci"])):
        found.append(f"interval {theirs['ci']}, here {mine['ci']}")
    if theirs["role"] != "claim" and mine["p"] is not None and not same(mine["p"], theirs["p"]):
        found.append(f"p {theirs['p']}, here {mine['p']}")
    return found


def main(folder):
    runs = {(r["seed"], tuple(sorted(r["config"].items()))): r for r in lines(folder / "runs.jsonl")}
    questions = lines(folder / "questions.jsonl")
    report = {e["id"]: e for e in lines(folder / "report.jsonl") if e["event"] in ("claim", "own")}
    answers = {q["id"]: answer(q, runs) for q in questions}
    family = [q["id"] for q in questions if q["role"] == "primary" and q["kind"] == "statistical"]
    stands = dict(zip(family, holm([answers[i]["p"] for i in family])))
    wrong = 0
    for identity, mine in answers.items():
        for text in differences(mine, report[identity]):
            print(f"{identity}: the report says {text}")
            wrong += 1
    claims = list(dict.fromkeys(q["claim"] for q in questions))
    for claim in claims:
        word = word_of(claim, questions, answers, stands)
        if word != report[claim]["verdict"]:
            print(f"{claim}: the report says {report[claim]['verdict']}, here {word}")
            wrong += 1
    print(f"{len(answers)} lines and {len(claims)} claims computed again from {len(runs)} runs: {wrong} differences")
    return 1 if wrong or not answers else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1])))
