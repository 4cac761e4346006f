"""Fault table, row 12: a policy server that fails at random. The evaluation ends; what failed is no wrong answer."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import stamina

from tests.agents import at_random, plays
from tests.chats import Answer, chat_server, completion, cuts, event, fails, garbage, hangs, streams
from tests.papers import write_pdf
from vrag.cli import main
from vrag.data.tasks import write_tasks
from vrag.types import Evidence, PageRef, Task

GOLD = {"amber": "1984", "kelp": "2003"}
MODEL = "qwen2.5-vl"


@pytest.fixture(autouse=True)
def no_pauses() -> Generator[None]:
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_pdf(folder / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    write_pdf(folder / "docs/kelp.pdf", ["The kelp farm was sold in 2003"])
    assert main(["index", str(folder / "docs"), "-c", str(folder / "mine"), "--workers", "1", "--ocr", "off"]) == 0
    return folder / "mine"


@pytest.fixture
def tasks(tmp_path: Path, corpus: Path, full: bool) -> Path:
    (tmp_path / "corpus").symlink_to(corpus)
    rows = [
        Task(
            id=f"{name}-{number}",
            question=f"When was the {name} sold or opened?",
            answers=[year],
            gold=[Evidence(ref=PageRef(document=f"{name}.pdf", page=1))],
        )
        for number in range(50 if full else 10)
        for name, year in GOLD.items()
    ]
    write_tasks(tmp_path / "tasks.jsonl", rows)
    return tmp_path / "tasks.jsonl"


def finishes(finish: str) -> Answer:
    """Wrongly: the answer is whole, or there is none at all."""
    return lambda asked: asked.send(200, completion("<answer>1066</answer>", finish=finish))


FAULTS: dict[str, list[Answer]] = {
    "500": [fails(500)],
    "cut streams": [cuts],
    "garbage": [garbage(b"<html>"), garbage(b"{}"), garbage(b"")],
    "broken off": [finishes("abort"), finishes("content_filter"), finishes("error")],
    "broken streams": [
        streams(event("<answer>10")),
        streams(event("<answer>10"), b'data: {"error": "no memory"}\n\n'),
        streams(event("<answer>1066</answer>"), event("", "abort")),
        streams(),
    ],
    "hangs": [hangs],
    "all of them": [fails(500), fails(503), cuts, garbage(b"{"), finishes("abort"), fails(400)],
}


@pytest.mark.parametrize("kind", FAULTS)
def test_an_evaluation_ends_and_counts_all_and_a_rerun_does_what_is_owed(
    kind: str, tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy = plays(GOLD)
    with chat_server(at_random(0.2, 7, FAULTS[kind], healthy)) as server:
        # a busy machine may let healthy answers time out too, which fails more episodes and no assertion
        first = evaluate(tasks, server.url, capsys, timeout=1.0 if kind == "hangs" else 60.0)
    count = sum(1 for line in tasks.read_text().splitlines() if line)
    assert first["episodes"] == count and first["scored"] + first["errored"] == count
    assert 0 < first["errored"] < count, "the test is to see both"
    assert first["accuracy"]["value"] == 1.0 and first["accuracy"]["n"] == first["scored"]
    assert first["stops"] == {"answer": first["scored"], "error": first["errored"]}
    log = tasks.parent / "run/episodes.jsonl"
    before = log.read_bytes()
    assert len(keys(before)) == len(set(keys(before))) == count

    with chat_server(healthy) as server:
        second = evaluate(tasks, server.url, capsys)
        assert len(server.asked) == 2 * first["errored"], "nothing is asked again that was answered"
    assert (second["scored"], second["errored"], second["accuracy"]["value"]) == (count, 0, 1.0)
    added = log.read_bytes().removeprefix(before)
    assert len(keys(added)) == len(set(keys(added))) == first["errored"]


def test_failing_calls_change_no_verdict_on_what_was_scored(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = plays({**GOLD, "kelp": "1066"})  # is wrong about the kelp
    with chat_server(half) as server:
        assert evaluate(tasks, server.url, capsys)["accuracy"]["value"] == 0.5
    log = tasks.parent / "run/episodes.jsonl"
    healthy = verdicts(log)
    log.unlink()
    with chat_server(at_random(0.2, 3, [fails(500), cuts], half)) as server:
        assert main(command(tasks, server.url)) == 0
    failing, said = verdicts(log), capsys.readouterr()
    scored = {name: right for name, right in failing.items() if right is not None}
    owed = len(healthy) - len(scored)
    assert owed > 0 and set(scored.values()) == {0.0, 1.0}, "the test is to see all three"
    assert scored == {name: healthy[name] for name in scored} and set(failing) == set(healthy)
    assert f"{owed} of {len(healthy)} episodes have no score" in said.err
    assert f"{len(scored)} + {owed} = {len(healthy)}" in said.out


def test_a_server_that_is_gone_is_one_line_and_no_traceback(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = evaluate(tasks, "http://127.0.0.1:1/v1", capsys)
    assert (lost["scored"], lost["errored"], lost["accuracy"]) == (0, lost["episodes"], None)
    assert lost["usage"]["completion_tokens"] == 0 < lost["usage"]["calls"]


def test_a_hint_says_what_to_do_about_an_unknown_model(tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(fails(404)) as server:
        assert main([*command(tasks, server.url), "--limit", "1"]) == 0
    said = capsys.readouterr().err
    assert "1 of 1 episodes have no score" in said and f"does it have the model {MODEL}?" in said


def command(tasks: Path, url: str, timeout: float = 60.0) -> list[str]:
    changes = ("attempts=1", f"timeout={timeout}", "total=120")
    names = {"-c": "corpus", "--tasks": "tasks.jsonl", "--out": "run"}
    where = [item for option, name in names.items() for item in (option, str(tasks.parent / name))]
    settings = [item for change in changes for item in ("--policy-set", change)]
    text = ["--recipe", "react-text"]  # two requests an episode, and no image to draw
    return ["eval", *where, *text, "--policy", url, "--policy-model", MODEL, *settings]


def evaluate(tasks: Path, url: str, capsys: pytest.CaptureFixture[str], timeout: float = 60.0) -> dict[str, Any]:
    assert main([*command(tasks, url, timeout), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def keys(log: bytes) -> list[tuple[str, int, int]]:
    rows = [json.loads(line) for line in log.splitlines()]
    return [(row["task"]["id"], row["sample"], row["seed"]) for row in rows]


def verdicts(log: Path) -> dict[str, float | None]:
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return {row["task"]["id"]: row["reward"] and row["reward"]["parts"]["answer"] for row in rows}
