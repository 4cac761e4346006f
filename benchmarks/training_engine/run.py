"""Rollout and update of the embedded engine beside what others do, on the same weights: prints a table in Markdown.

python benchmarks/training_engine/run.py [rollout] [update] [--quick] [--repeats N] [--micro-tokens N]
    [--corpus NAME --tasks FILE [--model tiny]]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from world import Load

HERE = Path(__file__).parent
BASE = Load()
LOADS = {
    "4 turns, G = 8, 192 image tokens": BASE,
    "2 turns": replace(BASE, turns=2),
    "8 turns": replace(BASE, turns=8),
    "48 image tokens": replace(BASE, tokens=48),
    "432 image tokens": replace(BASE, tokens=432),
    "G = 2": replace(BASE, group_size=2),
    "G = 16": replace(BASE, group_size=16),
}
OTHER = {"rollout": "generate", "update": "TRL"}
# of an update, beside its load: what both sides are told alike
FIRST = {", tower frozen": {"frozen": True}, ", tower trained": {}}
MORE = {
    ", tower frozen, layers recomputed": {"frozen": True, "recomputed": True},
    ", layers recomputed": {"recomputed": True},
    ", 4,096 tokens a micro-batch": {"micro_tokens": 4096},
}


def measure(kind: str, way: str, settings: dict[str, Any], repeats: int) -> dict[str, Any]:
    wanted = json.dumps({"kind": kind, "way": way, "repeats": repeats, **settings})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(HERE / "measure.py"), wanted], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{kind} by {way}, {settings}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=["rollout", "update", []])
    parser.add_argument("--quick", action="store_true", help="the first load alone")
    parser.add_argument("--repeats", type=int, default=3, help="times that each is run; the median is printed")
    parser.add_argument("--corpus", help="also over this corpus")
    parser.add_argument("--tasks", help="tasks about it, a JSONL file")
    parser.add_argument("--model", default="tiny-sft", help="the policy over it")
    parser.add_argument("--micro-tokens", type=int, default=8192, help="padded tokens of a micro-batch, of either side")
    options = parser.parse_args()
    loads = {name: asdict(load) for name, load in LOADS.items()}
    first = next(iter(loads))
    if options.corpus:
        over = {"model": options.model, "corpus": options.corpus, "tasks": options.tasks}
        loads = {"documents": {**over, "groups": 8, "group_size": 8}, **loads}
    if options.quick:
        loads = {name: load for name, load in loads.items() if name in ("documents", first)}
    loads = {name: {"micro_tokens": options.micro_tokens, **load} for name, load in loads.items()}
    for kind in options.kinds or ["rollout", "update"]:
        other = OTHER[kind]
        print(f"\n| {kind} | tokens | vrag s | {other} s | times | vrag MB | {other} MB | share |\n|{'---|' * 8}")
        for name, settings in rows(kind, loads, first, options.quick).items():
            ours, theirs = (measure(kind, way, settings, options.repeats) for way in ("vrag", other))
            # a random model would also sample what may not be sampled, which TRL's log-probabilities leave in
            tolerance = 1e-3 if "corpus" in settings else 5e-2
            if kind == "update" and abs(ours["norm"] - theirs["norm"]) > tolerance * theirs["norm"]:
                raise SystemExit(f"{name}: the gradients differ: norm {ours['norm']} and {theirs['norm']}")
            print(
                f"| {name} | {ours['tokens']:,} | {ours['seconds']:.2f} | {theirs['seconds']:.2f} "
                f"| {theirs['seconds'] / ours['seconds']:.1f} | {ours['mb']:,.0f} | {theirs['mb']:,.0f} "
                f"| {ours['mb'] / theirs['mb']:.2f} |",
                flush=True,
            )


def rows(kind: str, loads: dict[str, Any], first: str, quick: bool) -> dict[str, dict[str, Any]]:
    """What is measured: updates with the tower trained; on documents and the first load also in other ways."""
    if kind == "rollout":
        return loads
    found: dict[str, dict[str, Any]] = {}
    for name, load in loads.items():
        ways = FIRST if name in ("documents", first) else {"": {}}
        if name == first and not quick:
            ways = ways | MORE
        found |= {name + way: {**load, **how} for way, how in ways.items()}
    return found


if __name__ == "__main__":
    main()
