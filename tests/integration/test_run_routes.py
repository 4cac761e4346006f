"""Runs over HTTP: found below a folder, listed, and one episode as events."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.asking import app_serving, make_corpus
from tests.fabricated import GOLD, answer_turn, crop_turn, episode, failed, invalid_turn, make_task, search_turn
from tests.serving import Running
from tests.traces import make_trace
from vrag.corpus.store import Corpus
from vrag.episode import EpisodeRecord
from vrag.runs import RunDir
from vrag.training.samples import KeptEpisode
from vrag.types import Box, Evidence, Observation, PageRef, StopReason, View


def write_run(folder: Path, *records: EpisodeRecord, **config: Any) -> Path:
    log = RunDir.open(folder, config).log("episodes")
    for record in records:
        log.append(record)
    return folder


def over(page_id: str, ref: PageRef) -> EpisodeRecord:
    """An episode that looked at a page of a real corpus: whole, and at its upper half."""
    record = episode(make_task("real"), search_turn(3), crop_turn(3), answer_turn("42"))
    shown = View(page_id=page_id, ref=ref, region=Box(x1=0, y1=0, x2=1000, y2=2000), width=300, height=600)
    half = shown.model_copy(update={"region": Box(x1=0, y1=0, x2=1000, y2=1000)})
    looks = Observation(kind="page", view=shown), Observation(kind="crop", view=half)
    turns = [turn.model_copy(update={"observation": look}) for turn, look in zip(record.turns, looks, strict=False)]
    return record.model_copy(update={"turns": [*turns, record.turns[-1]]})


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("made") / "notes")


@pytest.fixture(scope="module")
def runs(manual: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    invalid = episode(make_task("t2"), invalid_turn(), stop=StopReason.INVALID)
    first = write_run(folder / "a" / "first", episode(), invalid, failed(make_task("t3")), policy="extractive")
    (first / "summary.json").write_text("{}")
    with Corpus.open(manual) as corpus:
        page = next(iter(corpus.pages()))
    write_run(folder / "second", over(page.id, page.ref), policy={"model": "qwen"}, corpus=str(manual))
    kept = RunDir.open(folder / "trained", {"steps": 3}).log("samples")
    kept.append(KeptEpisode(step=2, why="best", episode=episode(), tokens=make_trace()))
    kept.append(KeptEpisode(step=2, why="worst", episode=episode(make_task("t2"))))
    (RunDir.open(folder / "damaged", {}).path / "episodes.jsonl").write_text('{"turns": 3}\n{}\n')
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "episodes.jsonl").write_text("")
    return folder


@pytest.fixture(scope="module")
def server(manual: Path, runs: Path) -> Generator[Running]:
    with app_serving(chosen={"notes": manual}, runs=runs) as running:
        yield running


def get(server: Running, path: str = "", **query: Any) -> Any:
    answer = server.client.get(f"/v1/runs{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_runs_are_named_by_where_they_lie_and_say_what_they_are(server: Running, manual: Path):
    found = {run.pop("name"): run for run in get(server)["runs"]}
    assert list(found) == ["a/first", "damaged", "second", "trained"]
    assert found["a/first"] == {"kind": "evaluation", "policy": "extractive", "corpus": None, "finished": True}
    assert found["second"] == {"kind": "evaluation", "policy": "qwen", "corpus": str(manual), "finished": False}
    assert found["trained"]["kind"] == "training"


def test_rows_say_what_can_be_filtered(server: Running):
    rows = get(server, "/episodes", run="a/first")["episodes"]
    assert [(row["verdict"], row["stop"], row["task"]) for row in rows] == [
        ("right", "answer", "t1"), ("wrong", "invalid", "t2"), ("unscored", "error", "t3"),
    ]  # fmt: skip
    assert rows[0]["reward"] == pytest.approx(0.96) and rows[0]["parts"] == {
        "answer": 1,
        "retrieval": 0.8,
        "pattern": 1,
    }
    assert rows[2]["reward"] is None and rows[0]["source"] == "unknown"
    kept = get(server, "/episodes", run="trained")["episodes"]
    assert [(row["step"], row["why"]) for row in kept] == [(2, "best"), (2, "worst")]


def test_an_episode_that_training_kept_has_its_tokens_where_they_were_kept_too(server: Running):
    assert get(server, "/episode", run="trained", number=0)["tokens"] == make_trace().model_dump(mode="json")
    assert get(server, "/episode", run="trained", number=1)["tokens"] is None
    assert get(server, "/episode", run="a/first", number=0)["tokens"] is None


def test_an_episode_is_the_events_of_a_question_even_without_its_corpus(server: Running):
    found = get(server, "/episode", run="a/first", number=0)
    assert [event["type"] for event in found["events"]] == [
        *("step", "thought", "query", "found", "page", "step", "thought", "box", "crop", "step", "thought"),
        *("answer", "usage", "stop"),
    ]  # fmt: skip
    (crop,) = [event for event in found["events"] if event["type"] == "crop"]
    assert crop["box"] == pytest.approx(GOLD.model_dump()) and crop["step"] == 2
    assert found["corpus"] is None and found["gold"][0]["box"] == GOLD.model_dump()
    assert found["events"][-2] | {"calls": 0} == {
        "type": "usage", "calls": 0, "prompt_tokens": 440, "completion_tokens": 60, "cost": None,
    }  # fmt: skip


def test_gold_pages_have_places_only_where_it_is_certain_that_they_are_the_same(manual: Path, tmp_path: Path):
    with Corpus.open(manual) as corpus:
        first, second = corpus.pages()
    task = make_task("gold").model_copy(
        update={"gold": [Evidence(ref=second.ref), Evidence(ref=PageRef(document="x.pdf", page=1))]}
    )
    unseen = episode(task, answer_turn("42"))
    same = over(first.id, first.ref).model_copy(update={"task": task, "seed": 1})
    other = over("0" * 24 + "-1", first.ref).model_copy(update={"task": task, "seed": 2})
    write_run(tmp_path / "own", unseen, corpus=str(manual))
    write_run(tmp_path / "elsewhere", unseen, same, other)
    with app_serving(chosen={"notes": manual}, runs=tmp_path) as server:

        def places(run: str, number: int, corpus: str = "notes") -> list[str | None]:
            gold = get(server, "/episode", run=run, number=number, corpus=corpus)["gold"]
            return [one["place"] and one["place"]["page_id"] for one in gold]

        assert places("own", 0) == [second.id, None]
        assert places("elsewhere", 0) == [None, None], "a name may mean another document"
        assert places("elsewhere", 1) == [second.id, None], "the episode says by which hash it goes"
        assert places("elsewhere", 2) == [None, None], "by another"
        assert places("elsewhere", 1, "no corpus") == [None, None]


def test_an_invalid_action_and_a_failure_are_shown_too(server: Running):
    invalid = get(server, "/episode", run="a/first", number=1)
    assert [event["type"] for event in invalid["events"]] == ["step", "invalid", "usage", "stop"]
    broken = get(server, "/episode", run="a/first", number=2)
    assert broken["error"] == "the retriever is down" and broken["events"][-1]["reason"] == "error"


def test_where_its_corpus_is_served_the_answer_has_its_place_and_pages_their_images(server: Running):
    found = get(server, "/episode", run="second", number=0)
    assert found["corpus"] == "notes"
    (answer,) = [event for event in found["events"] if event["type"] == "answer"]
    assert answer["evidence"]["document"] == "manual.pdf"
    assert server.client.get(answer["evidence"]["image"]).status_code == 200
    (crop,) = [event for event in found["events"] if event["type"] == "crop"]
    assert crop["box"] == {"x1": 0, "y1": 0, "x2": 1, "y2": 0.5}


def test_a_corpus_that_lacks_the_pages_is_no_failure(server: Running):
    found = get(server, "/episode", run="a/first", number=0, corpus="notes")
    assert found["corpus"] == "notes"
    assert [event["evidence"] for event in found["events"] if event["type"] == "answer"] == [None]
    assert get(server, "/episode", run="a/first", number=0, corpus="../etc")["corpus"] is None


@pytest.mark.parametrize("name", ["", "..", "a", "first", "../a/first", "/etc", "a/first/", ".hidden", "a\x00"])
def test_no_name_leads_to_what_isnt_listed(server: Running, name: str):
    for path, more in (("/episodes", {}), ("/episode", {"number": 0})):
        answer = server.client.get(f"/v1/runs{path}", params={"run": name, **more})
        assert answer.status_code == 404 and "/" not in answer.json()["detail"].replace("/v1/runs", "")


def test_an_episode_that_isnt_there_and_a_damaged_run_are_said(server: Running, runs: Path):
    missing = server.client.get("/v1/runs/episode", params={"run": "second", "number": 1})
    assert missing.status_code == 404 and "0 to 0" in missing.json()["detail"]
    damaged = server.client.get("/v1/runs/episodes", params={"run": "damaged"})
    assert damaged.status_code == 422 and str(runs) not in damaged.text


def test_a_run_that_goes_on_is_read_again(tmp_path: Path, manual: Path):
    log = RunDir.open(tmp_path / "runs" / "live", {}).log("episodes")
    log.append(episode())
    with app_serving(chosen={"notes": manual}, runs=tmp_path / "runs") as server:
        assert len(get(server, "/episodes", run="live")["episodes"]) == 1
        log.append(episode(make_task("t2")))
        assert len(get(server, "/episodes", run="live")["episodes"]) == 2


def test_a_run_that_is_odd_is_listed_and_keeps_no_other_from_being_so(tmp_path: Path, manual: Path):
    odd: dict[str, Any] = {"a": {}, "b": {"model": 5}, "c": "\ud800", "d": ["qwen"], "e": {"model": "qwen"}}
    for name, policy in odd.items():
        (write_run(tmp_path / name, episode()) / "run.json").write_text(json.dumps({"policy": policy, "corpus": 5}))
    (RunDir.open(tmp_path / "f", {}).path / "episodes.jsonl").symlink_to(tmp_path / "nothing")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/g\xff")).mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/g\xff/episodes.jsonl")).touch()
    with app_serving(chosen={"notes": manual}, runs=tmp_path) as server:
        listed = get(server)["runs"]
        assert [(run["name"], run["policy"]) for run in listed] == [
            *(("a", None), ("b", None), ("c", "?"), ("d", None), ("e", "qwen"), ("f", None), ("g\ufffd", None)),
        ]
        assert {run["kind"] for run in listed} == {"evaluation"}
        assert len(get(server, "/episodes", run="b")["episodes"]) == 1
        assert get(server, "/episodes", run="g\ufffd")["episodes"] == []
        assert server.client.get("/v1/runs/episodes", params={"run": "f"}).status_code == 422
