#!/usr/bin/env python3
"""Independent runs of the lesson, on seeds of their own, and how often each claim got which word.

  lesson/stability.py PROGRAM FOLDER --runs 20 [--part 2] [--threads 1] [--claims C5,C9]
  lesson/stability.py --table FOLDER            the table of the runs that are there

Run k writes FOLDER/k and takes the seeds from 1 + 20 k on; run 0 is the default run. Runs that are there are not repeated, and one
that was stopped goes on.
"""
import argparse
import collections
import json
import os
import subprocess
import sys

APART = 20  # seeds between the runs: more than one takes


def measure(args):
    for k in range(args.runs):
        out = os.path.join(args.folder, str(k))
        if os.path.exists(os.path.join(out, "report.jsonl")):
            continue
        command = [args.program, "lesson", "--part", str(args.part), "--first-seed", str(1 + APART * k), "--out", out,
                   "--threads", str(args.threads), "--resume"]
        if args.claims:
            command += ["--claims", args.claims]
        ran = subprocess.run(command, stdout=subprocess.DEVNULL)
        if ran.returncode != 0:
            sys.exit(f"stability: run {k} ended with {ran.returncode}")
        print(f"run {k} of {args.runs} done", flush=True)


def events(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def table(folder):
    """Claim by claim: its words, the most frequent first, and the range of the primary line's number."""
    words, effects, runs = collections.defaultdict(collections.Counter), collections.defaultdict(list), 0
    for name in sorted((n for n in os.listdir(folder) if n.isdigit()), key=int):
        path = os.path.join(folder, name, "report.jsonl")
        if not os.path.exists(path):
            continue
        runs += 1
        for e in events(path):
            if e["event"] == "claim" and e["role"] == "claim":
                words[e["id"]][e["verdict"]] += 1
                effects[e["id"]].append((e["effect"], e["unit"]))
    print(f"{runs} runs")
    for claim, counts in words.items():
        numbers = [v for v, _ in effects[claim] if v is not None]
        reach = f"{min(numbers):.3g} to {max(numbers):.3g} {effects[claim][0][1]}" if numbers else ""
        print(f"{claim:<4} {', '.join(f'{n} {word}' for word, n in counts.most_common()):<44} {reach}")
    return runs


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program", nargs="?", help="loupe, as it was built")
    p.add_argument("folder", nargs="?")
    p.add_argument("--runs", type=int, default=20, help="how many [20]")
    p.add_argument("--part", type=int, default=1, help="of the lesson [1]")
    p.add_argument("--claims", default="", help="only these [all]")
    p.add_argument("--threads", type=int, default=0, help="trainings at a time; 0: one a core [0]")
    p.add_argument("--table", metavar="FOLDER", help="no runs: the table of those that are there")
    args = p.parse_args()
    if args.table:
        return 0 if table(args.table) else 1
    if not args.folder:
        p.error("a program and a folder, or --table FOLDER")
    os.makedirs(args.folder, exist_ok=True)
    measure(args)
    return 0 if table(args.folder) else 1


if __name__ == "__main__":
    sys.exit(main())
