"""A policy of one's own, with an action of its own, by its name: asked, evaluated, served."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.papers import write_pdf
from vrag.cli import main
from vrag.cli.options import named_policies
from vrag.corpus.store import Corpus
from vrag.data.tasks import write_tasks
from vrag.environment import EnvironmentConfig
from vrag.evaluation.runner import read_records
from vrag.policies.scripted import ScriptedPolicy
from vrag.policies.speaker import Speaker
from vrag.protocols import PageStore
from vrag.retriever import open_retriever
from vrag.scene import Scene
from vrag.servers.agent.events import Acted, Answered, Event, PageShown
from vrag.servers.agent.playing import Question, play
from vrag.types import Custom, Observation, StopReason, Task

QUESTION = "Which port does the daemon listen on?"
SCRIPT = ["<search>daemon</search>", "<again>please</again>", "<answer>873</answer>"]


class Again:
    """Shows the page that was shown last once more."""

    name = "again"
    about = "With <again></again> you see the page once more."

    async def observe(self, content: str, scene: Scene) -> Observation:
        assert scene.view is not None and scene.task.question == QUESTION
        return Observation(kind="page", view=scene.whole(scene.view.page_id))


def agent(store: PageStore) -> Speaker:
    return Speaker("twice", ScriptedPolicy(SCRIPT), None, EnvironmentConfig(), actions=(Again(),))


NAME = f"{__name__}:agent"


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    write_pdf(tmp_path / "docs" / "manual.pdf", ["The daemon listens on port 873"])
    assert main(["index", str(tmp_path / "docs"), "-c", "manuals", "--workers", "1", "--ocr", "off"]) == 0
    return "manuals"


def test_it_is_asked(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["ask", QUESTION, "-c", corpus, "--policy", NAME, "--out", str(tmp_path / "out"), "--json"]
    capsys.readouterr()
    assert main(asked) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["policy"], found["answer"]) == ("twice", "873")
    assert found["turns"][1]["action"] == {"name": "again", "content": "please"}
    assert "again   please\n        manual.pdf, page 1\n" in printed.err


@pytest.mark.parametrize("name", ["Again", "SCRIPT"])
def test_what_cant_be_called_with_a_store_is_told(corpus: str, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["ask", QUESTION, "-c", corpus, "--policy", f"{__name__}:{name}"]) == 2
    assert "a function that makes a Speaker" in capsys.readouterr().err


def test_it_is_evaluated_and_the_run_keeps_its_name(corpus: str, tmp_path: Path) -> None:
    write_tasks(tmp_path / "tasks.jsonl", [Task(id="a", question=QUESTION, answers=["873"])])
    run = tmp_path / "run"
    tasks = ["--corpus", corpus, "--tasks", str(tmp_path / "tasks.jsonl")]
    assert main(["eval", *tasks, "--out", str(run), "--policy", NAME]) == 0
    [record] = read_records(run)
    assert record.turns[1].action == Custom(name="again", content="please") and record.stop is StopReason.ANSWER
    assert json.loads((run / "run.json").read_text())["policy"] == NAME


def test_it_is_served_and_its_action_told(corpus: str) -> None:
    told: list[Event] = []
    with Corpus.open(corpus) as store:
        speaker = named_policies([NAME], None, None, None)[NAME](store)
        question = Question(QUESTION)
        stop = asyncio.run(play("q", question, speaker, store, open_retriever(store), corpus, told.append))
    at = told.index(Acted(step=2, name="again", content="please"))
    assert isinstance(told[at + 1], PageShown) and stop is StopReason.ANSWER
    assert any(isinstance(event, Answered) and event.text == "873" for event in told)
