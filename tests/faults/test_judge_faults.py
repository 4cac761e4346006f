"""Fault table, rows 11 and 21: a judge that fails masks the sample, costs three tries, and tells no secret."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import stamina

from tests.chats import FALSE, TRUE, Answer, Asked, chat_server, cuts, fails, garbage, hangs, repeats_the_key, says
from vrag.episode import Episode
from vrag.rewards.combine import paper_rubric
from vrag.rewards.judge import Judge, JudgeSettings
from vrag.rewards.judge_cache import VerdictCache
from vrag.types import StopReason, Task

KEY = "canary-92eb5ffee6ae2fec"
SCRIPT = Path(__file__).with_name("judge_verdicts.py")


@pytest.fixture(autouse=True)
def no_pauses() -> Generator[None]:
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


def made(number: int, answer: str = "other words") -> Episode:
    task = Task(id=f"q{number}", question=f"Question {number}?", answers=["gold"])
    return Episode(task=task, turns=[], stop=StopReason.ANSWER, answer=answer, tokens=None)


def reward(url: str, episodes: list[Episode], **more: object) -> None:
    settings = JudgeSettings.model_validate({"url": url, "model": "m", "timeout": 5.0, "total": 10.0, **more})
    with Judge(settings) as judge:
        asyncio.run(paper_rubric(judge=judge).reward([[episode] for episode in episodes]))


CONTRADICTION = says(f"{TRUE} … {FALSE}")
FAILURES: dict[str, Answer] = {
    "500": fails(500),
    "429": fails(429),
    "cut": cuts,
    "no json": garbage(b"\xff\x00<html>"),
    "no verdict": says("I can't tell."),
    "empty": says(None),
    "contradiction": CONTRADICTION,
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_judge_that_fails_is_asked_three_times_and_the_sample_is_masked(failure: Answer) -> None:
    with chat_server(failure) as server:
        episode = made(0)
        reward(server.url, [episode])
        assert len(server.asked) == 3
    assert episode.reward is None and "answer: judge http" in (episode.error or "")
    assert episode.judgement is not None and episode.judgement.right is None and episode.judgement.calls == 3


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_judge_that_recovers_within_its_tries_gives_a_verdict(failure: Answer) -> None:
    with chat_server(failure, failure, says(FALSE)) as server:
        episode = made(0)
        reward(server.url, [episode])
    assert episode.reward is not None and episode.reward.parts["answer"] == 0.0 and episode.error is None


def test_a_judge_that_hangs_costs_no_more_than_its_time() -> None:
    began = time.perf_counter()
    with chat_server(hangs) as server:
        episodes = [made(number) for number in range(10)]
        reward(server.url, episodes, timeout=0.05, total=0.5)
    assert all(episode.reward is None for episode in episodes)
    assert time.perf_counter() - began < 10


def test_one_sample_that_fails_spoils_no_other() -> None:
    def by_question(asked: Asked) -> None:
        (fails(500) if "Question 3?" in asked.prompt else says(TRUE))(asked)

    with chat_server(by_question) as server:
        episodes = [made(number) for number in range(8)]
        reward(server.url, episodes)
    assert [e.task.id for e in episodes if e.reward is None] == ["q3"]


def test_forty_answers_take_about_the_time_of_one() -> None:
    meeting = threading.Barrier(40)

    def meets(asked: Asked) -> None:
        meeting.wait(20)  # passes only when all are under way at once
        says(TRUE)(asked)

    with chat_server(meets) as server:
        episodes = [made(number) for number in range(40)]
        reward(server.url, episodes, parallel=40, timeout=20.0, total=30.0)
    assert all(episode.reward is not None for episode in episodes)


def test_the_key_of_a_judge_is_in_no_error_record_setting_or_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("VRAG_JUDGE_KEY", KEY)
    with chat_server(repeats_the_key) as server:
        episode = made(0)
        reward(server.url, [episode])
        assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "VRAG_JUDGE_KEY" in (episode.error or ""), "the fix is said"
    assert KEY not in episode.record().model_dump_json() and KEY not in repr(episode)
    assert KEY not in caplog.text


# ------------------------------------------------------------------- the cache, several processes


def judging(url: str, cache: Path, kill_at: str = "") -> subprocess.Popen[str]:
    """A process that judges `made(0)` … `made(11)`."""
    command = [sys.executable, str(SCRIPT), url, str(cache), "12"]
    return subprocess.Popen(command, env={**os.environ, "VRAG_KILL_AT": kill_at}, stdout=subprocess.PIPE, text=True)


def test_processes_that_share_a_cache_ask_about_nothing_that_one_of_them_knows(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.sqlite"
    with chat_server(says(TRUE)) as server:
        together = [judging(server.url, cache) for _ in range(2)]
        assert [process.communicate(timeout=60)[0].strip() for process in together] == ["12 right"] * 2
        asked = len(server.asked)
        assert 12 <= asked <= 24
        again = [made(number) for number in range(12)]
        reward(server.url, again, cache=str(cache))
        assert len(server.asked) == asked and all(episode.reward is not None for episode in again)


def test_a_killed_judge_keeps_what_was_answered(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.sqlite"
    with chat_server(says(TRUE)) as server:
        killed = judging(server.url, cache, kill_at="judge.kept:5")
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
    with chat_server(says(TRUE)) as server:  # another: what the killed one still had under way may come later
        again = [made(number) for number in range(12)]
        reward(server.url, again, cache=str(cache))
        assert len(server.asked) == 12 - 5 and all(episode.reward is not None for episode in again)


def test_caches_that_are_made_at_the_same_time_are_one(tmp_path: Path) -> None:
    file, caches = tmp_path / "c.sqlite", list[VerdictCache]()
    start = threading.Barrier(8)

    def make(number: int) -> None:
        start.wait(10)
        cache = VerdictCache(file)
        cache.keep(f"k{number}", True, "m")
        caches.append(cache)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(caches) == 8
    assert all(cache.get(f"k{number}") for cache in caches for number in range(8))
    for cache in caches:
        cache.close()
    assert [path.name for path in tmp_path.iterdir()] == ["c.sqlite"], "nothing is left behind"
