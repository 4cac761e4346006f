"""What a run over questions must agree in to be continued: all but that it may ask more of them, or with more seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vrag.runs import Json, content_key
from vrag.types import Task


def identity(about: Mapping[str, Any], tasks: Sequence[Task]) -> Json:
    """The configuration of a run: `about`, and which questions it asks."""
    return {**about, "tasks": {"count": len(tasks), "key": content_key(*tasks)}}


def begun_as(about: Mapping[str, Any], tasks: Sequence[Task]) -> Callable[[Json], bool]:
    """Tells of the configuration of a run on disk whether `identity(about, tasks)` only adds to it: its questions are
    the first of these, and its seeds are among these. How many episodes run at once changes nothing.
    """

    def begun(found: Json) -> bool:
        count, settings = _part(found, "tasks").get("count"), _part(found, "settings")
        if not isinstance(count, int) or not 0 < count <= len(tasks):
            return False
        before = dict(about)
        if "settings" in about:
            seeds = settings.get("seeds")
            if not isinstance(seeds, list) or not set(seeds) <= set(about["settings"]["seeds"]):  # type: ignore[reportUnknownArgumentType]
                return False
            before["settings"] = {**about["settings"], "seeds": seeds, "concurrency": settings.get("concurrency")}
        return found == identity(before, tasks[:count])

    return begun


def _part(config: Json, name: str) -> Json:
    part = config.get(name)
    return part if isinstance(part, dict) else {}
