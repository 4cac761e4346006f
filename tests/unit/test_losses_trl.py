"""Our losses equal TRL's, in value and in gradient, on the same tensors: TRL's own `_compute_loss` is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from tests.tiny import TEXTS
from vrag.training.algorithm import PRESETS, Algorithm
from vrag.training.losses import Scale, policy_loss, token_weights
from vrag.training.tiny import make_tokenizer

# TRL's own defaults use a setting that transformers renames
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing. is deprecated:FutureWarning")

B, T, LIMIT = 6, 14, 40
MIXED = {
    "a sequence ratio, token mean": PRESETS["gspo"].model_copy(update={"aggregate": "token"}),
    "a sequence ratio, constant": PRESETS["gspo"].model_copy(update={"aggregate": "constant"}),
    "a sequence ratio in CISPO": PRESETS["cispo"].model_copy(update={"ratio": "sequence", "clip_high": 0.2}),
}
VARIANTS: dict[str, Algorithm] = {**PRESETS, **MIXED}

Make = Callable[[Algorithm], GRPOTrainer]


@pytest.fixture(scope="module")
def make_trainer(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """TRL's trainer with the settings that say the same as an algorithm of ours, on a model that is never run."""
    tokenizer = make_tokenizer(TEXTS * 3, 400)
    shape = dict.fromkeys(["num_hidden_layers", "num_attention_heads", "num_key_value_heads"], 1)
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=400, hidden_size=8, intermediate_size=8, **shape))
    prompts = Dataset.from_dict({"prompt": ["a"] * B})

    def make(algorithm: Algorithm) -> GRPOTrainer:
        cispo = algorithm.surrogate == "cispo"
        means = {"sequence": "grpo", "token": "dapo", "constant": "dr_grpo"}
        args = GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")),
            loss_type="cispo" if cispo else means[algorithm.aggregate],
            importance_sampling_level=algorithm.ratio,
            epsilon=algorithm.clip_low,
            epsilon_high=1 + algorithm.clip_high if cispo else algorithm.clip_high,
            max_completion_length=LIMIT,
            per_device_train_batch_size=B,
            num_generations=B,
            use_bias_correction_kl=False,
            use_cpu=True,
            bf16=False,
            report_to="none",
        )
        trainer = GRPOTrainer(model, lambda **_: [0.0] * B, args, prompts, processing_class=tokenizer)
        trainer.current_gradient_accumulation_steps = 1  # the training loop sets it
        trainer.beta = algorithm.kl  # by the settings it would load a reference model, which isn't run either
        return trainer

    return make


def case(seed: int) -> dict[str, torch.Tensor]:
    """Ragged episodes with observations in the middle; log-ratios of 1e-4 to 2, so that every range is left and kept
    by some.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    lengths = torch.tensor([T, T - 1, 2, 5, T - 4, 8])
    tool_mask = (torch.rand(B, T, generator=generator) < 0.7).long()
    tool_mask[:, 0] = 1  # each episode has sampled something
    old = -(noise(B, T).abs() * 2 + 1e-3)
    spread = torch.tensor([2.0, 1.0, 2e-4, 0.2, 1.5, 1e-4], dtype=torch.float64)[:, None]
    return {
        "new": old + spread * noise(B, T),
        "old": old,
        "reference": old + 0.3 * noise(B, T),
        "advantages": torch.tensor([1.3, -0.8, 0.4, 0.0, -1.7, 0.9], dtype=torch.float64)[
            torch.randperm(B, generator=generator)
        ],
        "completion_mask": (torch.arange(T)[None] < lengths[:, None]).long(),
        "tool_mask": tool_mask,
    }


def by_trl(trainer: GRPOTrainer, tensors: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Loss, gradient [B, T] and TRL's own metrics."""
    new = tensors["new"].clone().requires_grad_()
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (new, torch.zeros_like(new), None)  # type: ignore[method-assign]
    mask = tensors["completion_mask"] * tensors["tool_mask"]
    trainer._metrics["train"].clear()
    loss = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": torch.ones(B, 1, dtype=torch.long),
            "prompt_mask": torch.ones(B, 1, dtype=torch.long),
            "completion_ids": torch.ones(B, T, dtype=torch.long),
            "completion_mask": tensors["completion_mask"],
            "tool_mask": tensors["tool_mask"],
            "advantages": tensors["advantages"],
            "old_per_token_logps": tensors["old"],
            "ref_per_token_logps": tensors["reference"],
            "num_items_in_batch": mask.sum(),
        },
    )
    loss.backward()
    assert new.grad is not None
    return loss.detach(), new.grad, {key: values[-1] for key, values in trainer._metrics["train"].items()}


def by_us(algorithm: Algorithm, tensors: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, Any]:
    new = tensors["new"].clone().requires_grad_()
    mask = (tensors["completion_mask"] * tensors["tool_mask"]).bool()
    rows = mask.nonzero()[:, 0]
    weights = token_weights(rows, algorithm.aggregate, Scale(B, int(mask.sum()), LIMIT))
    result = policy_loss(
        new[mask],
        tensors["old"][mask],
        tensors["advantages"][rows],
        rows,
        weights,
        algorithm,
        tensors["reference"][mask],
    )
    result.loss.backward()
    assert new.grad is not None
    return result.loss.detach(), new.grad, result


@pytest.mark.parametrize("kl", [0.0, 0.04])
@pytest.mark.parametrize("name", VARIANTS)
def test_loss_and_gradient_equal_trls(name: str, kl: float, make_trainer: Make) -> None:
    algorithm = VARIANTS[name].model_copy(update={"kl": kl})
    trainer = make_trainer(algorithm)
    low = high = 0.0
    for seed in range(8):
        tensors = case(seed)
        expected, expected_gradient, metrics = by_trl(trainer, tensors)
        found, gradient, result = by_us(algorithm, tensors)
        assert found.item() == pytest.approx(expected.item(), abs=1e-6)
        assert torch.allclose(gradient, expected_gradient, rtol=0, atol=1e-6)
        assert expected_gradient.abs().max() > 1e-3, "or the comparison says nothing"
        low, high = low + result.clipped_low, high + result.clipped_high
        if algorithm.surrogate == "clip" and algorithm.ratio == "token":  # TRL counts sequences, we their tokens
            assert result.clipped_low == pytest.approx(metrics["clip_ratio/low_mean"], abs=1e-6)
            assert result.clipped_high == pytest.approx(metrics["clip_ratio/high_mean"], abs=1e-6)
        if kl:
            assert result.kl == pytest.approx(metrics["kl"], abs=1e-6)
    assert 0 < high < 8, "both kept and clipped tokens are compared"
    assert low > 0 or algorithm.clip_low == 1
