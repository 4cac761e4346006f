"""A small evaluation as a process of its own, to be killed: `python evaluate_chance.py RUN`.

The policy searches and then answers by the seed that it was given, so that the result shows whether each
episode sampled from its own seed. Prints the summary without what is timed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from vrag.environment import DocumentEnvironment
from vrag.evaluation.runner import EvalSettings, evaluate, finish
from vrag.rewards.combine import score_episode
from vrag.rollout import Limits
from vrag.runs import RunDir
from vrag.testing import MemoryStore, WordRetriever
from vrag.types import Evidence, Request, Sample, Task

QUESTIONS = 20


class ChancePolicy:
    async def generate(self, request: Request) -> Sample:
        if len(request.messages) == 1:
            return Sample("<think>first</think><search>revenue</search>", "stop")
        return Sample(f"<think>now</think><answer>{40 + request.sampling.seed % 3}</answer>", "stop")

    def close(self, session: str) -> None:
        pass


def main(path: Path) -> None:
    store = MemoryStore()
    page = store.add("report.pdf", 1, ["Revenue 42"])
    retriever = WordRetriever(store)
    tasks = [
        Task(id=f"q{number}", question="How much revenue?", answers=["42"], gold=[Evidence(ref=page.ref)])
        for number in range(QUESTIONS)
    ]
    settings = EvalSettings(seeds=(0, 1), concurrency=8)
    run = RunDir.open(path, settings)
    records = asyncio.run(
        evaluate(
            run,
            tasks,
            make_environment=lambda: DocumentEnvironment(store, retriever),
            policy=ChancePolicy(),
            codec=None,
            score=score_episode,
            settings=settings,
            limits=Limits(),
        )
    )
    print(finish(run, records).model_copy(update={"seconds": 0.0}).model_dump_json())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
