"""Recipes, parsed and checked by verl's own configuration machinery, and the command that starts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl", reason="verl has an environment of its own: make test-verl")

from vrag.cli import main
from vrag.errors import ConfigError
from vrag.verl.checks import check_config
from vrag.verl.launch import RECIPES, compose

pytestmark = pytest.mark.filterwarnings("ignore")  # verl's own, of packages that only GPUs need

MODELS = {
    "qwen2_5_vl_3b": "Qwen/Qwen2.5-VL-3B-Instruct",
    "qwen2_5_vl_7b": "Qwen/Qwen2.5-VL-7B-Instruct",
    "qwen3_vl_4b": "Qwen/Qwen3-VL-4B-Instruct",
    "qwen3_vl_8b": "Qwen/Qwen3-VL-8B-Instruct",
}
GIVEN = ["vrag.corpus=/pages", "data.train_files=/tasks.jsonl"]


def plain(config: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def test_there_is_a_recipe_for_each_model() -> None:
    assert {file.stem for file in RECIPES.glob("*.yaml")} == {"base", *MODELS}


@pytest.mark.parametrize("nodes", [[], ["nodes=several"], ["nodes=several", "trainer.nnodes=4"]])
@pytest.mark.parametrize("recipe", MODELS)
def test_verl_takes_each_recipe_on_one_machine_and_on_several(recipe: str, nodes: list[str]) -> None:
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config

    config = compose(recipe, [*GIVEN, *nodes])
    validate_config(config, need_reference_policy(config), need_critic(config))
    omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    values = plain(config)
    check_config(values)
    assert values["actor_rollout_ref"]["model"]["path"] == MODELS[recipe]
    assert values["trainer"]["nnodes"] == (4 if len(nodes) == 2 else 2 if nodes else 1)
    assert values["actor_rollout_ref"]["actor"]["fsdp_config"]["fsdp_size"] == (8 if nodes else -1)


def test_the_hyperparameters_are_the_papers() -> None:
    from verl.trainer.ppo.utils import need_critic, need_reference_policy

    config = compose("qwen2_5_vl_7b", GIVEN)
    values = plain(config)
    actor, rollout = values["actor_rollout_ref"]["actor"], values["actor_rollout_ref"]["rollout"]
    assert (rollout["n"], rollout["temperature"], rollout["tensor_model_parallel_size"]) == (5, 1.0, 4)
    assert (actor["optim"]["lr"], actor["optim"]["lr_warmup_steps_ratio"]) == (1e-6, 0.285)
    assert (actor["use_kl_loss"], actor["kl_loss_coef"], actor["clip_ratio"]) == (True, 0.01, 0.2)
    assert (values["trainer"]["total_epochs"], values["data"]["train_batch_size"]) == (1, 32)
    assert (rollout["response_length"], values["vrag"]["max_turn_tokens"]) == (10_240, 2_048)
    assert values["algorithm"]["adv_estimator"] == "grpo" and values["trainer"]["n_gpus_per_node"] == 8
    assert need_reference_policy(config) and not need_critic(config)


def own(folder: Path, extra: str) -> str:
    text = (RECIPES / "qwen3_vl_4b.yaml").read_text(encoding="utf-8")
    (folder / "mine.yaml").write_text(text + extra, encoding="utf-8")
    return str(folder / "mine.yaml")


def test_a_recipe_of_ones_own_builds_on_these(tmp_path: Path) -> None:
    config = compose(own(tmp_path, "  save_freq: 7\n"), GIVEN)
    assert (config.trainer.save_freq, config.actor_rollout_ref.rollout.n) == (7, 5)


def test_a_key_that_verl_does_not_have_is_an_error_in_a_file_and_on_the_command_line(tmp_path: Path) -> None:
    recipe = own(tmp_path, "  savefreq: 7\nactor_rollout_ref.rollout: {}\n")
    with pytest.raises(ConfigError, match=r"mine.yaml: verl has no trainer.savefreq, actor_rollout_ref.rollout"):
        compose(recipe, GIVEN)
    with pytest.raises(ConfigError, match=r"rollout\.nn"):
        compose("qwen3_vl_4b", [*GIVEN, "actor_rollout_ref.rollout.nn=3"])


def test_a_setting_with_which_training_would_be_blind_is_refused() -> None:
    config = compose("qwen3_vl_4b", [*GIVEN, "actor_rollout_ref.rollout.calculate_log_probs=false"])
    with pytest.raises(ConfigError, match=r"calculate_log_probs is False and must be True"):
        check_config(plain(config))


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    paths = ["--corpus", str(tmp_path / "corpus"), "--tasks", str(tmp_path / "it's here.jsonl")]
    return ["train", "verl", "qwen3_vl_4b", *paths, "--out", str(tmp_path / "run")]


def test_the_command_prints_what_verl_would_get(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    sets = ["--set", "data.seed=7", "--set", "+vrag.environment.max_turns=6"]
    assert main([*command, "--model", "owner/name", "--nodes", "3", *sets, "--print"]) == 0
    values = yaml.safe_load(capsys.readouterr().out)
    assert values["data"]["train_files"] == str(tmp_path / "it's here.jsonl")
    assert values["trainer"]["default_local_dir"] == str(tmp_path / "run")
    assert (values["trainer"]["nnodes"], values["data"]["seed"]) == (3, 7)
    assert values["actor_rollout_ref"]["model"]["path"] == "owner/name"
    assert values["vrag"]["environment"] == {"max_turns": 6}
