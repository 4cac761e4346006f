import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vrag.environment import DocumentEnvironment
from vrag.episode import Episode, EpisodeRecord, Reward
from vrag.errors import DataError, InfrastructureError
from vrag.evaluation.runner import EvalSettings, evaluate, finish, read_records
from vrag.policies.scripted import ScriptedPolicy
from vrag.protocols import Policy, Retriever
from vrag.rewards.combine import score_episode
from vrag.rollout import Job, Limits
from vrag.runs import RunDir
from vrag.testing import FixedRetriever, MemoryStore, WordRetriever
from vrag.types import Evidence, Request, Sample, StopReason, Task

SEARCH = "<think>I look.</think><search>revenue</search>"
RIGHT = "<think>There.</think><answer>42</answer>"


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.add("report.pdf", 1, ["Revenue 42"])
    return store


@pytest.fixture
def tasks(store: MemoryStore) -> list[Task]:
    gold = [Evidence(ref=page.ref) for page in store.pages.values()]
    return [Task(id=f"q{n}", question="How much revenue?", answers=["42"], gold=gold) for n in range(6)]


class Counting:
    """Answers right on every question; counts sessions, and fails those whose task is in `broken`."""

    def __init__(self, broken: set[str] | None = None) -> None:
        self.broken = broken or set()
        self.started: list[str] = []
        self.together = self.most_together = 0

    def __call__(self, job: Job) -> Policy:
        self.started.append(job.task.id)
        return _Speaker(self, job.task.id)


class _Speaker:
    def __init__(self, owner: Counting, task: str) -> None:
        self.owner, self.task, self.spoken = owner, task, 0

    async def generate(self, request: Request) -> Sample:
        if self.spoken == 0:
            self.owner.together += 1
            self.owner.most_together = max(self.owner.most_together, self.owner.together)
        await asyncio.sleep(0)
        if self.task in self.owner.broken:
            raise InfrastructureError(f"the model server refused {self.task}")
        self.spoken += 1
        return Sample(SEARCH if self.spoken == 1 else RIGHT, "stop")

    def close(self, session: str) -> None:
        self.owner.together -= 1


def run_all(
    path: Path,
    tasks: list[Task],
    store: MemoryStore,
    policy: Policy | Callable[[Job], Policy],
    *,
    score: Callable[[Episode], Reward | None] = score_episode,
    retriever: Retriever | None = None,
    settings: EvalSettings | None = None,
    seen: list[EpisodeRecord] | None = None,
) -> list[EpisodeRecord]:
    settings = settings or EvalSettings()
    retriever = retriever or WordRetriever(store)
    return asyncio.run(
        evaluate(
            RunDir.open(path, settings),
            tasks,
            make_environment=lambda: DocumentEnvironment(store, retriever),
            policy=policy,
            codec=None,
            score=score,
            settings=settings,
            limits=Limits(),
            on_record=(seen.append if seen is not None else None),
        )
    )


def test_every_question_is_run_once_per_seed_and_sample(tmp_path: Path, tasks: list[Task], store: MemoryStore) -> None:
    settings = EvalSettings(seeds=(3, 5), samples=2)
    records = run_all(tmp_path / "run", tasks, store, Counting(), settings=settings)
    assert [(r.task.id, r.sample, r.seed) for r in records] == [
        (task.id, sample, seed) for seed in (3, 5) for task in tasks for sample in range(2)
    ]
    assert all(record.reward is not None and record.reward.parts["answer"] == 1 for record in records)


def test_a_rerun_runs_nothing_and_returns_the_same(tmp_path: Path, tasks: list[Task], store: MemoryStore) -> None:
    first = run_all(tmp_path / "run", tasks, store, Counting())
    again = Counting()
    assert run_all(tmp_path / "run", tasks, store, again) == first
    assert again.started == []


def test_only_owed_questions_are_run_when_some_are_added(tmp_path: Path, tasks: list[Task], store: MemoryStore) -> None:
    run_all(tmp_path / "run", tasks[:4], store, Counting())
    policy, seen = Counting(), []
    records = run_all(tmp_path / "run", tasks, store, policy, seen=seen)
    assert sorted(policy.started) == ["q4", "q5"] == sorted(record.task.id for record in seen)
    assert [record.task.id for record in records] == [task.id for task in tasks]


def test_no_more_episodes_run_at_once_than_allowed(tmp_path: Path, tasks: list[Task], store: MemoryStore) -> None:
    policy = Counting()
    run_all(tmp_path / "run", tasks, store, policy, settings=EvalSettings(concurrency=2))
    assert policy.most_together == 2


def test_a_failed_model_server_is_recorded_unscored_and_tried_again(
    tmp_path: Path, tasks: list[Task], store: MemoryStore
) -> None:
    records = run_all(tmp_path / "run", tasks, store, Counting(broken={"q1", "q3"}))
    failed = [record for record in records if record.stop is StopReason.ERROR]
    assert [record.task.id for record in failed] == ["q1", "q3"]
    assert all(record.reward is None and "refused" in (record.error or "") for record in failed)
    summary = finish(RunDir(tmp_path / "run"), records)
    assert (summary.scored, summary.errored) == (4, 2)
    assert summary.accuracy is not None and summary.accuracy.value == 1.0

    recovered = Counting()
    records = run_all(tmp_path / "run", tasks, store, recovered)
    assert sorted(recovered.started) == ["q1", "q3"]
    assert finish(RunDir(tmp_path / "run"), records).errored == 0
    assert len(read_records(tmp_path / "run")) == len(tasks), "the last attempt counts"


def test_a_failed_retriever_is_never_a_wrong_answer(tmp_path: Path, tasks: list[Task], store: MemoryStore) -> None:
    down = FixedRetriever(error=InfrastructureError("the index is locked"))
    records = run_all(tmp_path / "run", tasks, store, ScriptedPolicy([SEARCH, RIGHT]), retriever=down)
    assert all(record.stop is StopReason.ERROR and record.reward is None for record in records)


def test_a_failed_judge_is_recorded_unscored(tmp_path: Path, tasks: list[Task], store: MemoryStore) -> None:
    def judge(episode: Episode) -> Reward | None:
        if episode.task.id == "q2":
            raise InfrastructureError("the judge timed out")
        return score_episode(episode)

    records = run_all(tmp_path / "run", tasks, store, Counting(), score=judge)
    assert [(r.task.id, r.error) for r in records if r.reward is None] == [("q2", "the judge timed out")]
    assert records[2].answer == "42", "what the agent did is kept"


def test_what_could_not_be_scored_is_scored_again_and_not_run_again(
    tmp_path: Path, tasks: list[Task], store: MemoryStore
) -> None:
    def judge(episode: Episode) -> Reward | None:
        if episode.task.id in ("q2", "q4"):
            raise InfrastructureError("the judge timed out")
        return score_episode(episode)

    failed = run_all(tmp_path / "run", tasks, store, Counting(), score=judge)
    assert [r.stop for r in failed] == [StopReason.ANSWER] * 6
    assert finish(RunDir(tmp_path / "run"), failed).errored == 2
    again, seen = Counting(), list[EpisodeRecord]()
    records = run_all(tmp_path / "run", tasks, store, again, seen=seen)
    assert again.started == [] and sorted(record.task.id for record in seen) == ["q2", "q4"]
    assert all(record.reward is not None and record.error is None for record in records)
    assert [(r.turns, r.seconds) for r in records] == [(r.turns, r.seconds) for r in failed], "what it did is kept"
    assert run_all(tmp_path / "run", tasks, store, again) == records


def test_the_summary_stands_beside_the_episodes(tmp_path: Path, tasks: list[Task], store: MemoryStore) -> None:
    summary = finish(RunDir(tmp_path / "run"), run_all(tmp_path / "run", tasks, store, Counting()))
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == json.loads(summary.model_dump_json())


def test_a_line_that_is_no_episode_is_named(tmp_path: Path, tasks: list[Task], store: MemoryStore) -> None:
    run_all(tmp_path / "run", tasks, store, Counting())
    log = tmp_path / "run" / "episodes.jsonl"
    log.write_bytes(log.read_bytes() + b'{"task": 1}\n')
    with pytest.raises(DataError, match=r"episodes\.jsonl, line 7.*task"):
        read_records(tmp_path / "run")
