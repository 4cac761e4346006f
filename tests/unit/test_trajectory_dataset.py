"""Trajectories on disk: what is kept, what is dropped, and that a rerun goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.trajectories import make_dataset, make_store, one_hop, two_hops
from vrag.data.dataset import Trajectory, TrajectoryWriter, read_manifest, read_trajectories
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.episode import Episode
from vrag.errors import DataError, InfrastructureError, UsageError
from vrag.geometry import ViewSpec
from vrag.policies.scripted import ScriptedPolicy
from vrag.rollout import Limits, rollout
from vrag.runs import RunDir
from vrag.testing import FixedRetriever, MemoryStore, WordRetriever
from vrag.types import Crop, Evidence, PageRef, Sampling, Task

SPEC = ViewSpec(min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 40)
ENVIRONMENT = EnvironmentConfig(view=SPEC, max_turns=8)
RUN = """
import sys
from pathlib import Path
from tests.trajectories import make_dataset, make_store, one_hop, two_hops
from tests.unit.test_trajectory_dataset import ENVIRONMENT
store = make_store()
make_dataset(Path(sys.argv[1]), store, [two_hops(store), one_hop(store)], ENVIRONMENT, samples=2)
"""


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return make_store()


@pytest.fixture(scope="module")
def dataset(store: MemoryStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samples of two tasks."""
    folder = tmp_path_factory.mktemp("whole") / "set"
    make_dataset(folder, store, [two_hops(store), one_hop(store)], ENVIRONMENT, samples=2)
    return folder


def play(store: MemoryStore, texts: list[str], retriever: object = None) -> Episode:
    environment = DocumentEnvironment(store, retriever or WordRetriever(store), ENVIRONMENT)  # type: ignore[arg-type]
    policy, task = ScriptedPolicy(texts), Task(id="t", question="how many?")
    return asyncio.run(rollout(environment, policy, None, task, Limits(), Sampling()))


def writer(folder: Path) -> TrajectoryWriter:
    return TrajectoryWriter(RunDir.open(folder, {}), ENVIRONMENT)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_an_episode_is_stored_as_it_was_said_and_seen(dataset: Path, store: MemoryStore) -> None:
    first = read_trajectories(dataset)[0]
    assert first.task == two_hops(store) and first.answer == "48"
    roles = [message.role for message in first.messages]
    assert roles == ["user", "assistant"] * 5
    assert [turn.action.name for turn in first.turns if turn.action] == ["search", "bbox", "search", "bbox", "answer"]
    assert first.task.question in first.messages[0].content[0].text  # type: ignore[union-attr]
    for name, view in zip(first.images, first.views, strict=True):
        with Image.open(dataset / name) as image:
            assert image.size == (view.width, view.height)


def test_boxes_are_in_the_frame_of_the_manifest(dataset: Path) -> None:
    assert read_manifest(dataset).environment.view.frame == "absolute"
    for trajectory in read_trajectories(dataset):
        views = iter(trajectory.views)
        view = next(views)
        for turn in trajectory.turns:
            if isinstance(turn.action, Crop):
                assert 0 <= turn.action.box.x1 < turn.action.box.x2 <= view.width
            if turn.observation is not None and turn.observation.view is not None:
                view = turn.observation.view


def test_each_image_is_written_once(dataset: Path) -> None:
    manifest, shown = read_manifest(dataset), [i for t in read_trajectories(dataset) for i in t.images]
    files = {str(f.relative_to(dataset)) for f in dataset.rglob("*.png")}
    assert len(shown) == 12 and files == set(shown) and len(files) == manifest.images < 12


def test_the_manifest_counts(dataset: Path) -> None:
    manifest = read_manifest(dataset)
    assert (manifest.kept, manifest.dropped, manifest.failed) == (4, {}, 0)
    assert manifest.turns == {3: 2, 5: 2} and manifest.actions == {"answer": 4, "bbox": 6, "search": 6}


@pytest.mark.parametrize("point", ["trajectories.image:3", "trajectories.kept:2"])
def test_a_killed_command_run_again_writes_the_same_bytes(dataset: Path, point: str, tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", RUN, str(tmp_path / "set")]
    killed = subprocess.run(command, env={**env, "VRAG_KILL_AT": point}, check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match="rerun the command"):
        read_manifest(tmp_path / "set")
    subprocess.run(command, env=env, check=True)
    assert contents(tmp_path / "set") == contents(dataset)


def test_a_rerun_of_a_whole_dataset_changes_nothing(store: MemoryStore, tmp_path: Path) -> None:
    tasks = [one_hop(store)]
    make_dataset(tmp_path / "set", store, tasks, ENVIRONMENT)
    before = contents(tmp_path / "set")
    make_dataset(tmp_path / "set", store, tasks, ENVIRONMENT)
    assert contents(tmp_path / "set") == before
    with pytest.raises(UsageError, match="samples"):
        make_dataset(tmp_path / "set", store, tasks, ENVIRONMENT, samples=2)


def test_what_is_not_kept_is_counted_with_its_reason(store: MemoryStore, tmp_path: Path) -> None:
    bare = Task(id="bare", question="how many?", answers=["1"])
    tag = one_hop(store).model_copy(update={"id": "tag", "answers": ["<answer>"]})
    lost = Task(
        id="lost", question="zebra?", answers=["1"], gold=[Evidence(ref=PageRef(document="absent.pdf", page=1))]
    )
    manifest = make_dataset(tmp_path / "set", store, [bare, tag, lost, one_hop(store)], ENVIRONMENT)
    assert manifest.kept == 1 and manifest.dropped == {"gave up": 1, "unusable task": 2}
    rows = [json.loads(line) for line in (tmp_path / "set" / "dropped.jsonl").read_text().splitlines()]
    assert [row["task"] for row in rows] == ["bare", "tag", "lost"] and "no gold page" in rows[0]["detail"]


def test_an_episode_that_did_not_answer_is_dropped(store: MemoryStore, tmp_path: Path) -> None:
    made = writer(tmp_path)
    made.add(play(store, ["no action"] * 4))
    assert made.finish().dropped == {"ended by invalid": 1}


def test_what_infrastructure_failed_is_owed_again(store: MemoryStore, tmp_path: Path) -> None:
    made, texts = writer(tmp_path), ["<search>staff</search>", "<answer>310</answer>"]
    made.add(play(store, texts, FixedRetriever(error=InfrastructureError("down"))))
    assert (manifest := made.finish()).failed == 1 and manifest.kept == 0
    again = writer(tmp_path)
    again.add(play(store, texts))
    assert (manifest := again.finish()).failed == 0 and manifest.kept == 1


def test_a_folder_without_a_dataset_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"vrag data trajectories"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(DataError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_a_line_that_contradicts_itself_is_named(dataset: Path, tmp_path: Path) -> None:
    row = json.loads((dataset / "episodes.jsonl").read_text().splitlines()[0])
    Trajectory.model_validate(row)
    row["messages"][1]["content"][0]["text"] = "<search>something else</search>"
    (tmp_path / "episodes.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"line 1.*what the assistant says"):
        read_trajectories(tmp_path)
    row = json.loads((dataset / "episodes.jsonl").read_text().splitlines()[0])
    row["messages"][2]["content"] = []
    (tmp_path / "episodes.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"4 images|3 images"):
        read_trajectories(tmp_path)
