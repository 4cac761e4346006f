"""What is checked before verl starts, its rows and the command; verl itself isn't needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vrag.cli import main
from vrag.data.tasks import write_tasks
from vrag.environment import EnvironmentConfig
from vrag.errors import CheckpointError, ConfigError, DataError, InfrastructureError, UsageError
from vrag.geometry import ViewSpec
from vrag.rewards.weights import Linear
from vrag.types import Evidence, PageRef, Task
from vrag.verl.checks import (
    _REQUIRED,
    check_config,
    check_family,
    check_processor,
    check_unscored,
    check_views,
    lone_keys,
    unknown_keys,
)
from vrag.verl.dataset import VragDataset, row
from vrag.verl.launch import recipe_path
from vrag.verl.settings import read_settings


class Qwen3VLProcessor:
    """By its name what verl builds; `get_rope_index` is what verl binds to it."""

    tokenizer = None

    def get_rope_index(self) -> None: ...


def config(**changes: Any) -> dict[str, Any]:
    """One that passes, with `changes` by dotted key."""
    values = {
        "vrag.corpus": "/pages",
        "data.train_files": "/tasks.jsonl",
        "data.val_files": "/tasks.jsonl",
        "actor_rollout_ref.model.path": "owner/name",
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.rollout.n": 5,
        "actor_rollout_ref.rollout.response_length": 1000,
        "actor_rollout_ref.rollout.max_model_len": 1000,
        "actor_rollout_ref.actor.use_dynamic_bsz": True,
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 1000,
        **{key: wanted for key, (wanted, _) in _REQUIRED.items()},
    }
    tree: dict[str, Any] = {}
    for key, value in (values | changes).items():
        *parents, last = key.split(".")
        group = tree
        for parent in parents:
            group = group.setdefault(parent, {})
        group[last] = value
    return tree


def test_a_configuration_as_the_recipes_make_it_passes() -> None:
    check_config(config())


@pytest.mark.parametrize("key", [*_REQUIRED, "actor_rollout_ref.rollout.name", "actor_rollout_ref.rollout.n"])
def test_each_setting_that_makes_training_blind_is_named(key: str) -> None:
    with pytest.raises(ConfigError, match=key.replace(".", r"\.") + " is 'else'"):
        check_config(config(**{key: "else"}))


@pytest.mark.parametrize(
    "key",
    ["actor_rollout_ref.rollout.max_model_len", "actor_rollout_ref.actor.ppo_max_token_len_per_gpu"],
)
def test_an_episode_must_fit_where_it_is_sampled_and_trained_on(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} is 999, less than the 1000 tokens of an episode"):
        check_config(config(**{key: 999}))


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"vrag\.corpus is missing; trainer\.use_v1 is False.*name is 'hf'"):
        check_config(config(**{"vrag.corpus": "???", "trainer.use_v1": False, "actor_rollout_ref.rollout.name": "hf"}))


def test_keys_that_verl_does_not_have_are_found_at_any_depth_but_not_in_free_groups() -> None:
    known = {"trainer": {"nnodes": 1, "free": {}}, "data": {"seed": None}}
    config = {"trainer": {"nnods": 2, "free": {"any": 1}}, "data": {"seed": {"a": 1}}, "dat": {}}
    assert unknown_keys(config, known) == ["trainer.nnods", "dat"]


def test_a_processor_that_came_back_none_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"m: verl has no processor .* train without images"):
        check_processor(None, "m")


def test_a_processor_of_another_family_or_without_positions_is_refused() -> None:
    check_processor(Qwen3VLProcessor(), "m")
    check_family(Qwen3VLProcessor(), "qwen3_vl", "m")
    with pytest.raises(CheckpointError, match="m: has a SimpleNamespace; supported are Qwen2_5_VLProcessor"):
        check_processor(SimpleNamespace(), "m")
    with pytest.raises(CheckpointError, match="no get_rope_index"):
        check_processor(type("Qwen3VLProcessor", (), {})(), "m")
    with pytest.raises(CheckpointError, match="is a 'qwen2_5_vl' model with a Qwen3VLProcessor"):
        check_family(Qwen3VLProcessor(), "qwen2_5_vl", "m")


def test_views_must_have_a_size_that_the_processor_leaves_alone() -> None:
    size = {"shortest_edge": 200 * 32**2, "longest_edge": 600 * 32**2}
    images = SimpleNamespace(patch_size=16, merge_size=2, size=size)
    fits = ViewSpec(factor=32, min_pixels=256 * 32**2, max_pixels=512 * 32**2)
    check_views(fits, images, "m")
    with pytest.raises(ConfigError, match=r"view\.factor is 28, and the patches of m need 32"):
        check_views(ViewSpec(), images, "m")
    for change in ({"min_pixels": 100 * 32**2}, {"max_pixels": 700 * 32**2}):
        with pytest.raises(ConfigError, match="resizes what has not"):
            check_views(fits.model_copy(update=change), images, "m")


def test_more_unscored_episodes_than_allowed_are_an_error() -> None:
    check_unscored(1, 10, 0.1, "step 4")
    with pytest.raises(InfrastructureError, match="step 4: 2 of 10 episodes have no reward"):
        check_unscored(2, 10, 0.1, "step 4")


def test_an_episode_is_alone_where_no_other_has_its_group() -> None:
    assert lone_keys(["a-b_0_0", "a-b_3_0", "c_2_0", "d_0_0", "d_1_0"]) == ["c_2_0"]


# --------------------------------------------------------------------------------------- dataset


TASK = Task(
    id="t",
    question="When?",
    answers=["1984", "'84"],
    gold=[Evidence(ref=PageRef(document="d.pdf", page=2))],
    source="slides",
)


def test_a_row_holds_the_whole_task_and_what_verl_asks_for() -> None:
    found = row(TASK, 7)
    assert Task.model_validate_json(found["task"]) == TASK
    assert found["raw_prompt"] == [{"role": "user", "content": "When?"}]
    assert (found["data_source"], found["index"], found["extra_info"]["index"]) == ("slides", 7, 7)
    assert found["reward_model"]["ground_truth"] == ["1984", "'84"]


def test_a_dataset_reads_task_files_in_order(tmp_path: Path) -> None:
    for name, ids in (("a", "12"), ("b", "345")):
        write_tasks(tmp_path / f"{name}.jsonl", [TASK.model_copy(update={"id": i}) for i in ids])
    files = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    data = VragDataset(files, None, {}, Qwen3VLProcessor())
    assert [Task.model_validate_json(data[i]["task"]).id for i in range(len(data))] == list("12345")
    assert len(VragDataset(files, None, {}, Qwen3VLProcessor(), max_samples=3)) == 3
    with pytest.raises(DataError, match=r"id '1' is also in .*a\.jsonl"):
        VragDataset([files[0], files[0]], None, {}, Qwen3VLProcessor())


def test_a_dataset_without_a_processor_or_tasks_stops_the_run(tmp_path: Path) -> None:
    write_tasks(tmp_path / "none.jsonl", [])
    with pytest.raises(CheckpointError, match="owner/name: verl has no processor"):
        VragDataset(str(tmp_path / "none.jsonl"), SimpleNamespace(name_or_path="owner/name"), {}, None)
    with pytest.raises(DataError, match=r"none\.jsonl: no tasks"):
        VragDataset(str(tmp_path / "none.jsonl"), None, {}, Qwen3VLProcessor())


# --------------------------------------------------------------------------- settings, the command


def test_settings_change_the_checkpoints_own_environment() -> None:
    group = {"corpus": "c", "environment": {"max_turns": 6, "view": {"min_crop": 9}}}
    settings = read_settings(json.dumps(group))
    own = EnvironmentConfig(max_turns=3, view=ViewSpec(frame="relative1000", factor=32))
    found = settings.environment_over(own)
    assert (found.max_turns, found.view.min_crop, found.view.factor) == (6, 9, 32)
    weights = read_settings(json.dumps({"corpus": "c", "rewards": {"pattern": {"start": 0.1, "end": 0}}})).rewards
    assert weights.pattern == Linear(start=0.1, end=0)


def test_an_unknown_setting_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"vrag: unknown key corpsu: did you mean corpus\?"):
        read_settings(json.dumps({"corpus": "c", "corpsu": 1}))
    settings = read_settings(json.dumps({"corpus": "c", "environment": {"max_turn": 1}}))
    with pytest.raises(ConfigError, match=r"vrag\.environment: unknown key max_turn: did you mean max_turns\?"):
        settings.environment_over(EnvironmentConfig())


def test_recipes_are_found_by_name_or_path(tmp_path: Path) -> None:
    assert recipe_path("qwen3_vl_8b").is_file()
    (tmp_path / "mine.yaml").write_text("")
    assert recipe_path(str(tmp_path / "mine.yaml")) == tmp_path / "mine.yaml"
    for name in ("base", "qwen9", "absent.yaml"):
        with pytest.raises(UsageError, match=r"give one of qwen2_5_vl_3b, .*, or the path of a YAML file"):
            recipe_path(name)


def test_without_verl_the_command_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "verl", None)
    monkeypatch.setitem(sys.modules, "hydra", None)
    paths = ["--corpus", "c", "--tasks", str(tmp_path / "t.jsonl"), "--out", str(tmp_path / "out")]
    assert main(["train", "verl", "qwen3_vl_8b", *paths]) == 2
    assert "pip install 'vrag[verl]', in an environment of its own" in capsys.readouterr().err
