"""The rollout to compare with: `generate`, which is given the whole conversation, images included, at every turn."""

from __future__ import annotations

import asyncio
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.types import Request, Sample

_TAIL = 12  # tokens that hold any of the closing tags


class Regenerating:
    """All episodes that ask in one pass of the event loop, in one batch of `generate`, padded on the left.

    It gives no log-probabilities, which costs it nothing that would have to be computed.
    """

    def __init__(self, model: Any, codec: QwenVLCodec, *, stop_tags: tuple[str, ...], max_batch: int = 64) -> None:
        self._model, self._codec, self._tags, self._max = model, codec, stop_tags, max_batch
        self._waiting: list[tuple[Request, asyncio.Future[Sample]]] = []

    async def generate(self, request: Request) -> Sample:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sample] = loop.create_future()
        self._waiting.append((request, future))
        loop.call_soon(self._settle, len(self._waiting))
        return await future

    def close(self, session: str) -> None:
        """Nothing is kept from turn to turn."""

    def _settle(self, before: int) -> None:
        if len(self._waiting) > before:
            asyncio.get_running_loop().call_soon(self._settle, len(self._waiting))
            return
        while self._waiting:
            chosen, self._waiting = self._waiting[: self._max], self._waiting[self._max :]
            for (_, future), sample in zip(chosen, self._turn([request for request, _ in chosen]), strict=True):
                future.set_result(sample)

    @torch.no_grad()
    def _turn(self, requests: list[Request]) -> list[Sample]:
        model, codec = self._model, self._codec
        width, n = max(len(r.input_ids) for r in requests), len(requests)
        ids = torch.full((n, width), codec.tokenizer.pad_token_id)
        mask = torch.zeros(n, width, dtype=torch.long)
        for i, request in enumerate(requests):
            ids[i, width - len(request.input_ids) :] = torch.tensor(request.input_ids)
            mask[i, width - len(request.input_ids) :] = 1
        images = [image for request in requests for image in request.images]
        pixels = {}
        if images:
            stacked = torch.cat([torch.from_numpy(image.pixels) for image in images])
            pixels = {
                "pixel_values": stacked.to(model.device, model.dtype),
                "image_grid_thw": torch.tensor([image.grid for image in images], device=model.device),
            }
        model.eval()
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            mm_token_type_ids=(ids == codec.image_pad_id).int().to(model.device),
            generation_config=self._config(requests[0]),
            stopping_criteria=StoppingCriteriaList([_Tags(codec, self._tags)]) if self._tags else None,
            **pixels,
        )
        return [self._sample(row) for row in out[:, width:].tolist()]

    def _config(self, request: Request) -> GenerationConfig:
        return GenerationConfig(
            do_sample=True,
            temperature=request.sampling.temperature,
            top_k=0,
            max_new_tokens=request.sampling.max_tokens,
            eos_token_id=self._codec.end_of_turn_id,
            pad_token_id=self._codec.tokenizer.pad_token_id,
            suppress_tokens=sorted(self._codec.forbidden_ids),
        )

    def _sample(self, ids: list[int]) -> Sample:
        pad = self._codec.tokenizer.pad_token_id
        while ids and ids[-1] == pad:
            ids.pop()
        return Sample(self._codec.decode(ids), "stop", ids, [0.0] * len(ids))


class _Tags(StoppingCriteria):
    """A closed action tag ends a row, as in the policy."""

    def __init__(self, codec: QwenVLCodec, tags: tuple[str, ...]) -> None:
        self._codec, self._tags = codec, tags

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # type: ignore[override]
        tails = self._codec.tokenizer.batch_decode(input_ids[:, -_TAIL:], skip_special_tokens=False)
        return torch.tensor([any(tag in tail for tag in self._tags) for tail in tails], device=input_ids.device)
