"""An expert's episode as an example to imitate: what of it is learned, and where to look while it is said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.glances import Glance, corner, where
from vrag.episode import Episode, Tokens
from vrag.errors import DataError, InvariantError
from vrag.geometry import block_at
from vrag.training.supervised import Example
from vrag.types import Box, Crop, Turn, View


def example(episode: Episode, turn_weights: dict[str, float], codec: QwenVLCodec | None = None) -> Example:
    """Weigh each sampled token by the action of its turn; a turn without a valid action weighs nothing, nor does a crop
    that missed and was drawn again: nobody is to learn to miss. With `codec`, the tokens that write the box of a gold
    value look at the image token that shows it.
    """
    if episode.tokens is None:
        raise DataError(f"episode {episode.task.id}: carries no tokens; roll the expert out with a codec")
    runs = episode.tokens.turn_lengths()
    if len(runs) != len(episode.turns):
        raise InvariantError(f"episode {episode.task.id}: {len(runs)} sampled runs for {len(episode.turns)} turns")
    pages = _pages(episode)
    mended = _mended(episode.turns, pages)
    weights: list[float] = []
    for length, turn, again in zip(runs, episode.turns, mended, strict=True):
        weight = turn_weights.get(turn.action.name, 1.0) if turn.action and not again else 0.0
        weights += [weight] * length
    glances = () if codec is None else tuple(_glances(episode.turns, episode.tokens, pages, mended, codec))
    return Example(episode.tokens, weights, glances)


@dataclass(frozen=True)
class _GoldPage:
    """A page as it was shown, its gold box in raw pixels, and how many images turns have shown before it."""

    view: View
    gold: Box
    images: int


def _pages(episode: Episode) -> list[_GoldPage | None]:
    """For each turn the page that was shown last before it; None where there is none, or nothing on it is gold."""
    boxes = {gold.ref: gold.box for gold in episode.task.gold if gold.box is not None}
    page, images, found = None, 0, list[_GoldPage | None]()
    for turn in episode.turns:
        found.append(page)
        shown = turn.observation
        if shown is not None and shown.view is not None:
            images += len(shown.views)
            if shown.kind == "page":
                box, region = boxes.get(shown.view.ref), shown.view.region
                page = _GoldPage(shown.view, box.scaled(region.width, region.height), images - 1) if box else None
    return found


def _mended(turns: Sequence[Turn], pages: Sequence[_GoldPage | None]) -> list[bool]:
    """Of each turn, whether it crops beside the gold box of its page and the next turn draws that crop right."""
    held = [_holds(turn, page) for turn, page in zip(turns, pages, strict=True)]
    return [one is False and after is True for one, after in zip(held, [*held[1:], None], strict=True)]


def _holds(turn: Turn, page: _GoldPage | None) -> bool | None:
    """Whether a crop of `page` shows its gold box as a whole; None if it isn't one."""
    if page is None or not isinstance(turn.action, Crop) or turn.observation is None or turn.observation.view is None:
        return None
    return turn.observation.view.region.holds(page.gold)


def _glances(
    turns: Sequence[Turn],
    tokens: Tokens,
    pages: Sequence[_GoldPage | None],
    mended: Sequence[bool],
    codec: QwenVLCodec,
) -> Iterator[Glance]:
    """For each crop of a page that holds gold: from the tag of the box to the end of its first corner. A crop of a crop
    has none, unless it mends one that missed: that is drawn over the page.
    """
    ids, tag, starts = tokens.ids, codec.encode_text("<bbox>"), tokens.image_starts(codec.image_pad_id)
    starts = starts[len(starts) - sum(len(turn.observation.views) for turn in turns if turn.observation) :]
    of_page = False  # whether the next box is drawn over a page: the last image is one, or a crop that is mended
    for turn, page, again, (start, end) in zip(turns, pages, mended, tokens.sampled_runs(), strict=True):
        drawn = isinstance(turn.action, Crop) and of_page and not again
        opened = where(ids, tag, (start, end)) if drawn else None
        if page is not None and opened is not None:
            block = block_at(page.view, page.gold, codec.patch_size * codec.merge_size)
            yield Glance.writing(opened, corner(ids, opened, end, codec.token_text), starts[page.images] + block)
        if turn.observation is not None and turn.observation.views:
            of_page = turn.observation.kind == "page" or again
