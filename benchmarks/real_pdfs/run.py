"""The extractive policy over real manuals: is the page of its answer one that holds the answer?

    python benchmarks/real_pdfs/run.py FOLDER [--tasks FILE] [--corpus PATH]

FOLDER holds the PDFs that README.md names. A task's `gold` lists every page that holds the answer: alternatives,
not hops. A hit is an answer whose evidence page is one of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from vrag import Agent, Corpus
from vrag.data.tasks import read_tasks
from vrag.evaluation.intervals import wilson
from vrag.retriever import LexicalRetriever
from vrag.rewards.answer import normalise
from vrag.types import Task

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the PDFs; they are indexed first, a rerun reads only what is new")
    parser.add_argument("--tasks", type=Path, default=HERE / "tasks.jsonl")
    parser.add_argument("--corpus", type=Path, default=Path("real-pdfs-corpus"), help="where to keep the index")
    options = parser.parse_args()
    corpus = str(options.corpus.resolve())
    # live-manual has a damaged page tree: `vrag index` names it and goes on, so its exit code isn't checked
    subprocess.run([sys.executable, "-m", "vrag", "index", str(options.folder), "--corpus", corpus], check=False)
    tasks = read_tasks(options.tasks)
    with Corpus.open(corpus) as store:
        agent = Agent(store, "extractive", LexicalRetriever(store))
        marks = [_ask(task, agent) for task in tasks]
    _total("right page in the top 1", [page for page, _ in marks])
    _total("expected words in the answer", [words for _, words in marks])


def _ask(task: Task, agent: Agent) -> tuple[bool, bool]:
    """Print one question's line; whether the page is right, and whether the answer holds an expected one."""
    reply = agent.ask(task.question)
    ref = reply.evidence.ref if reply.evidence else None
    page = ref in [gold.ref for gold in task.gold]
    said = f" {normalise(reply.text or '')} "
    words = any(f" {normalise(answer)} " in said for answer in task.answers)
    where = f"{ref.document} p. {ref.page}" if ref else "nowhere"
    print(f"{'hit ' if page else 'miss'} {task.id}  {task.question}\n       {where}: {reply.text}")
    return page, words


def _total(name: str, marks: list[bool]) -> None:
    share = wilson(sum(marks), len(marks))
    if share is None:
        sys.exit("no questions")
    interval = f"{share.value:.0%}, 95 % interval {share.low:.0%} to {share.high:.0%}"
    print(f"{name}: {sum(marks)} of {len(marks)} ({interval})")


if __name__ == "__main__":
    main()
