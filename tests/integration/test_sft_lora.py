"""SFT of a policy, whole and by LoRA, in both families: what is trained, what is saved, and that it goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import Tiny, make_tiny
from tests.trajectories import environment_of, make_dataset, make_store, one_hop, two_hops
from vrag.data.replay import load_episodes
from vrag.episode import Episode
from vrag.errors import CheckpointError, ConfigError, UsageError
from vrag.policies.load import load_codec, load_model, save_policy
from vrag.runs import read_lines
from vrag.training.batch import collate
from vrag.training.lora import PolicyLora
from vrag.training.lora import trainable as made_trainable
from vrag.training.optimizer import OptimizerConfig
from vrag.training.run import CheckpointConfig
from vrag.training.sft import SFTConfig, sft
from vrag.types import Crop

pytest.importorskip("peft")
# peft 0.21 asks transformers 5.24 for what has another name there
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

CONFIG = SFTConfig(
    epochs=10,
    batch=2,
    precision="fp32",
    lora=PolicyLora(rank=4),
    optimizer=OptimizerConfig(lr=1e-2, warmup=0.1),
    checkpoints=CheckpointConfig(every=4, keep=1),
)
LANGUAGE = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def base(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and beside it a dataset for it."""
    folder, tiny, store = tmp_path_factory.mktemp(family), make_tiny(family), make_store()
    save_policy(folder / "base", tiny.model, tiny.codec, environment_of(tiny))
    make_dataset(folder / "set", store, [two_hops(store), one_hop(store)], environment_of(tiny))
    return folder / "base"


def loaded(base: Path) -> tuple[Any, Any, list[Episode]]:
    codec = load_codec(base)
    return load_model(base).requires_grad_(True), codec, load_episodes(base.parent / "set", codec)[0]


def trainable(model: Any, config: SFTConfig) -> Any:
    return made_trainable(model, config.lora, freeze_vision=config.freeze_vision, seed=config.seed)


def trained(model: Any) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def logits(model: Any, codec: Any, episode: Episode) -> torch.Tensor:
    pad, image_pad = codec.tokenizer.pad_token_id, codec.image_pad_id
    batch = collate([episode.tokens], pad_id=pad, image_pad_id=image_pad, model=model)  # type: ignore[list-item]
    with torch.no_grad():
        return model.eval()(**batch.inputs(model)).logits


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in read_lines(out / "metrics.jsonl")]


def test_a_frozen_tower_is_frozen_with_its_mergers(family: str) -> None:
    names = trained(trainable(make_tiny(family).model, SFTConfig()))
    every = {name for name, _ in make_tiny(family).model.named_parameters()}
    frozen = {name for name in every if name.startswith("model.visual.")}
    assert names == every - frozen and any("merger" in name for name in frozen)
    assert trained(trainable(make_tiny(family).model, SFTConfig(freeze_vision=False))) == every


def test_adapters_are_in_the_language_model_alone(family: str) -> None:
    names = trained(trainable(make_tiny(family).model, CONFIG))
    assert all("language_model" in name and "lora_" in name for name in names)
    assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name in names} == LANGUAGE


def test_without_freezing_the_tower_and_its_mergers_get_adapters_too(family: str) -> None:
    tiny: Tiny = make_tiny(family)
    names = trained(trainable(tiny.model, CONFIG.model_copy(update={"freeze_vision": False})))
    adapted = {name.split(".lora_")[0].partition("visual.")[2] for name in names if "visual" in name}
    linear = {
        name
        for name, module in make_tiny(family).model.model.visual.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert adapted == linear


def test_adapters_learn_and_are_merged_into_a_checkpoint(base: Path, tmp_path: Path) -> None:
    model, codec, episodes = loaded(base)
    result = sft(model, codec, episodes, CONFIG, tmp_path / "run")
    assert losses(tmp_path / "run")[-1] < 0.8 * losses(tmp_path / "run")[0]
    tiny = make_tiny("qwen3_vl")
    save_policy(tmp_path / "final", result, codec, environment_of(tiny))
    assert not list((tmp_path / "final").glob("adapter*")), "whole weights"
    before, after = (dict(load_model(path).named_parameters()) for path in (base, tmp_path / "final"))
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and all(name.split(".")[-2] in LANGUAGE and "language_model" in name for name in changed)
    assert torch.allclose(
        logits(load_model(tmp_path / "final"), codec, episodes[0]), logits(result, codec, episodes[0])
    )


def test_adapters_alone_are_put_into_their_base_again(base: Path, tmp_path: Path) -> None:
    results = []
    for merge in (True, False):
        model, codec, episodes = loaded(base)
        config = CONFIG.model_copy(update={"epochs": 2, "lora": PolicyLora(rank=4, merge=merge)})
        result = sft(model, codec, episodes, config, tmp_path / f"run-{merge}")
        save_policy(tmp_path / str(merge), result, codec, environment_of(make_tiny("qwen3_vl")))
        results.append(logits(load_model(tmp_path / str(merge)), codec, episodes[0]))
    final = tmp_path / "False"
    assert (final / "adapter_model.safetensors").exists() and not (final / "model.safetensors").exists()
    assert torch.allclose(*results, atol=1e-5)
    assert not torch.allclose(results[0], logits(load_model(base), codec, episodes[0]), atol=1e-3)
    settings = final / "adapter_config.json"
    settings.write_text(settings.read_text().replace(str(base), str(tmp_path / "gone")))
    with pytest.raises(CheckpointError, match=r"gone.*put it there"):
        load_model(final)


def test_a_killed_run_goes_on_to_the_same_weights(base: Path, tmp_path: Path) -> None:
    class Killed(Exception): ...

    def stop(metrics: dict[str, Any]) -> None:
        if metrics["step"] == 6:
            raise Killed

    def run(name: str, on_step: Callable[[dict[str, Any]], None] = lambda metrics: None) -> dict[str, torch.Tensor]:
        model, codec, episodes = loaded(base)
        return dict(sft(model, codec, episodes, CONFIG, tmp_path / name, on_step).state_dict())

    whole = run("whole")
    with pytest.raises(Killed):
        run("cut", stop)
    cut = run("cut")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert whole.keys() == cut.keys() and all(torch.equal(cut[name], value) for name, value in whole.items())


def test_a_run_on_other_episodes_is_not_continued(base: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 1})
    model, codec, episodes = loaded(base)
    sft(model, codec, episodes, config, tmp_path / "run")
    with pytest.raises(UsageError, match="episodes"):
        sft(load_model(base), codec, episodes[:1], config, tmp_path / "run")


def test_muon_takes_adapters_all_of_which_are_matrices(base: Path, tmp_path: Path) -> None:
    model, codec, episodes = loaded(base)
    optimizer = OptimizerConfig(method="muon", lr=1e-2, warmup=0.1)
    sft(model, codec, episodes, CONFIG.model_copy(update={"optimizer": optimizer, "epochs": 2}), tmp_path / "run")
    assert len(losses(tmp_path / "run")) == 2


def test_turns_without_weight_teach_nothing_and_harm_nothing(base: Path, tmp_path: Path) -> None:
    model, codec, episodes = loaded(base)
    weights = {"search": 0.0, "bbox": 1.0, "answer": 0.0}
    config = CONFIG.model_copy(update={"turn_weights": weights, "epochs": 2, "max_tokens": 1, "lora": None})
    first, second = episodes
    bare = [t.model_copy(update={"action": None}) if isinstance(t.action, Crop) else t for t in second.turns]
    found = sft(model, codec, [first, replace(second, turns=bare)], config, tmp_path / "run")
    assert all(torch.isfinite(parameter).all() for parameter in found.parameters())
    assert all(math.isfinite(loss) for loss in losses(tmp_path / "run"))
    nothing = config.model_copy(update={"turn_weights": dict.fromkeys(weights, 0.0)})
    with pytest.raises(ConfigError, match="no turn of any episode has a weight"):
        sft(model, codec, episodes, nothing, tmp_path / "none")
