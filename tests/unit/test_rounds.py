"""Jobs over many machines, without any: what is handed out, what comes back, and what is asked of the machines."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from functools import partial
from pathlib import Path

import pytest

from tests.cluster import do_here
from vrag.cluster import rounds
from vrag.cluster.reading import Reader
from vrag.cluster.rounds import Doer, Work, spread
from vrag.cluster.session import RaySettings, Session, session
from vrag.errors import CorpusError, InfrastructureError, UsageError, VragError


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounds, "_round", do_here)


class Shout:
    def __init__(self, bad: str = "") -> None:
        self._bad = bad

    def __call__(self, ask: str) -> tuple[str, bytes]:
        if ask == self._bad:
            raise CorpusError("the disk is full")
        return ask.upper(), ask.encode()


def never_made() -> rounds.Stage:
    raise ZeroDivisionError


def test_jobs_that_come_up_meanwhile_are_done_in_the_next_round(tmp_path: Path):
    jobs, said = deque(["a", "b"]), list[str]()
    for job, reply in spread(Work(Shout, 2, tmp_path), jobs, str):
        assert reply is not None and reply.data == job.encode()
        said.append(reply.said)
        if job == "a":
            jobs.append("later")
    assert sorted(said) == ["A", "B", "LATER"] and said[-1] == "LATER"
    assert not list(tmp_path.iterdir())


def test_what_a_machine_raises_is_raised_here_with_its_name(tmp_path: Path):
    with pytest.raises(CorpusError, match=f"machine {os.uname().nodename}: the disk is full"):
        list(spread(Work(partial(Shout, "b"), 2, tmp_path), deque(["a", "b"]), str))
    with pytest.raises(InfrastructureError, match="ZeroDivisionError"):
        list(spread(Work(never_made, 2, tmp_path), deque(["a"]), str))
    assert not list(tmp_path.iterdir())


def test_a_job_is_tried_so_often_and_no_more(tmp_path: Path):
    (tmp_path / "0").write_bytes(b"..")  # it has ended two processes
    doer = Doer(Shout, str(tmp_path), 3)
    assert doer({"job": 0, "ask": "a"})["said"] == "A" and not (tmp_path / "0").exists()
    (tmp_path / "0").write_bytes(b"...")
    assert doer({"job": 0, "ask": "a"})["died"]


def test_a_machine_that_lacks_the_corpus_or_the_files_says_which(tmp_path: Path):
    kind, reason = json.loads(Doer(Shout, str(tmp_path / "ray" / "x"), 3)({"job": 0, "ask": "a"})["fault"])
    assert kind == "CorpusError" and f"can't write in {tmp_path}" in reason and "mount it" in reason
    with pytest.raises(CorpusError, match="nowhere isn't there: mount it"):
        Reader({"folder": str(tmp_path)}, 1.0, [str(tmp_path / "nowhere")])


@pytest.mark.parametrize(
    ("settings", "machines", "encoders"),
    [
        ({}, (8, 8, 0, 0), (1, 1, 0)),
        ({"encoders": 9, "encoder_cpus": 4}, (16, 8, 0, 0), (4, 4, 0)),
        ({}, (32, 16, 8, 4), (8, 0, 1)),
        ({"encoder_gpus": 0.5, "encoders": 6}, (32, 16, 8, 4), (6, 0, 0.5)),
        ({"encoder_gpus": 0}, (32, 16, 8, 4), (1, 1, 0)),
        ({"encoder_gpus": 2}, (32, 16, 8, 1), None),
        ({"encoder_cpus": 9}, (32, 8, 0, 0), None),
    ],
)
def test_as_many_encoders_as_fit_and_none_that_no_machine_could_hold(
    settings: dict[str, float], machines: tuple[int, int, float, float], encoders: tuple[int, int, float] | None
):
    made = Session(RaySettings(**settings), *machines)  # type: ignore[arg-type]
    if encoders is None:
        with pytest.raises(UsageError, match="set encoder_gpus"):
            made.encoder()
    else:
        assert made.encoder() == encoders


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(VragError, match=r"vrag\[ray\]"), session("local", RaySettings()):
        pass
