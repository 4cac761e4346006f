"""What an update saw of a few episodes: its numbers by token, kept to be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Episode, Tokens
from vrag.training.logprobs import TokenScores
from vrag.training.losses import PolicyLoss
from vrag.training.token_trace import TokenTrace, UpdateScores, trace_of


class Watch:
    """Over the `episodes` of one step; the others cost nothing."""

    def __init__(self, episodes: Iterable[Episode] = ()) -> None:
        self._watched = {id(e.tokens) for e in episodes if e.tokens is not None}
        self._advantages: dict[int, float | None] = {}
        self._scores: dict[int, UpdateScores] = {}

    def weighed(self, episodes: Sequence[Episode], advantages: Sequence[float | None]) -> None:
        """Told by the update, of all that it was given."""
        for episode, advantage in zip(episodes, advantages, strict=True):
            if id(episode.tokens) in self._watched:
                self._advantages[id(episode.tokens)] = advantage

    def scored(self, batch: Sequence[Tokens], scores: TokenScores, loss: PolicyLoss) -> None:
        """Told by the update, of each micro-batch: columns over the M sampled tokens of the episodes in `batch`."""
        wanted = [id(tokens) in self._watched for tokens in batch]
        if not any(wanted):
            return
        columns = torch.stack([scores.logprobs.detach(), loss.ratios, scores.entropy, loss.clipped.float()]).cpu()
        parts = columns.split([sum(tokens.loss_mask) for tokens in batch], dim=1)
        for tokens, part, watched in zip(batch, parts, wanted, strict=True):
            if watched:
                logprobs, ratios, entropy, clipped = part.tolist()
                self._scores[id(tokens)] = UpdateScores(logprobs, ratios, entropy, [int(one) for one in clipped])

    def trace(self, episode: Episode, codec: QwenVLCodec) -> TokenTrace | None:
        """None for an episode without tokens."""
        if episode.tokens is None:
            return None
        key, pieces = id(episode.tokens), codec.pieces(episode.tokens.ids)
        return trace_of(episode, pieces, codec.image_pad_id, self._advantages.get(key), self._scores.get(key))
