"""The embedded policy: batched multi-turn sampling that carries its KV cache from turn to turn.

Episodes that start together form a *wave*: one batch, one cache. At each turn every row's new tokens are
prefilled in one left-padded block over the cache (only the new images are encoded), then the rows decode
together until each has stopped. Finished episodes are evicted from the cache. Padding leaves holes in the
attention mask, so `position_ids` are always explicit: a text row that counts real tokens, and three mRoPE rows
taken from the model's own `get_rope_index` over the whole episode.

Log-probabilities are those of the distribution that was sampled from: reserved ids masked, temperature
applied. `vrag.training.logprobs` computes the same from the finished episode; a test holds them equal.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from vrag.actions import STOP_TAGS
from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.errors import InvariantError
from vrag.policies.vision import image_inputs
from vrag.policies.wave import Row, Wave
from vrag.types import EncodedImage, Request, Sample

_EARLY = 1e-3  # s by which a timer of the event loop may be early


def mask_reserved(logits: Tensor, reserved: Sequence[int]) -> Tensor:
    """`logits` [..., V] with the reserved ids at -inf."""
    if not reserved:
        return logits
    return logits.index_fill(-1, torch.as_tensor(list(reserved), device=logits.device), float("-inf"))


class TransformersPolicy:
    """Samples from a Qwen2.5-VL or Qwen3-VL model. Holds no gradient; the trainer owns `model`.

    Sessions that begin in one pass of the event loop form a wave of at most `max_batch`. A wave moves when
    all of its open episodes have asked for their next turn; after `patience` seconds the ready ones go on
    without the rest. A generation stops at the end of turn, at a closed action tag, or at its token limit.

    Event loops of several threads may ask at once: each has waves of its own, and they take turns.
    """

    def __init__(
        self,
        model: Any,
        codec: QwenVLCodec,
        *,
        max_batch: int = 64,
        stop_tags: Sequence[str] = STOP_TAGS,
        patience: float = 5.0,
    ) -> None:
        if max_batch < 1:
            raise ValueError(f"max_batch {max_batch}: a batch holds at least one episode")
        self.model, self.codec = model, codec
        self.max_batch, self.patience = max_batch, patience
        self.stop_tags = tuple(stop_tags)
        # tokens that hold any of them, however the vocabulary splits it
        self._tail = max((len(tag.encode()) for tag in stop_tags), default=1)
        self._reserved = sorted(codec.forbidden_ids)
        forward = inspect.signature(type(model).forward).parameters
        self._cache_name = "cache" if "cache" in forward else "past_key_values"  # the latter before transformers 5.24
        self._pad = int(codec.tokenizer.pad_token_id)
        self._rows: dict[str, tuple[Wave, Row]] = {}
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()
        self._computing = threading.Lock()

    async def generate(self, request: Request) -> Sample:
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(loop, _Queue())
        future: asyncio.Future[Sample] = loop.create_future()
        queue.pending[request.session] = _Asked(request, future, loop.time())
        self._schedule(loop, queue)
        try:
            return await future
        finally:
            queue.pending.pop(request.session, None)

    def close(self, session: str) -> None:
        held = self._rows.pop(session, None)
        if held is None:
            return
        held[1].closed = True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # that of its wave has ended
            return
        queue = self._queues.get(loop)
        if queue is not None and queue.pending:
            self._schedule(loop, queue)  # the others of its wave may have waited for this one

    # ------------------------------------------------------------------------------------- batching

    def _schedule(self, loop: asyncio.AbstractEventLoop, queue: _Queue) -> None:
        if not queue.scheduled:
            queue.scheduled = True
            loop.call_soon(self._settle, loop, queue, len(queue.pending))

    def _settle(self, loop: asyncio.AbstractEventLoop, queue: _Queue, before: int) -> None:
        """Wait until a pass of the loop brings nobody new, so that a whole group moves in one batch."""
        if len(queue.pending) > before:
            loop.call_soon(self._settle, loop, queue, len(queue.pending))
            return
        queue.scheduled = False
        self._dispatch(loop, queue)

    def _dispatch(self, loop: asyncio.AbstractEventLoop, queue: _Queue) -> None:
        """Run every batch that is ready, and come back when the next one has waited long enough for its others."""
        for requests in self._batches(queue, loop.time()):
            futures = [queue.pending.pop(request.session).future for request in requests]
            try:
                with self._computing:
                    samples = self._turn(requests)
            except Exception as failure:  # noqa: BLE001 - handed to the awaiting episodes, not swallowed
                for future in futures:
                    if not future.done():
                        future.set_exception(failure)
                continue
            for future, sample in zip(futures, samples, strict=True):
                if not future.done():
                    future.set_result(sample)
        if queue.timer is not None:
            queue.timer.cancel()
            queue.timer = None
        if queue.pending:
            first = min(asked.since for asked in queue.pending.values())
            queue.timer = loop.call_at(first + self.patience, self._dispatch, loop, queue)

    def _batches(self, queue: _Queue, now: float) -> list[list[Request]]:
        """Requests of one wave together; new sessions in waves of `max_batch`. A wave is ready when each of
        its open rows has asked for its next turn, or one of them has waited for `patience`.
        """
        known: dict[int, list[_Asked]] = {}
        fresh: list[Request] = []
        for session, asked in queue.pending.items():
            held = self._rows.get(session)
            if held is None:
                fresh.append(asked.request)
            else:
                known.setdefault(id(held[0]), []).append(asked)
        ready = [
            [one.request for one in asked]
            for asked in known.values()
            if len(asked) == self._rows[asked[0].request.session][0].open_rows()
            or now - min(one.since for one in asked) >= self.patience - _EARLY
        ]
        return ready + [fresh[i : i + self.max_batch] for i in range(0, len(fresh), self.max_batch)]

    # ------------------------------------------------------------------------------------- one turn

    def _turn(self, requests: list[Request]) -> list[Sample]:
        with torch.no_grad(), _evaluating(self.model):
            wave = self._wave(requests)
            by_session = {request.session: request for request in requests}
            ordered = [by_session[row.session] for row in wave.rows]
            logits, position = self._prefill(wave, ordered)
            samples = self._decode(wave, ordered, logits, position)
        found = {row.session: sample for row, sample in zip(wave.rows, samples, strict=True)}
        return [found[request.session] for request in requests]

    def _wave(self, requests: list[Request]) -> Wave:
        held = self._rows.get(requests[0].session)
        if held is None:
            return self._open(requests)
        wave = held[0]
        wanted = {request.session for request in requests}
        keep = [i for i, row in enumerate(wave.rows) if not row.closed]
        waiting = [wave.rows[i].session for i in keep if wave.rows[i].session not in wanted]
        if waiting:
            return self._split(wave, wanted)
        if len(keep) < len(wave.rows):
            wave.keep(keep)
        return wave

    def _open(self, requests: list[Request]) -> Wave:
        rows = [Row(r.session, np.random.default_rng(r.sampling.seed)) for r in requests]
        return self._hold(Wave.empty(rows, self.model.config))

    def _split(self, wave: Wave, wanted: set[str]) -> Wave:
        """Some of the wave's rows wait on a slow environment: the ready ones go on as a wave of their own."""
        ready = wave.part([i for i, row in enumerate(wave.rows) if row.session in wanted], self.model.config)
        wave.keep([i for i, row in enumerate(wave.rows) if row.session not in wanted and not row.closed])
        return self._hold(ready)

    def _hold(self, wave: Wave) -> Wave:
        for row in wave.rows:
            self._rows[row.session] = (wave, row)
        return wave

    def _prefill(self, wave: Wave, requests: list[Request]) -> tuple[Tensor, Tensor]:
        """Feed each row's new tokens; returns the last logits [B, V] and each row's next mRoPE position [B].

        Rows with the same past and the same news, as siblings are at first, are computed once.
        """
        for row, request in zip(wave.rows, requests, strict=True):
            if request.input_ids[: len(row.ids)] != row.ids:
                raise InvariantError(f"session {row.session}: the conversation's past changed between turns")
        distinct, shared = _distinct(wave.rows, requests)
        if len(distinct) == len(requests):
            return self._feed(wave, wave.rows, requests)
        wave.gather(distinct)
        logits, following = self._feed(wave, [wave.rows[i] for i in distinct], [requests[i] for i in distinct])
        wave.gather(shared)
        for row, twin in zip(wave.rows, shared, strict=True):
            first = wave.rows[distinct[twin]]
            row.ids, row.cached, row.images_cached = list(first.ids), first.cached, first.images_cached
        return logits[shared], following[shared]

    def _feed(self, wave: Wave, rows: Sequence[Row], requests: Sequence[Request]) -> tuple[Tensor, Tensor]:
        """`rows` are those that the cache holds now."""
        blocks: list[list[int]] = []
        fresh: list[EncodedImage] = []
        for row, request in zip(rows, requests, strict=True):
            row.ids = list(request.input_ids)
            blocks.append(row.ids[row.cached :])
            fresh += request.images[row.images_cached :]
            row.images_cached = len(request.images)
            row.cached = len(row.ids)
        width = max(len(block) for block in blocks)
        ids = torch.full((len(blocks), width), self._pad)
        mask = torch.zeros(len(blocks), width, dtype=torch.long)
        positions = torch.zeros(3, len(blocks), width, dtype=torch.long)
        following = torch.zeros(len(blocks), dtype=torch.long)
        for i, (block, request) in enumerate(zip(blocks, requests, strict=True)):
            rope = self._rope(request)
            start = width - len(block)
            ids[i, start:] = torch.tensor(block)
            mask[i, start:] = 1
            positions[:, i, start:] = rope[:, -len(block) :]
            following[i] = rope.max() + 1
        return self._forward(wave, ids, mask, positions, fresh), following

    def _rope(self, request: Request) -> Tensor:
        """mRoPE positions [3, L] of a whole episode, from the model's own index."""
        ids = torch.tensor([request.input_ids])
        if not request.images:
            return torch.arange(ids.shape[1]).expand(3, -1)
        grids = torch.tensor([image.grid for image in request.images])
        kinds = (ids == self.codec.image_pad_id).int()
        return self.model.model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grids)[0][:, 0]

    def _forward(
        self, wave: Wave, ids: Tensor, mask: Tensor, positions: Tensor, images: Sequence[EncodedImage] = ()
    ) -> Tensor:
        """One forward over the cache. `ids`, `mask` [B, L], `positions` [3, B, L] -> last logits [B, V] fp32."""
        device = self.model.device
        wave.mask = torch.cat([wave.mask, mask], dim=1)
        text = (wave.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        out = self.model(
            input_ids=ids.to(device),
            attention_mask=wave.mask.to(device),
            position_ids=torch.cat([text[None], positions]).to(device),
            use_cache=True,
            logits_to_keep=1,
            **{self._cache_name: wave.cache},
            **image_inputs(self.model, images),
        )
        return mask_reserved(out.logits[:, -1].float(), self._reserved)

    def _decode(self, wave: Wave, requests: list[Request], logits: Tensor, position: Tensor) -> list[Sample]:
        """Sample every row to its stop. A row's last token stays out of the cache until its next turn.

        When half of a batch has stopped, the rest goes on in a batch of its own, so that little is computed for rows
        that are done.
        """
        turns = [_Spoken(row, request) for row, request in zip(wave.rows, requests, strict=True)]
        batch, left = wave, list(turns)
        wider: list[tuple[Wave, list[int]]] = []
        while True:
            tokens = self._pick(left, logits)
            alive = [i for i, turn in enumerate(left) if turn.finish is None]
            if not alive:
                break
            if 2 * len(alive) <= len(left):
                wider.append((batch, alive))
                batch, left = batch.part(alive, self.model.config), [left[i] for i in alive]
                tokens, position = tokens[alive], position[alive]
                alive = list(range(len(left)))
            running = torch.zeros(len(left), dtype=torch.long)
            running[alive] = 1
            feed = torch.where(running.bool(), tokens, self._pad)[:, None]
            logits = self._forward(batch, feed, running[:, None], (position * running).expand(3, -1)[..., None])
            position = position + running
        for whole, places in reversed(wider):
            whole.absorb(batch, places)
            batch = whole
        for turn in turns:
            turn.row.ids = turn.row.ids + turn.ids
            turn.row.cached = len(turn.row.ids) - 1
        return [
            Sample(self.codec.decode(t.ids), "stop" if t.finish == "stop" else "length", t.ids, t.logprobs)
            for t in turns
        ]

    def _pick(self, turns: Sequence[_Spoken], logits: Tensor) -> Tensor:
        """A token [B] for each of `turns`, drawn from its own random stream; adds it to those that haven't stopped."""
        temperature = torch.tensor([turn.request.sampling.temperature for turn in turns])[:, None].to(logits.device)
        logprobs = torch.where(temperature > 0, logits / temperature.clamp(min=1e-6), logits).log_softmax(-1)
        greedy = logprobs.argmax(-1)
        cumulative = logprobs.double().exp().cumsum(-1)
        draws = [[turn.row.rng.random() if turn.finish is None else 0.0] for turn in turns]
        targets = torch.tensor(draws, dtype=torch.float64, device=logits.device) * cumulative[:, -1:]
        sampled = torch.searchsorted(cumulative, targets, right=True)[:, 0]
        tokens = torch.where(temperature[:, 0] > 0, sampled.clamp(max=logits.shape[-1] - 1), greedy)
        chosen = logprobs.gather(-1, tokens[:, None])[:, 0].tolist()
        for turn, token, logprob in zip(turns, tokens.tolist(), chosen, strict=True):
            if turn.finish is None:
                turn.ids.append(token)
                turn.logprobs.append(logprob)
                turn.finish = self._finished(turn.ids, turn.request)
        return tokens.cpu()

    def _finished(self, ids: list[int], request: Request) -> str | None:
        if ids[-1] == self.codec.end_of_turn_id:
            return "stop"
        tail = self.codec.tokenizer.decode(ids[-self._tail :], skip_special_tokens=False)
        if any(tag in tail for tag in self.stop_tags):
            return "stop"
        return "length" if len(ids) >= request.sampling.max_tokens else None


@dataclass(frozen=True)
class _Asked:
    """A request that waits for its turn, `since` so many seconds of its event loop's clock."""

    request: Request
    future: asyncio.Future[Sample]
    since: float


@dataclass
class _Queue:
    """What waits in one event loop, by session; whether a pass over it is due, and when the next one is."""

    pending: dict[str, _Asked] = field(default_factory=lambda: {})
    scheduled: bool = False
    timer: asyncio.TimerHandle | None = None


@dataclass
class _Spoken:
    """What a row has said in this turn so far; `finish` is None while it speaks."""

    row: Row
    request: Request
    ids: list[int] = field(default_factory=lambda: [])
    logprobs: list[float] = field(default_factory=lambda: [])
    finish: str | None = None


def _distinct(rows: Sequence[Row], requests: Sequence[Request]) -> tuple[list[int], list[int]]:
    """The first row of each conversation, and for each row the place of its conversation among these."""
    places: dict[tuple[Any, ...], int] = {}
    distinct: list[int] = []
    shared: list[int] = []
    for i, (row, request) in enumerate(zip(rows, requests, strict=True)):
        key = tuple(request.input_ids), row.cached, tuple(map(id, request.images))
        if key not in places:
            places[key] = len(distinct)
            distinct.append(i)
        shared.append(places[key])
    return distinct, shared


@contextmanager
def _evaluating(model: Any) -> Generator[None]:
    """Dropout off while sampling; the trainer's mode is put back."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
