"""The weights that ship with the package: small enough, with their cards, and better than chance on documents that
training hasn't seen.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from vrag.cli import main
from vrag.data.synthetic import SyntheticSpec, difficulty, synthesize
from vrag.data.tasks import read_tasks
from vrag.hub import MODELS
from vrag.policies.load import SHIPPED
from vrag.retriever import open_retriever

LARGEST = 25_000_000  # bytes, of all of them


@pytest.fixture(scope="module")
def heldout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four documents of the held-out split."""
    folder = tmp_path_factory.mktemp("heldout")
    synthesize(folder, SyntheticSpec(split="heldout", documents=4, seed=5, difficulty=difficulty(1)))
    return folder


def test_they_are_small_and_say_what_they_score() -> None:
    assert sum(file.stat().st_size for file in MODELS.rglob("*") if file.is_file()) < LARGEST
    cards = sorted(MODELS.glob("*/README.md"))
    assert [card.parent.name for card in cards] == sorted([*SHIPPED.values(), "vrag-tiny-encoder"])
    assert all("Held-out results" in card.read_text(encoding="utf-8") for card in cards)


def test_the_encoder_finds_pages_by_their_images(heldout: Path, tmp_path: Path) -> None:
    from vrag.corpus.store import Corpus

    place = tmp_path / "corpus"
    documents = str(heldout / "documents")
    assert main(["index", documents, "-c", str(place), "--dpi", "150", "--ocr", "off", "--encoder", "tiny"]) == 0
    with Corpus.open(place) as corpus:
        assert corpus.count() >= 12
        retriever = open_retriever(corpus, "visual")
        asked = [task for task in read_tasks(heldout / "tasks.jsonl") if task.hops == 1]
        found = [asyncio.run(retriever.search(task.question, 3)) for task in asked]
    first = [any(hit.ref == task.gold[0].ref for hit in hits) for task, hits in zip(asked, found, strict=True)]
    assert sum(first) >= 0.5 * len(first), "by chance a fifth"


@pytest.mark.parametrize("policy", sorted(SHIPPED))
def test_the_agent_searches_and_answers(policy: str, heldout: Path, tmp_path: Path) -> None:
    place, run = str(tmp_path / "corpus"), tmp_path / "run"
    assert main(["index", str(heldout / "documents"), "-c", place, "--dpi", "200", "--ocr", "off"]) == 0
    tasks = ["--tasks", str(heldout / "tasks.jsonl"), "--limit", "8"]
    assert main(["eval", "-c", place, *tasks, "--policy", policy, "--out", str(run)]) == 0
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert summary["finished"]["value"] >= 0.75 and summary["searches"] >= 1
    assert summary["shown"]["recall"]["5"]["value"] >= 0.5, "of the gold pages; by chance one in ten or so"
