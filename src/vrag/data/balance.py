"""Which of the accepted episodes make the dataset, so that no way to play fills it (paper, section 3.3).

Episodes of equally many steps and of the same kinds of action are a group: "3 steps: answer, bbox, search". A choice is
a function of the episodes alone: not of the order in which they were made, nor of a run that was killed between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from vrag.errors import UsageError
from vrag.runs import content_key
from vrag.types import Frozen

if TYPE_CHECKING:
    from vrag.data.dataset import Trajectory


class Balance(Frozen):
    """`cap`: at most so many episodes of a group. `share`: no group is more than this share of the dataset. None: no
    limit.
    """

    cap: int | None = Field(default=None, ge=1)
    share: float | None = Field(default=None, gt=0, le=1)


def group_of(trajectory: Trajectory) -> str:
    kinds = sorted({turn.action.name for turn in trajectory.turns if turn.action is not None})
    return f"{len(trajectory.turns)} steps: {', '.join(kinds)}"


def balanced(accepted: Sequence[Trajectory], balance: Balance) -> list[Trajectory]:
    """The chosen episodes by task, sample and seed. As many as the limits allow; which ones of a group is settled by a
    hash of their keys, so that more episodes change little. Raises `UsageError` for a share that no choice has.
    """
    groups: defaultdict[str, list[Trajectory]] = defaultdict(list)
    for trajectory in sorted(accepted, key=lambda t: content_key(*t.key)):
        groups[group_of(trajectory)].append(trajectory)
    most = _most([len(group) for group in groups.values()], balance)
    return sorted((t for group in groups.values() for t in group[:most]), key=lambda t: t.key)


def _most(sizes: Sequence[int], balance: Balance) -> int:
    """How many episodes of a group may stay."""
    largest = min(max(sizes, default=0), balance.cap or max(sizes, default=0))
    if balance.share is None or not sizes:
        return largest
    for most in range(largest, 0, -1):
        if most <= balance.share * sum(min(size, most) for size in sizes) + 1e-9:
            return most
    raise UsageError(
        f"balance.share={balance.share:g}: {len(sizes)} groups of accepted episodes allow no share below "
        f"{1 / len(sizes):.2g}; nothing is lost: run the command again with a larger one"
    )
