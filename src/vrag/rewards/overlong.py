"""Soft over-long punishment (DAPO eq. 13): running into the token limit costs reward, gradually."""

from __future__ import annotations

from vrag.episode import Episode, Reward
from vrag.types import StopReason


def overlong_punishment(length: int, limit: int, zone: float) -> float:
    """0 up to `limit` minus the last `zone` (a share, > 0) of it, from there down to -1 at `limit` and above."""
    cache = zone * limit
    return max(-1.0, min(0.0, (limit - cache - length) / cache))


def punish_overlong(reward: Reward, episode: Episode, limit: int, zone: float, penalty: float) -> Reward:
    """`reward` with a part "overlong" in -1..0, of which `total` takes `penalty` times.

    Length is what the limit is on: all tokens of the episode, images included. An episode that the limit ended has
    the whole punishment, also if it ended below it because an observation didn't fit.
    """
    length = len(episode.tokens.ids) if episode.tokens else 0
    part = -1.0 if episode.stop is StopReason.LENGTH else overlong_punishment(length, limit, zone)
    return Reward(total=reward.total + penalty * part, parts={**reward.parts, "overlong": part})
