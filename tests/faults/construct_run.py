"""`python construct_run.py URL FOLDER`: construct two tasks of the small world, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.teachers import construct, settings, small
from tests.trajectories import make_store, one_hop, two_hops
from vrag.policies.speaker import environment_for


def main(url: str, folder: Path) -> None:
    store = make_store()
    patient = {"timeout": 60.0, "total": 120.0}  # a request that a busy machine makes late is not asked twice
    more = {"samples": 2, "stop_at_first": False, "balance": {"cap": 1}}
    config = settings(url, planner=patient, grounder=patient, **more)
    construct(folder, config, store, [two_hops(store), one_hop(store)], small(environment_for("qwen2_5_vl")))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
