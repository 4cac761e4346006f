"""Run a policy over questions and keep every episode; a rerun does only what is still owed.

    RUN/run.json         what was asked for, written by the caller through `RunDir.open`
    RUN/episodes.jsonl   one `EpisodeRecord` per line, in order of completion
    RUN/summary.json     the `Summary` of the finished run

An episode is owed until it is on disk without an error of infrastructure; one that ended and couldn't be scored owes
only its score. Each samples from its own seed, so which ones ran before an interruption, and beside which others,
changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from vrag.episode import Episode, EpisodeRecord
from vrag.errors import DataError
from vrag.evaluation.metrics import Summary, summarize
from vrag.killpoints import killpoint
from vrag.protocols import Codec, Environment, Policy
from vrag.rewards.rubric import Score, reward_all
from vrag.rollout import Job, Limits, rollout_many
from vrag.runs import Json, RunDir, atomic_write, read_lines, said_of
from vrag.types import Frozen, Sampling, StopReason, Task

Key = tuple[str, int, int]  # task id, sample, seed
_SUMMARY = "summary.json"


class EvalSettings(Frozen):
    """How to sample. `temperature` 0 is greedy. `concurrency` episodes run at once, as one batch."""

    seeds: tuple[int, ...] = (0,)
    samples: int = Field(default=1, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int = Field(default=512, ge=1)
    concurrency: int = Field(default=64, ge=1)


async def evaluate(
    run: RunDir,
    tasks: Sequence[Task],
    *,
    make_environment: Callable[[], Environment],
    policy: Policy | Callable[[Job], Policy],
    codec: Codec | None,
    score: Score,
    settings: EvalSettings,
    limits: Limits,
    on_record: Callable[[EpisodeRecord], None] | None = None,
) -> list[EpisodeRecord]:
    """Every episode of the run, in the order of seeds, tasks and samples; those on disk aren't run again.

    A failure of infrastructure, while running or while scoring, becomes a record with an error and without reward, and
    what failed is tried again by the next call. Raises `DataError` for a damaged log.
    """
    log = run.log("episodes")
    jobs = [Job(t, sample, seed) for seed in settings.seeds for t in tasks for sample in range(settings.samples)]
    records = _by_key(read_records(run.path))
    owed = [job for job in jobs if not _is_done(records.get(_key(job)))]

    def keep(record: EpisodeRecord) -> None:
        log.append(record)
        killpoint("evaluation.recorded")
        records[_key(record)] = record
        if on_record is not None:
            on_record(record)

    async def score_and_keep(episode: Episode) -> None:
        await reward_all(score, [[episode]])
        keep(episode.record())

    async def score_again(record: EpisodeRecord) -> None:
        episode = record.episode()
        await reward_all(score, [[episode]])
        scored = {"reward": episode.reward, "error": episode.error, "judgement": episode.judgement}
        keep(record.model_copy(update=scored))

    unscored = _unscored(jobs, records)
    if owed or unscored:
        (run.path / _SUMMARY).unlink(missing_ok=True)  # of what was asked before
    await asyncio.gather(*(score_again(record) for record in unscored))

    # Whole batches rather than a sliding window: the embedded policy carries one cache for episodes that
    # start together, and a newcomer would be a batch of its own.
    for start in range(0, len(owed), settings.concurrency):
        await rollout_many(
            owed[start : start + settings.concurrency],
            make_environment,
            policy,
            codec,
            limits,
            Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens),
            concurrency=settings.concurrency,
            on_episode=score_and_keep,
        )
    return [records[_key(job)] for job in jobs]


def finish(run: RunDir, records: Sequence[EpisodeRecord]) -> Summary:
    """Summarize a run and write `summary.json` beside its episodes."""
    summary = summarize(records)
    atomic_write(run.path / _SUMMARY, summary.model_dump_json(indent=2).encode() + b"\n")
    return summary


def read_records(run: Path) -> list[EpisodeRecord]:
    """The episodes of the run at `run`, one per task, sample and seed: of several attempts the last.

    Raises `DataError` naming the line that is no episode.
    """
    path = run / "episodes.jsonl"
    rows = enumerate(read_lines(path), start=1)
    return list(_by_key([_record(row, f"{path}, line {number}") for number, row in rows]).values())


def _record(row: Json, where: str) -> EpisodeRecord:
    try:
        return EpisodeRecord.model_validate(row)
    except ValidationError as failure:
        raise DataError(f"{where}: isn't an episode: {said_of(failure)}") from failure


def _by_key(records: Sequence[EpisodeRecord]) -> dict[Key, EpisodeRecord]:
    return {_key(record): record for record in records}


def _key(item: Job | EpisodeRecord) -> Key:
    return item.task.id, item.sample, item.seed


def _is_done(record: EpisodeRecord | None) -> bool:
    return record is not None and record.stop is not StopReason.ERROR


def _unscored(jobs: Sequence[Job], records: Mapping[Key, EpisodeRecord]) -> list[EpisodeRecord]:
    """Those that ended, and whose scoring failed."""
    found = [records.get(_key(job)) for job in jobs]
    return [record for record in found if record is not None and _is_done(record) and record.reward is None]
