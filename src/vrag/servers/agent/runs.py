"""Runs on disk, to be looked at: evaluations, and the episodes that training kept. Only read, never written.

A run is a folder with `episodes.jsonl` (`vrag.evaluation.runner`) or `samples.jsonl` (`vrag.training.samples`).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vrag.corpus.files import as_text
from vrag.episode import EpisodeRecord
from vrag.errors import CorpusError, DataError, UsageError
from vrag.evaluation.metrics import ANSWER, is_correct
from vrag.evaluation.runner import read_records
from vrag.runs import read_config
from vrag.training import samples
from vrag.training.origin import read_origin
from vrag.types import Frozen, Page, StopReason, Word

if TYPE_CHECKING:
    from PIL.Image import Image

DEPTH = 4  # folders below the one that was named
KEPT = 4  # runs whose episodes are kept in memory
EPISODES = "episodes.jsonl"

Verdict = Literal["right", "wrong", "unscored"]


class UnknownRun(UsageError):
    """This server shows no run, or no episode, of that name."""


class RunInfo(Frozen):
    """`name` is its path below the folder of runs; `kind` says what its episodes are."""

    name: str
    kind: Literal["evaluation", "training"]
    policy: str | None
    corpus: str | None
    finished: bool  # an evaluation has its summary, a training its result


class EpisodeRow(Frozen):
    """One episode in a list. `step` and `why` are of those that training kept."""

    number: int
    task: str
    question: str
    answers: list[str]
    answer: str | None
    source: str
    kind: str
    hops: int
    sample: int
    seed: int
    verdict: Verdict
    stop: StopReason
    reward: float | None
    parts: dict[str, float]
    turns: int
    seconds: float
    step: int | None = None
    why: str | None = None


@dataclass(frozen=True)
class Kept:
    """An episode of a run. `tokens`: a `TokenTrace` of one that training kept, as JSON, which takes a tenth of the
    memory.
    """

    row: EpisodeRow
    record: EpisodeRecord
    tokens: str | None = None


class Runs:
    """The runs in and below `folder`, read when they are asked for and again when they have changed."""

    def __init__(self, folder: Path) -> None:
        """Raises `UsageError` for what is no folder."""
        if not folder.is_dir():
            raise UsageError(f"no folder of runs: {folder}")
        self._folder, self._lock = folder, threading.Lock()
        self._read: OrderedDict[tuple[Path, int, int], list[Kept]] = OrderedDict()

    def list(self) -> list[RunInfo]:
        """By name. What can't be read of a run is left open, its episodes say why when they are asked for."""
        return [_info(name, run) for name, run in self._found().items()]

    def info(self, name: str) -> RunInfo:
        """Raises `UnknownRun`."""
        return _info(name, self._folder_of(name))

    def episodes(self, name: str) -> list[Kept]:
        """Raises `UnknownRun`, and `DataError` for a damaged one."""
        run = self._folder_of(name)
        file = _log(run)
        try:
            state = file.stat()
        except OSError as error:
            raise DataError(f"{file}: can't be read: {error.strerror or error}") from error
        key = file, state.st_mtime_ns, state.st_size
        with self._lock:
            if key not in self._read:
                self._read[key] = _kept(run)
            self._read.move_to_end(key)
            while len(self._read) > KEPT:
                self._read.popitem(last=False)
            return self._read[key]

    def episode(self, name: str, number: int) -> Kept:
        """Raises as `episodes`."""
        found = self.episodes(name)
        if not 0 <= number < len(found):
            raise UnknownRun(f"this run has no episode {number}: they are 0 to {len(found) - 1}")
        return found[number]

    def _folder_of(self, name: str) -> Path:
        run = self._found().get(name)
        if run is None:
            raise UnknownRun("there is no run of that name; GET /v1/runs lists them")
        return run

    def _found(self) -> dict[str, Path]:
        """Names are those of the folders that are there, so no other ever becomes part of a path."""
        found: dict[str, Path] = {}
        for where, folders, names in os.walk(self._folder):
            path = Path(where)
            below = path.relative_to(self._folder).parts
            folders[:] = sorted(one for one in folders if not one.startswith(".")) if len(below) < DEPTH else []
            if EPISODES in names or samples.FILE in names:
                found[as_text("/".join(below) or self._folder.resolve().name)] = path
        return found


class SeenPages:
    """The pages that an episode was shown, as far as it says: their sizes. A `PageStore` without text and images."""

    def __init__(self, record: EpisodeRecord) -> None:
        self._pages: dict[str, Page] = {}
        for seen in (turn.observation for turn in record.turns):
            for view in seen.views if seen is not None and seen.kind == "page" else []:
                id, region = view.page_id, view.region
                size = {"width": round(region.x2), "height": round(region.y2)}
                document = id.rpartition("-")[0]
                self._pages[id] = Page(id=id, document_id=document, ref=view.ref, **size, text="", text_source="none")

    def page(self, page_id: str) -> Page:
        if page_id not in self._pages:
            raise CorpusError(f"page {page_id} was not shown as an image")
        return self._pages[page_id]

    def image(self, page_id: str) -> Image:
        raise CorpusError(f"an episode keeps no image of page {page_id}")

    def words(self, page_id: str) -> Sequence[Word]:
        raise CorpusError(f"an episode keeps no words of page {page_id}")


def _log(run: Path) -> Path:
    return run / (EPISODES if os.path.lexists(run / EPISODES) else samples.FILE)


def _info(name: str, run: Path) -> RunInfo:
    evaluation, finished = _log(run).name == EPISODES, False
    policy = corpus = None
    with suppress(DataError, OSError):
        config, origin = read_config(run), read_origin(run)
        named = config.get("policy")
        policy = _told(named.get("model") if isinstance(named, dict) else named) or (origin.base if origin else None)
        corpus = _told(config.get("corpus")) or (origin.corpus if origin else None)
    with suppress(OSError):
        finished = (run / ("summary.json" if evaluation else "final")).exists()
    kind = "evaluation" if evaluation else "training"
    return RunInfo(name=name, kind=kind, policy=policy, corpus=corpus, finished=finished)


def _told(value: object) -> str | None:
    """A name as a configuration has it, which anyone may have written."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _kept(run: Path) -> list[Kept]:
    if _log(run).name == EPISODES:
        return [Kept(_row(number, record), record) for number, record in enumerate(read_records(run))]
    found = enumerate(samples.read_samples(run))
    return [
        Kept(_row(number, one.episode, one.step, one.why), one.episode, one.tokens and one.tokens.model_dump_json())
        for number, one in found
    ]


def _row(number: int, record: EpisodeRecord, step: int | None = None, why: str | None = None) -> EpisodeRow:
    task, reward = record.task, record.reward
    return EpisodeRow(
        number=number,
        task=task.id,
        question=task.question,
        answers=task.answers,
        answer=record.answer,
        source=task.source,
        kind=task.kind,
        hops=task.hops,
        sample=record.sample,
        seed=record.seed,
        verdict=_verdict(record),
        stop=record.stop,
        reward=None if reward is None else reward.total,
        parts={} if reward is None else reward.parts,
        turns=len(record.turns),
        seconds=round(record.seconds, 3),
        step=step,
        why=why,
    )


def _verdict(record: EpisodeRecord) -> Verdict:
    if record.reward is None or ANSWER not in record.reward.parts:
        return "unscored"
    return "right" if is_correct(record) else "wrong"
