"""A model server as verl's agent loops see it: ids and images in, ids and log-probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from PIL.Image import Image

from tests.tiny import Tiny


class ModelServer:
    """Says what the script of a conversation has next, and what the model gives for it: log-probabilities of a forward
    over the given ids, with the given images through the image processor, as a server would encode them itself.

    `scripts`: by what the prompt holds. `asked` keeps the arguments of each request.
    """

    def __init__(self, tiny: Tiny, scripts: dict[str, Sequence[str]]) -> None:
        self.tiny, self.scripts = tiny, scripts
        self.said: dict[str, int] = {}
        self.asked: list[dict[str, Any]] = []

    async def generate(self, request_id: str, *, prompt_ids: list[int], **arguments: Any) -> Any:
        self.asked.append({"request_id": request_id, "prompt_ids": list(prompt_ids), **arguments})
        text = self.tiny.codec.decode(prompt_ids)
        [script] = [turns for key, turns in self.scripts.items() if key in text]
        turn = self.said.get(request_id, 0)
        self.said[request_id] = turn + 1
        ids = self.tiny.codec.encode_sampled(script[turn])
        return SimpleNamespace(
            token_ids=ids,
            log_probs=self.logprobs(prompt_ids, ids, arguments["image_data"]),
            stop_reason="completed",
            num_preempted=0,
            extra_fields={"global_steps": 3},
        )

    @torch.no_grad()
    def logprobs(self, prompt_ids: list[int], ids: list[int], images: list[Image] | None) -> list[float]:
        codec = self.tiny.codec
        given = torch.tensor([[*prompt_ids, *ids]])
        seen = dict(codec.image_processor(images=images, return_tensors="pt")) if images else {}
        kinds = (given == codec.image_pad_id).int()
        logits = self.tiny.model(input_ids=given, mm_token_type_ids=kinds, **seen).logits[0, -len(ids) - 1 : -1]
        logits[:, sorted(codec.forbidden_ids)] = float("-inf")
        return logits.log_softmax(-1).gather(-1, torch.tensor(ids)[:, None])[:, 0].tolist()
