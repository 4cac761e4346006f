"""The update to compare with: TRL's own `_compute_loss` on the same episodes, padded and split as its trainer does."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from vrag.episode import Tokens


class TrlUpdate:
    """Backward passes over a batch of `episodes`, `micro_batch` at a time, without the optimiser's step."""

    def __init__(self, model: Any, tokenizer: Any, image_pad: int, episodes: int, micro_batch: int) -> None:
        args = GRPOConfig(
            output_dir=tempfile.mkdtemp(),
            loss_type="grpo",
            beta=0.0,
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=episodes // micro_batch,
            num_generations=micro_batch,
            bf16=False,
            use_cpu=model.device.type == "cpu",
            gradient_checkpointing=False,
            report_to="none",
        )
        prompts = Dataset.from_dict({"prompt": ["a"] * episodes})
        self._trainer = GRPOTrainer(model, lambda **_: [0.0] * episodes, args, prompts, processing_class=tokenizer)
        self._trainer.current_gradient_accumulation_steps = episodes // micro_batch
        self._model, self._image_pad, self._micro = model, image_pad, micro_batch
        self._pad = tokenizer.pad_token_id

    def run(self, episodes: Sequence[Tokens], advantages: Sequence[float], order: Sequence[int]) -> float:
        """The summed loss; gradients stay on the model."""
        prompt = max(len(e.prompt_ids) for e in episodes)
        response = max(len(e.response_ids) for e in episodes)
        self._model.train()
        total = 0.0
        for start in range(0, len(order), self._micro):
            chosen = [episodes[i] for i in order[start : start + self._micro]]
            inputs = self._inputs(chosen, prompt, response)
            inputs["advantages"] = torch.tensor([advantages[i] for i in order[start : start + self._micro]])
            inputs = {k: v.to(self._model.device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}
            loss = self._trainer._compute_loss(self._model, inputs)
            loss.backward()
            total += float(loss)
        return total

    def _inputs(self, episodes: Sequence[Tokens], prompt: int, response: int) -> dict[str, Any]:
        n = len(episodes)
        prompt_ids, prompt_mask = torch.full((n, prompt), self._pad), torch.zeros(n, prompt, dtype=torch.long)
        ids, mask = torch.full((n, response), self._pad), torch.zeros(n, response, dtype=torch.long)
        sampled = torch.zeros(n, response, dtype=torch.long)
        old = torch.zeros(n, response)
        for i, episode in enumerate(episodes):
            p, r = len(episode.prompt_ids), len(episode.response_ids)
            prompt_ids[i, prompt - p :], prompt_mask[i, prompt - p :] = torch.tensor(episode.prompt_ids), 1
            ids[i, :r], mask[i, :r] = torch.tensor(episode.response_ids), 1
            sampled[i, :r] = torch.tensor(episode.loss_mask)
            old[i, :r] = torch.tensor(episode.logprobs)
        images = [image for episode in episodes for image in episode.images]
        found: dict[str, Any] = {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_mask,
            "completion_ids": ids,
            "completion_mask": mask,
            "tool_mask": sampled,
            "old_per_token_logps": old,
            "num_items_in_batch": sampled.sum(),
        }
        if images:
            every = torch.cat([prompt_ids, ids], dim=1)
            found |= {
                "pixel_values": torch.cat([torch.from_numpy(image.pixels) for image in images]),
                "image_grid_thw": torch.tensor([image.grid for image in images]),
                "num_images": [len(episode.images) for episode in episodes],
                "mm_token_type_ids": (every == self._image_pad).int(),
            }
        return found
