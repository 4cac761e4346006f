"""`vrag train report`: one page about a training run, finished or not: its curves, warnings, and sample episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vrag.errors import DataError
from vrag.evaluation.report import Chart, Html, Images, Trajectory, draw_curves, gallery, write_page
from vrag.evaluation.report.html import el
from vrag.evaluation.report.images import NoPages
from vrag.protocols import PageStore
from vrag.runs import Json, read_config, read_lines
from vrag.training.alarms import warned
from vrag.training.card import seconds_of
from vrag.training.origin import Origin, read_origin
from vrag.training.samples import KeptEpisode, read_samples
from vrag.types import StopReason

IMAGE_BUDGET = 12_000_000  # bytes
ROUNDING = 1e-6  # what a loss is off 0 where it is 0, as with one update of a batch: advantages of a group add up to 0

# title, whether it is a share, and the metrics by what their curve is called
CURVES: tuple[tuple[str, bool, dict[str, str]], ...] = (
    ("Reward in training", False, {"reward": "reward", "its spread": "reward_std"}),
    ("Its parts", False, {part: f"reward/{part}" for part in ("answer", "retrieval", "pattern", "overlong")}),
    ("Loss", False, {"loss": "loss"}),
    ("Sequences all right", True, {"exact": "exact"}),
    ("Groups", True, {"equal rewards": "groups_zero_variance", "all right": "groups_all_right",
                      "all wrong": "groups_all_wrong"}),
    ("Actions per episode", False, {"searches": "search_per_episode", "crops": "bbox_per_episode"}),
    ("Turns without a valid action", True, {"invalid": "invalid_actions"}),
    ("How episodes end", True, {reason.value: f"stop/{reason.value}" for reason in StopReason}),
    ("Tokens written per episode", False, {"mean": "sampled_length", "longest": "sampled_length_max"}),
    ("Entropy of the sampled tokens", False, {"entropy": "entropy"}),
    ("KL to the starting model", False, {"kl": "kl"}),
    ("Clipped tokens", True, {"low": "clip_fraction_low", "high": "clip_fraction_high"}),
    ("Gradient norm", False, {"norm": "gradient_norm"}),
    ("Learning rate", False, {"rate": "lr"}),
    ("Seconds of a step", False, {phase: f"{phase}_seconds" for phase in ("rollout", "scoring", "update", "saving")}
                                 | {"all": "seconds"}),
    ("Tokens per second", False, {phase: f"{phase}_tokens_per_second" for phase in ("rollout", "update")}),
)  # fmt: skip


def curves(rows: Sequence[Json]) -> list[Chart]:
    """What training logged, over its steps. What was 0 all the time, but for rounding, is left out, except for how well
    it went.
    """
    drawn: list[Chart] = []
    for title, share, names in CURVES:
        series = {
            label: [(row["step"] + 1, row[name]) for row in rows if name in row]
            for label, name in names.items()
            if name.startswith(("reward", "exact")) or any(abs(row.get(name, 0.0)) > ROUNDING for row in rows)
        }
        if any(series.values()):
            drawn.append(Chart(title, series, share=share))
    return drawn


def write_training_report(path: Path, run: Path, corpus: PageStore | None = None, samples: int = 24) -> None:
    """Write the page about the run at `run` to `path`. `corpus` gives the images of pages; without one their places say
    so. At most `samples` episodes are shown, the newest. Raises `DataError` where there is no training run.
    """
    config = read_config(run)
    rows = read_lines(run / "metrics.jsonl")
    if not rows or "step" not in rows[0]:
        raise DataError(f"{run}: has no steps of training yet; name the folder that `vrag train` got as --out")
    origin, kept = read_origin(run), read_samples(run)
    newest = sorted(kept, key=lambda one: -one.step)
    images = Images(corpus or NoPages(), IMAGE_BUDGET)
    cards = gallery([_trajectory(one) for one in newest[:samples]], images)
    sections = [_warnings(rows), draw_curves(curves(rows)), images.definitions(), cards]
    write_page(
        path, sections, title=f"Training run {run.resolve().name}", lead=_lead(rows, kept), facts=_facts(config, origin)
    )


def _trajectory(kept: KeptEpisode) -> Trajectory:
    tokens = None if kept.tokens is None else kept.tokens.model_dump_json()
    return Trajectory(kept.episode, note=f"step {kept.step + 1} · {kept.why} of its batch", tokens=tokens)


def _lead(rows: Sequence[Json], kept: Sequence[KeptEpisode]) -> str:
    said = f"{len(rows)} steps so far, in {seconds_of(rows) / 60:.1f} minutes."
    return f"{said} The newest of {len(kept)} kept episodes come first." if kept else said


def _warnings(rows: Sequence[Json]) -> Html:
    items = [el("li", el("b", f"Steps {first} to {last}: "), text) for first, last, text in warned(rows)]
    return el("section", el("h2", "Warnings"), el("ul", *items)) if items else Html("")


def _facts(config: Json, origin: Origin | None) -> dict[str, str]:
    facts: dict[str, str] = {}
    if origin is not None:
        facts = {"Command": origin.command, "Model at the start": origin.base, **origin.data}
    settings: Json = config.get("config", config)  # of SFT, beside the digest of its episodes
    facts |= {
        name.replace("_", " ").capitalize(): str(value)
        for name, value in settings.items()
        if isinstance(value, (int, float, str))
    }
    return facts
