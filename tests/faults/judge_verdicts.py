"""`python judge_verdicts.py URL CACHE COUNT`: judge so many answers, in a process of its own."""

from __future__ import annotations

import asyncio
import sys

from vrag.episode import Episode
from vrag.rewards.combine import paper_rubric
from vrag.rewards.judge import Judge, JudgeSettings
from vrag.types import StopReason, Task


def main(url: str, cache: str, count: int) -> None:
    episodes = [
        Episode(
            task=Task(id=f"q{number}", question=f"Question {number}?", answers=["gold"]),
            turns=[],
            stop=StopReason.ANSWER,
            answer="other words",
            tokens=None,
        )
        for number in range(count)
    ]
    with Judge(JudgeSettings(url=url, model="m", cache=cache, parallel=3)) as judge:
        asyncio.run(paper_rubric(judge=judge).reward([[episode] for episode in episodes]))
    print(sum(e.reward is not None and e.reward.parts["answer"] == 1.0 for e in episodes), "right")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
