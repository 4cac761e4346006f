"""One episode's `Policy` on verl's model servers: token ids in, token ids out."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from vrag.actions import STOP_TAGS
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.errors import InfrastructureError, InvariantError, UsageError
from vrag.types import ImagePart, Message, Request, Sample

NEVER = -100.0  # the lowest bias on a logit that both engines take
ROUNDING = 1e-4  # of a log-probability: so much above 0 is 0


def images_of(messages: Sequence[Message]) -> list[Any]:
    """The images of a conversation in order of appearance, as PIL images of the size that the model sees."""
    return [part.image for message in messages for part in message.parts if isinstance(part, ImagePart)]


class ServerPolicy:
    """See the module. Asks `server.generate`, verl's client of its vLLM or SGLang servers.

    A turn ends at the end of turn, or at the first closed action tag: what a server sampled beyond that is left out,
    which is the same as having stopped there. `sampling` holds verl's own parameters. `seconds` is the time that
    generation took; `preempted` how often the server put the episode off, -1 where it doesn't say; `steps` are the
    first and last training step whose weights spoke.
    """

    def __init__(
        self, server: Any, codec: QwenVLCodec, sampling: Mapping[str, Any], engine: str, priority: int = 0
    ) -> None:
        self._server, self._codec, self._priority = server, codec, priority
        self._sampling = {**sampling, **_limits_of(codec, engine)}
        self._request_id = uuid4().hex  # turns of one id go to one server, which has the prefix in its cache
        self.seconds = 0.0
        self.preempted = -1
        self.steps: tuple[int | None, int | None] = (None, None)

    async def generate(self, request: Request) -> Sample:
        """Raises `InfrastructureError` where the server gives nothing, `UsageError` where it gives no
        log-probabilities; what `server.generate` raises propagates.
        """
        started = time.perf_counter()
        output = await self._server.generate(
            request_id=self._request_id,
            prompt_ids=request.input_ids,
            sampling_params={**self._sampling, "max_tokens": request.sampling.max_tokens},
            image_data=self._images(request),
            priority=self._priority,
        )
        self.seconds += time.perf_counter() - started
        self._note(output)
        return self._sample(request.session, list(output.token_ids), output.log_probs, output.stop_reason)

    def close(self, session: str) -> None:
        """Nothing to free."""

    def _images(self, request: Request) -> list[Any] | None:
        images = images_of(request.messages)
        if len(images) != len(request.images):
            raise InvariantError(
                f"session {request.session}: {len(images)} images in the messages, {len(request.images)} in the tokens"
            )
        return images or None

    def _sample(self, session: str, ids: list[int], logprobs: list[float] | None, stop: str | None) -> Sample:
        if not ids:
            raise InfrastructureError(f"session {session}: the model server sampled nothing ({stop})")
        if logprobs is None:
            raise UsageError(
                "the model server gave no log-probabilities: set actor_rollout_ref.rollout.calculate_log_probs=True"
            )
        if len(logprobs) != len(ids):
            raise InvariantError(f"session {session}: {len(logprobs)} log-probabilities for {len(ids)} tokens")
        kept, finished = self._turn(ids)
        lps = [0.0 if 0.0 < lp <= ROUNDING else lp for lp in logprobs[:kept]]
        return Sample(self._codec.decode(ids[:kept]), "stop" if finished else "length", ids[:kept], lps)

    def _turn(self, ids: list[int]) -> tuple[int, bool]:
        """How many of `ids` the turn has, and whether it is over after these."""
        ended = ids.index(self._codec.end_of_turn_id) + 1 if self._codec.end_of_turn_id in ids else len(ids)
        kept = bisect_left(range(ended), True, key=lambda n: self._acted(ids[:n]))
        return kept, self._acted(ids[:kept]) or ids[kept - 1] == self._codec.end_of_turn_id

    def _acted(self, ids: list[int]) -> bool:
        text = self._codec.decode(ids)
        return any(tag in text for tag in STOP_TAGS)

    def _note(self, output: Any) -> None:
        if output.num_preempted is not None:
            self.preempted = max(self.preempted, 0) + output.num_preempted
        step = output.extra_fields.get("global_steps")
        self.steps = (step if self.steps[0] is None else self.steps[0], step)


def _limits_of(codec: QwenVLCodec, engine: str) -> dict[str, Any]:
    """What may not be sampled, and where to stop, as `engine` wants it."""
    forbidden = sorted(codec.forbidden_ids)
    if engine == "sglang":  # verl runs it without a tokenizer: it can't stop at text
        return {
            "stop_token_ids": [codec.end_of_turn_id],
            "logit_bias": {str(token): NEVER for token in forbidden},
        }
    return {
        "stop_token_ids": [codec.end_of_turn_id],
        "logit_bias": dict.fromkeys(forbidden, NEVER),
        "stop": list(STOP_TAGS),
    }
