"""Fault table, rows 11, 12 and 21, where data are constructed: what fails is counted and tried again, what was paid for
is kept, and no file has the key.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import stamina

from tests.chats import Answer, Asked, ChatServer, chat_server, cuts, fails, garbage, hangs, repeats_the_key, says
from tests.teachers import ONE, Teachers, construct, faulty, settings, small
from tests.trajectories import make_store, one_hop
from vrag.data.dataset import Manifest, read_trajectories
from vrag.errors import InfrastructureError
from vrag.policies.speaker import environment_for
from vrag.testing import FixedRetriever, MemoryStore
from vrag.types import Task

KEY = "canary-4a8a08f09d37b737"
ENVIRONMENT = small(environment_for("qwen2_5_vl"))
SCRIPT = Path(__file__).with_name("construct_run.py")


@pytest.fixture(autouse=True)
def no_pauses() -> Generator[None]:
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return make_store()


def many(store: MemoryStore, count: int) -> list[Task]:
    return [one_hop(store).model_copy(update={"id": f"one-{number}"}) for number in range(count)]


def make(folder: Path, server: ChatServer, store: MemoryStore, count: int = 1, **more: Any) -> Manifest:
    return construct(folder, settings(server.url, **more), store, many(store, count), ENVIRONMENT)


def only(who: str, answer: Answer, other: Answer) -> Answer:
    """`answer` to what `who` is asked."""
    return lambda asked: (answer if asked.body["model"] == who else other)(asked)


FAILURES: dict[str, Answer] = {
    "500": fails(500),
    "429": fails(429),
    "cut": cuts,
    "no json": garbage(b"\xff\x00<html>"),
    "no choice": garbage(b'{"choices": []}'),
}


@pytest.mark.parametrize("who", ["planner", "grounder"])
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_server_that_fails_costs_three_tries_and_the_episode_is_owed(
    failure: Answer, who: str, store: MemoryStore, tmp_path: Path
) -> None:
    works = Teachers(store)
    with chat_server(only(who, failure, works)) as server:
        manifest = make(tmp_path / "set", server, store)
        assert (manifest.kept, manifest.dropped, manifest.failed) == (0, {}, 1)
        assert manifest.cost[who].calls == 3
    with chat_server(works) as server:
        manifest = make(tmp_path / "set", server, store)
        assert (manifest.kept, manifest.dropped, manifest.failed) == (1, {}, 0)
        assert len(server.asked) == (4 if who == "planner" else 2), "what was answered before isn't asked again"


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_server_that_recovers_within_its_tries_is_no_failure(
    failure: Answer, store: MemoryStore, tmp_path: Path
) -> None:
    with chat_server(failure, failure, Teachers(store)) as server:
        manifest = make(tmp_path / "set", server, store)
        assert (manifest.kept, manifest.failed, len(server.asked)) == (1, 0, 6)


GARBAGE = {
    "empty": "",
    "words": "I see it on the left.",
    "three numbers": '{"bbox_2d": [1, 2, 3]}',
    "not numbers": '{"bbox_2d": [1, 2, NaN, 4]}',
    "two boxes": '[{"bbox_2d": [1, 2, 30, 40]}, {"bbox_2d": [5, 2, 30, 40]}]',
    "inverted": '{"bbox_2d": [30, 2, 1, 40]}',
    "outside": '{"bbox_2d": [0, 0, 30, 4000]}',
    "negative": '{"bbox_2d": [-1, 0, 30, 40]}',
    "no area": '{"bbox_2d": [1, 1, 1, 40]}',
    "only thought of": '<think>{"bbox_2d": [1, 2, 30, 40]}</think> hm',
    "endless": "[" * 50_000 + '"bbox_2d": [' * 1_000,
}


@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE)
def test_a_grounder_that_draws_no_box_is_told_so_and_then_the_episode_is_dropped(
    text: str, store: MemoryStore, tmp_path: Path
) -> None:
    with chat_server(only("grounder", says(text), Teachers(store))) as server:
        manifest = make(tmp_path / "set", server, store)
        assert manifest.dropped == {"grounder said nothing that can be used": 1} and manifest.failed == 0
        asked = [a.body["messages"] for a in server.asked if a.body["model"] == "grounder"]
        assert len(asked) == 3 and "bbox_2d" in asked[1][-1]["content"]
        assert make(tmp_path / "set", server, store) == manifest and len(server.asked) == 5, "it isn't owed"


def test_a_planner_that_talks_nonsense_is_dropped_with_what_it_said(store: MemoryStore, tmp_path: Path) -> None:
    with chat_server(says("Let me see!")) as server:
        manifest = make(tmp_path / "set", server, store)
        assert manifest.dropped == {"planner said nothing that can be used": 1} and len(server.asked) == 3
    row = json.loads((tmp_path / "set" / "dropped.jsonl").read_text())
    assert "Let me see!" in row["detail"] and "no action" in row["detail"]


def test_a_server_that_hangs_costs_no_more_than_its_time(store: MemoryStore, tmp_path: Path) -> None:
    began = time.perf_counter()
    with chat_server(hangs) as server:
        slow = {"timeout": 0.05, "total": 0.3}
        manifest = make(tmp_path / "set", server, store, 4, planner=slow, concurrency=4)
    assert manifest.failed == 4 and time.perf_counter() - began < 5


def test_with_a_fifth_of_the_calls_failing_reruns_end_in_the_dataset_of_a_run_without_failures(
    store: MemoryStore, tmp_path: Path
) -> None:
    once = {"attempts": 1}
    with chat_server(Teachers(store)) as server:
        whole = make(tmp_path / "whole", server, store, 8, planner=once, grounder=once, samples=2, concurrency=4)
        assert whole.kept == 8 and len(server.asked) == 32
    failed: list[int] = []
    with chat_server(faulty(Teachers(store), fails(500), every=5)) as server:
        for _ in range(10):
            manifest = make(tmp_path / "set", server, store, 8, planner=once, grounder=once, samples=2, concurrency=4)
            assert manifest.kept + manifest.failed == 8 and manifest.dropped == {}
            failed.append(manifest.failed)
            if not manifest.failed:
                break
        assert failed[0] > 0 and failed[-1] == 0
        assert len(server.asked) - len(server.asked) // 5 == 32, "every reply was paid for once"
    assert read_trajectories(tmp_path / "set") == read_trajectories(tmp_path / "whole")


def test_servers_that_are_down_end_the_run_early_and_nothing_is_taken_for_whole(
    store: MemoryStore, tmp_path: Path
) -> None:
    with chat_server(fails(503)) as server:
        with pytest.raises(InfrastructureError, match=r"3 episodes in a row failed.*same command.*one-2: planner http"):
            make(tmp_path / "set", server, store, 9, max_failures=3)
        assert len(server.asked) == 9 and not (tmp_path / "set" / "manifest.json").exists()
    with chat_server(Teachers(store)) as server:
        assert make(tmp_path / "set", server, store, 9, max_failures=3, concurrency=8).kept == 9


def test_a_search_that_fails_is_tried_again_without_paying_again(store: MemoryStore, tmp_path: Path) -> None:
    with chat_server(Teachers(store)) as server:
        down, config = FixedRetriever(error=InfrastructureError("search is down")), settings(server.url)
        failed = construct(tmp_path / "set", config, store, many(store, 1), ENVIRONMENT, down)
        assert failed.failed == 1 and len(server.asked) == 1
        assert construct(tmp_path / "set", config, store, many(store, 1), ENVIRONMENT).kept == 1
        assert len(server.asked) == 4


def test_a_judge_that_fails_leaves_the_episode_owed_and_paid(store: MemoryStore, tmp_path: Path) -> None:
    teachers = Teachers(store, {"one": [*ONE[:2], "<think>y</think><answer>310 by the end of 2021</answer>"]})

    def judge_down(asked: Asked) -> None:
        unsure = asked.body["model"] == "judge" and "2021" in asked.prompt
        (fails(500) if unsure else teachers)(asked)

    judge = {"cache": "off"}
    with chat_server(judge_down) as server:
        assert make(tmp_path / "set", server, store, judge=judge).failed == 1
    with chat_server(teachers) as server:
        manifest = make(tmp_path / "set", server, store, judge=judge)
        assert manifest.kept == 1 and {asked.body["model"] for asked in server.asked} == {"judge"}


# ------------------------------------------------------------------------------ killed, and run again


def command(url: str, folder: Path, kill_at: str = "") -> int:
    env = {**os.environ, "VRAG_KILL_AT": kill_at}
    root = str(Path(__file__).parents[2])
    env["PYTHONPATH"] = os.pathsep.join([root, env.get("PYTHONPATH", "")])
    return subprocess.run([sys.executable, str(SCRIPT), url, str(folder)], env=env, check=False).returncode


def contents(folder: Path) -> dict[str, bytes]:
    files = (f for f in folder.rglob("*") if f.is_file() and "sqlite" not in f.name)
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


@pytest.fixture(scope="module")
def whole(store: MemoryStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "set"
    with chat_server(Teachers(store)) as server:
        assert command(server.url, folder) == 0 and len(server.asked) == 22
    assert len(read_trajectories(folder)) == 2
    return folder


@pytest.mark.parametrize("point", ["replies.kept:4", "trajectories.image:2", "trajectories.kept:3"])
def test_a_killed_command_run_again_writes_the_same_bytes_and_pays_for_no_call_twice(
    point: str, whole: Path, store: MemoryStore, tmp_path: Path
) -> None:
    with chat_server(Teachers(store)) as server:
        assert command(server.url, tmp_path / "set", point) == -signal.SIGKILL
        before = len(server.asked)
        assert 0 < before <= 22 and not (tmp_path / "set" / "manifest.json").exists()
        assert command(server.url, tmp_path / "set") == 0
        assert len(server.asked) == 22
    assert contents(tmp_path / "set") == contents(whole)


# ------------------------------------------------------------------------------ the key: FAULTS 21


def test_no_file_has_a_key_also_where_servers_repeat_it(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for who in ("PLANNER", "GROUNDER", "JUDGE"):
        monkeypatch.setenv(f"VRAG_{who}_KEY", KEY)
    teachers = Teachers(store, {"one": [f"<think>my key is {KEY}</think><search>plant 42 staff</search>", *ONE[1:]]})
    with chat_server(teachers) as server:
        assert make(tmp_path / "said", server, store, judge={"cache": str(tmp_path / "verdicts.sqlite")}).kept == 1
        assert {asked.headers["Authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
    with chat_server(repeats_the_key) as server:
        assert make(tmp_path / "refused", server, store).failed == 1
    with chat_server(says(f"what? {KEY}")) as server:
        assert make(tmp_path / "nonsense", server, store).kept == 0
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 10 and [file for file in files if KEY.encode() in file.read_bytes()] == []
    assert read_trajectories(tmp_path / "said")[0].turns[0].thought == "my key is ***"
    assert KEY not in caplog.text
