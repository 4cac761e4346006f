"""What one episode looked at, against its gold pages and boxes. Boxes are compared in raw pixels."""

from __future__ import annotations

from vrag.episode import EpisodeRecord
from vrag.types import Box, Hit, Observation, PageRef, Search


def first_hits(record: EpisodeRecord) -> list[Hit]:
    """All that the first search returned, in retrieval order; empty if the episode never searched."""
    for turn in record.turns:
        if isinstance(turn.action, Search):
            return turn.observation.hits if turn.observation else []
    return []


def gold_pages(record: EpisodeRecord) -> list[PageRef]:
    return list(dict.fromkeys(evidence.ref for evidence in record.task.gold))


def box_scores(record: EpisodeRecord) -> list[tuple[float, float]]:
    """(IoU, containment) of the last crop of its page, for each gold box; (0, 0) where nothing was cropped.

    Containment is the share of the gold box that the crop shows.
    """
    sizes: dict[PageRef, tuple[float, float]] = {}
    crops: dict[PageRef, Box] = {}
    for seen in _observations(record):
        for view in seen.views:
            if seen.kind == "page":  # a page view's region is the whole page
                sizes[view.ref] = (view.region.x2, view.region.y2)
            elif seen.kind == "crop":
                crops[view.ref] = view.region
    scores: list[tuple[float, float]] = []
    for evidence in record.task.gold:
        if evidence.box is None:
            continue
        if evidence.ref in crops and evidence.ref in sizes:
            scores.append(_overlap(evidence.box.scaled(*sizes[evidence.ref]), crops[evidence.ref]))
        else:
            scores.append((0.0, 0.0))
    return scores


def _observations(record: EpisodeRecord) -> list[Observation]:
    return [turn.observation for turn in record.turns if turn.observation is not None]


def _overlap(gold: Box, crop: Box) -> tuple[float, float]:
    width = min(gold.x2, crop.x2) - max(gold.x1, crop.x1)
    height = min(gold.y2, crop.y2) - max(gold.y1, crop.y1)
    shared = max(0.0, width) * max(0.0, height)
    gold_area, crop_area = gold.width * gold.height, crop.width * crop.height
    union = gold_area + crop_area - shared
    return (shared / union if union > 0 else 0.0, shared / gold_area if gold_area > 0 else 0.0)
