"""FAULTS row 2: training that is killed, in the middle of a save too, continues exactly."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.train_steps import run
from vrag.runs import read_lines

COMPARED = ("loss", "reward", "entropy", "kl", "gradient_norm", "tokens", "level")
KILLS = [
    "checkpoint.model:2",
    pytest.param("checkpoint.model", marks=pytest.mark.full),
    pytest.param("checkpoint.before_rename", marks=pytest.mark.full),
    pytest.param("checkpoint.before_rename:3", marks=pytest.mark.full),
]

# Each run is a process of its own, which may be killed; all are forked from one that has imported what takes long.
IMPORTED = [
    "tests.faults.train_steps",
    "torch._dynamo",
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
    "transformers.models.qwen3_vl.modeling_qwen3_vl",
    "peft",
]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(IMPORTED)


class Whole(NamedTuple):
    """A run that nothing disturbed: its stage, its metrics, and how long it took, in seconds."""

    stage: str
    metrics: list[dict]
    seconds: float


def start(stage: str, out: Path, kill_at: str = "") -> BaseProcess:
    process = PROCESSES.Process(target=run, args=(stage, out, kill_at))
    process.start()
    return process


def train(stage: str, out: Path, kill_at: str = "") -> int | None:
    process = start(stage, out, kill_at)
    process.join()
    return process.exitcode


@pytest.fixture(scope="module", params=["pretrain", "sft", "sft-lora", "rl"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    if request.param == "sft-lora":
        pytest.importorskip("peft")
    out, began = tmp_path_factory.mktemp("whole") / "run", time.monotonic()
    assert train(request.param, out) == 0
    return Whole(request.param, read_lines(out / "metrics.jsonl"), time.monotonic() - began)


def assert_equal(found: list[dict], expected: list[dict]) -> None:
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for a, b in zip(found, expected, strict=True):
        for key in COMPARED:
            if key in b:
                assert a[key] == pytest.approx(b[key], abs=1e-6), f"step {a['step']}: {key}"


@pytest.mark.parametrize("point", KILLS)
def test_a_run_killed_while_saving_equals_the_whole_one(whole: Whole, point: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train(whole.stage, out, point) == -signal.SIGKILL
    assert train(whole.stage, out) == 0
    assert_equal(read_lines(out / "metrics.jsonl"), whole.metrics)


def test_a_run_killed_at_any_moment_equals_the_whole_one(whole: Whole, tmp_path: Path, full: bool) -> None:
    out, rng = tmp_path / "run", random.Random(0)
    for _ in range(50 if full else 1):
        process = start(whole.stage, out)
        process.join(rng.uniform(0.1, 1.0) * whole.seconds)
        process.kill()
        process.join()
    assert train(whole.stage, out) == 0
    assert_equal(read_lines(out / "metrics.jsonl"), whole.metrics)


def test_a_checkpoint_without_its_last_file_is_not_taken(tmp_path: Path) -> None:
    from vrag.training.checkpoint import newest

    for name, complete in (("step-000002", True), ("step-000004", False)):
        (tmp_path / name).mkdir()
        if complete:
            (tmp_path / name / "state.json").write_text(json.dumps({"step": 2}))
    found = newest(tmp_path)
    assert found is not None and found.name == "step-000002"


def test_the_newest_checkpoint_is_that_of_the_highest_step(tmp_path: Path) -> None:
    from vrag.training.checkpoint import newest, prune

    for step in (999_999, 1_000_000):
        (tmp_path / f"step-{step:06d}").mkdir()
        (tmp_path / f"step-{step:06d}/state.json").write_text(json.dumps({"step": step}))
    assert (found := newest(tmp_path)) is not None and found.name == "step-1000000"
    prune(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1000000"]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named_with_what_to_do(name: str, tmp_path: Path) -> None:
    import torch

    from tests.tiny import make_tiny
    from vrag.errors import CheckpointError
    from vrag.training import checkpoint
    from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer

    tiny = make_tiny("qwen3_vl")
    config = OptimizerConfig()
    optimizer = make_optimizer(tiny.model.requires_grad_(True), config)
    sum(parameter.sum() for parameter in tiny.model.parameters()).backward()
    apply(optimizer, tiny.model, config, 0.1)
    path = checkpoint.save(tmp_path, 3, tiny.model, tiny.codec, optimizer, {})
    assert checkpoint.restore(path, tiny.model, optimizer)["step"] == 3
    assert all(torch.isfinite(parameter).all() for parameter in tiny.model.parameters())
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"step-000003: is damaged or of another model .*; delete it, and"):
        checkpoint.restore(path, tiny.model, optimizer)


def test_moments_are_put_where_the_weights_are() -> None:
    import torch

    from vrag.training.checkpoint import _load_optimizer
    from vrag.training.optimizer import OptimizerConfig, make_optimizer

    module = torch.nn.Linear(2, 2, bias=False, device="meta")  # another device, also where there is only a CPU
    module.get_input_embeddings = lambda: module  # type: ignore[method-assign]
    optimizer = make_optimizer(module, OptimizerConfig())
    saved = {"weight|exp_avg": torch.zeros(2, 2), "weight|step": torch.tensor(3.0)}
    _load_optimizer(saved, dict(module.named_parameters()), optimizer)
    state = optimizer.state[module.weight]
    assert state["exp_avg"].device.type == "meta" and state["step"].device.type == "cpu"


def test_a_disk_that_is_full_while_saving_leaves_the_checkpoints_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    from tests.tiny import make_tiny
    from vrag.errors import CheckpointError
    from vrag.training import checkpoint
    from vrag.training.optimizer import OptimizerConfig, make_optimizer

    tiny = make_tiny("qwen3_vl")
    optimizer = make_optimizer(tiny.model.requires_grad_(True), OptimizerConfig())
    checkpoint.save(tmp_path, 1, tiny.model, tiny.codec, optimizer, {})

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tiny.model, "save_pretrained", full)
    with pytest.raises(CheckpointError, match=r"step-000002: can't be written .*No space left"):
        checkpoint.save(tmp_path, 2, tiny.model, tiny.codec, optimizer, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
