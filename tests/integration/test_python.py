"""vrag from Python: the names that the package exports."""

from __future__ import annotations

import asyncio
import functools
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import vrag
from tests.agents import plays
from tests.asking import make_corpus, scripted
from tests.chats import chat_server
from tests.papers import write_pdf
from vrag.data.tasks import write_tasks
from vrag.errors import InfrastructureError, UsageError
from vrag.policies.served import ServedSettings
from vrag.testing import FixedRetriever
from vrag.types import Evidence, PageRef, Task, Turn

QUESTION = "Which port does the daemon listen on?"
TASK = Task(
    id="port", question=QUESTION, answers=["873"], gold=[Evidence(ref=PageRef(document="manual.pdf", page=2))], hops=1
)


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("made") / "notes")


@pytest.fixture
def corpus(manual: Path) -> Generator[vrag.Corpus]:
    with vrag.Corpus.open(manual) as corpus:
        yield corpus


def loaded(code: str) -> set[str]:
    """What `code` imports, of what takes its time."""
    heavy = "{'pydantic', 'numpy', 'PIL', 'torch', 'typer', 'vrag.agent'}"
    command = f"import sys; {code}; print(*({heavy} & set(sys.modules)))"
    return set(subprocess.run([sys.executable, "-c", command], capture_output=True, text=True).stdout.split())


def test_importing_the_package_imports_nothing_else_and_an_agent_no_torch():
    assert loaded("import vrag") == set()
    assert "vrag.agent" in (found := loaded("from vrag import Agent")) and "torch" not in found


def test_every_exported_name_is_there_and_no_other():
    assert all(getattr(vrag, name).__name__ == name for name in vrag.__all__)
    assert set(vrag.__all__) <= set(dir(vrag))
    with pytest.raises(AttributeError, match="no attribute 'Agnet'"):
        vrag.Agnet  # type: ignore[attr-defined]  # noqa: B018


def test_the_examples_of_the_documentation_run(manual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = (Path(__file__).parents[2] / "docs/python.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    write_tasks(tmp_path / "tasks.jsonl", [TASK])
    here = {"/home/me/Documents/reports": str(manual.parent / "documents"), "What was the revenue in 2022?": QUESTION}
    here['"tiny"'] = '"extractive"'  # loading weights has tests of its own
    here["steps=20, groups=8"] = "steps=1, groups=1, group_size=2"
    known: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(functools.reduce(lambda text, old: text.replace(old, here[old]), here, block), known)
    known["corpus"].close()
    assert known["trained"] is known["model"] and (tmp_path / "runs/rl/checkpoints/step-000001").is_dir()
    assert known["done"].summary.accuracy.value == 1.0 and (tmp_path / "evidence/page.png").is_file()


def test_an_answer_comes_with_its_place_as_pictures_and_each_step_as_it_happens(corpus: vrag.Corpus, tmp_path: Path):
    told: list[Turn] = []
    reply = vrag.Agent(corpus).ask(QUESTION, on_turn=told.append)
    assert reply.text == "873" and told == reply.turns and len(told) == 3
    assert reply.evidence is not None and reply.evidence.ref == PageRef(document="manual.pdf", page=2)
    assert reply.found is not None and reply.evidence.box is not None
    page, crop = reply.page_image(), reply.crop_image()
    assert page is not None and crop is not None
    assert page.size == (reply.found.page.width, reply.found.page.height)
    stored = corpus.image(reply.found.page.id)
    assert page.tobytes() != stored.tobytes(), "the box is drawn"
    assert crop.tobytes() == stored.crop(reply.found.region.as_tuple()).tobytes()
    files = reply.save(tmp_path / "evidence")
    with Image.open(files["crop"]) as saved:
        assert saved.size == crop.size


def test_a_notebook_whose_loop_runs_may_ask_search_and_measure(corpus: vrag.Corpus, tmp_path: Path):
    async def cell() -> tuple[str | None, int, float | None]:
        agent = vrag.Agent(corpus)
        summary = vrag.evaluate(agent, [TASK], tmp_path / "run").summary
        found = agent.search("daemon", k=5)
        return agent.ask(QUESTION).text, len(found), summary.accuracy and summary.accuracy.value

    assert asyncio.run(cell()) == ("873", 2, 1.0)


def test_an_answer_that_looked_at_nothing_has_no_place(corpus: vrag.Corpus, tmp_path: Path):
    reply = vrag.Agent(corpus, scripted("<think>I know.</think><answer>42</answer>")(corpus)).ask(QUESTION)
    assert (reply.text, reply.evidence, reply.page_image(), reply.crop_image()) == ("42", None, None, None)
    assert reply.save(tmp_path / "nothing") == {}


def test_an_episode_that_spends_its_turns_has_no_answer_and_says_why(corpus: vrag.Corpus):
    searches = scripted(*["<think>More.</think><search>daemon</search>"] * 5)(corpus)
    agent = vrag.Agent(corpus, searches)
    shorter = agent.within(agent.environment.model_copy(update={"max_turns": 1, "final_turn": False}))
    reply = shorter.ask(QUESTION)
    assert reply.text is None and reply.episode.stop.value == "turns" and len(reply.turns) == 1
    assert agent.environment.max_turns > 1, "the first one is as it was"


def test_a_served_model_is_a_policy_and_its_url_alone_is_not(corpus: vrag.Corpus):
    with chat_server(plays({"port": "873"})) as server:
        settings = ServedSettings(url=server.url, model="Qwen/Qwen2.5-VL-7B-Instruct")
        assert vrag.Agent(corpus, settings).ask(QUESTION).text == "873"
        with pytest.raises(UsageError, match="ServedSettings"):
            vrag.Agent(corpus, server.url)


def test_what_fails_is_raised_and_an_empty_question_refused(corpus: vrag.Corpus):
    broken = vrag.Agent(corpus, retriever=FixedRetriever(error=InfrastructureError("search is down")))
    with pytest.raises(InfrastructureError, match="search is down"):
        broken.ask(QUESTION)
    with pytest.raises(InfrastructureError, match="search is down"):
        broken.search("daemon")
    with pytest.raises(UsageError, match="empty"):
        broken.ask(" \n")


def test_a_path_of_questions_or_of_documents_is_taken_and_the_name_of_a_corpus_is_told_how(
    corpus: vrag.Corpus, tmp_path: Path
):
    write_tasks(tmp_path / "tasks.jsonl", [TASK])
    measured = vrag.evaluate(vrag.Agent(corpus), str(tmp_path / "tasks.jsonl"), str(tmp_path / "run"))
    assert [record.answer for record in measured.records] == ["873"]
    write_pdf(tmp_path / "own.pdf", ["amber"])
    with vrag.Corpus.create(tmp_path / "own") as own:
        vrag.ingest(str(tmp_path / "own.pdf"), own, vrag.IngestOptions(workers=1, ocr="off"))
        assert own.count() == 1
    with pytest.raises(UsageError, match=r"Agent\(Corpus\.open\('notes'\)\)"):
        vrag.Agent("notes")  # type: ignore[arg-type]


def test_a_measured_run_is_kept_continued_and_not_mixed_with_another(corpus: vrag.Corpus, tmp_path: Path):
    agent = vrag.Agent(corpus)
    first = vrag.evaluate(agent, [TASK], tmp_path / "run")
    assert first.records[0].answer == "873" and (first.out / "summary.json").is_file()
    asked: list[object] = []
    again = vrag.evaluate(agent, [TASK], tmp_path / "run", on_record=asked.append)
    assert (again.records, asked) == (first.records, [])
    other = agent.within(agent.environment.model_copy(update={"max_turns": 1}))
    with pytest.raises(UsageError, match="another configuration"):
        vrag.evaluate(other, [TASK], tmp_path / "run")
    vrag.evaluate(other, [TASK], tmp_path / "run", overwrite=True, on_record=asked.append)
    assert len(asked) == 1
