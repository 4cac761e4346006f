"""Episodes that verl left out of a step are counted: a few are masked, many stop the run."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("verl", reason="verl has an environment of its own: make test-verl")

from vrag.errors import InfrastructureError

pytestmark = pytest.mark.filterwarnings("ignore")  # verl's own, of packages that only GPUs need


def stored(*samples: int, partition: str = "train") -> dict[str, dict[str, dict[str, Any]]]:
    """What TransferQueue lists after a step in which `samples` episodes of each group gave something."""
    groups = {f"g{i}": {"is_prompt": True, "status": "failure", "global_steps": 1} for i in range(len(samples))}
    episodes = {f"g{i}_{k}_0": {"status": "success"} for i, n in enumerate(samples) for k in range(n)}
    return {partition: {**groups, **episodes}}


@pytest.fixture
def cleared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from vrag.verl import sampler

    keys: list[str] = []
    monkeypatch.setattr(sampler.tq, "kv_clear", lambda keys_=(), **given: keys.extend(given["keys"]))
    return keys


def sample(monkeypatch: pytest.MonkeyPatch, data: Any, size: int, partition: str = "train") -> tuple[Any, Any]:
    from vrag.verl import sampler

    monkeypatch.setattr(sampler.tq, "kv_list", lambda: data)
    kwargs: Any = {"max_unscored": 0.25, "n": 4, "val_n": 1}
    buffer = sampler.CountingReplayBuffer("sync", {}, 8, "drop", kwargs, poll_interval=0)
    return buffer.sample(1, partition, size)


def test_a_step_is_whole_where_nothing_is_missing(monkeypatch: pytest.MonkeyPatch, cleared: list[str]) -> None:
    batch, metrics = sample(monkeypatch, stored(4, 4), 2)
    assert len(batch.keys) == len(batch.tags) == 8
    assert (metrics["training/unscored"], metrics["training/groups_dropped"]) == (0, 0)


def test_an_episode_alone_in_its_group_is_dropped(monkeypatch: pytest.MonkeyPatch, cleared: list[str]) -> None:
    batch, metrics = sample(monkeypatch, stored(4, 1, 4, 4), 4)
    assert "g1_0_0" not in batch.keys and len(batch.keys) == len(batch.tags) == 12
    assert "g1_0_0" in cleared, "or it would stay in memory"
    assert (metrics["training/unscored"], metrics["training/groups_dropped"]) == (3, 1)


def test_more_missing_than_allowed_stops_the_run(monkeypatch: pytest.MonkeyPatch, cleared: list[str]) -> None:
    with pytest.raises(InfrastructureError, match="step 1: 3 of 8 episodes have no reward"):
        sample(monkeypatch, stored(4, 1), 2)


def test_validation_is_counted_by_its_own_number_of_samples(
    monkeypatch: pytest.MonkeyPatch, cleared: list[str]
) -> None:
    batch, _ = sample(monkeypatch, stored(1, 1, 1, 0, partition="val"), 4, "val")
    assert len(batch.keys) == 3
    with pytest.raises(InfrastructureError, match="2 of 4"):
        sample(monkeypatch, stored(1, 1, 0, 0, partition="val"), 4, "val")


def test_verl_builds_it_as_the_recipes_name_it() -> None:
    from verl.utils.import_utils import load_extern_type

    from vrag.verl.launch import compose

    named = compose("qwen3_vl_8b", ["vrag.max_unscored=0.2"]).trainer.v1.sampler
    assert load_extern_type(named.custom_sampler.path, named.custom_sampler.name).__name__ == "CountingReplayBuffer"
    assert dict(named.sampler_kwargs) == {"max_unscored": 0.2, "n": 5, "val_n": 1}
