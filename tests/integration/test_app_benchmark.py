"""benchmarks/app: its corpus opens, and has an answer to each question that is asked of it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from vrag.agent import Agent
from vrag.corpus.store import Corpus

FOLDER = Path(__file__).parents[2] / "benchmarks/app"


def test_what_is_asked_stands_on_one_page_of_a_corpus_that_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    made = importlib.import_module("corpus").make_corpus(tmp_path / "many", 45)
    with Corpus.open(tmp_path / "many") as corpus:
        assert (corpus.count(), len(corpus.documents()), made.documents) == (45, 3, 3)
        for name, value in made.facts[::20]:
            reply = Agent(corpus).ask(f"At how many bar does the valve {name} open?")
            assert reply.text == str(value) and reply.crop_image() is not None
