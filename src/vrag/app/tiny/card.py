"""The model card, written by the run: what it is, how it was made, what it scores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vrag.app.tiny.recipe import TinyRecipe
from vrag.app.tiny.stages import Trained
from vrag.evaluation.intervals import Interval
from vrag.evaluation.metrics import Summary
from vrag.runs import atomic_write
from vrag.training.card import front, machine, settings_block

COLUMNS = ("all", "1 hop", "2 hops", "finished", "invalid", "searches", "crops")


def write_card(
    recipe: TinyRecipe, trained: Trained, results: dict[str, Summary], command: str, stage: str, path: Path
) -> Path:
    """Write `path/README.md` in the Hub's form for the checkpoint of `stage` ("sft" or "rl")."""
    text = "\n\n".join(
        [
            front("transformers", licence="apache-2.0"),
            f"# vrag-tiny ({'SFT' if stage == 'sft' else 'SFT + RL'})",
            _about(recipe, stage),
            "## Held-out results\n\n" + _table(results) + "\n\n" + _notes(results),
            "## How it was made\n\n" + making(recipe, trained.seconds, command),
        ]
    )
    atomic_write(path / "README.md", text.encode() + b"\n")
    return path / "README.md"


def _about(recipe: TinyRecipe, stage: str) -> str:
    shape = recipe.shape
    origin = f"on from `{recipe.start}`" if recipe.start else "from nothing"
    return (
        f"A `{shape.family}` model of {shape.layers} language and {shape.vision_layers} vision layers, trained "
        f"{origin} by vrag. It searches pages, looks, crops and answers, on documents like those of vrag's synthetic "
        "benchmark. It is a demonstration and a test subject: it reads two-digit numbers and short codes, and "
        "knows nothing else of the world.\n\n"
        + (
            "This checkpoint imitates the scripted expert; its faults are left for RL to mend."
            if stage == "sft"
            else f"This checkpoint is the SFT one after {recipe.rl.algorithm.title}."
        )
    )


def _table(results: dict[str, Summary]) -> str:
    rows = ["| run | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, summary in results.items():
        cells = [
            share(summary.accuracy),
            share(summary.by_hop.get("1")),
            share(summary.by_hop.get("2")),
            share(summary.finished),
            share(summary.invalid),
            f"{summary.searches:.2f}",
            f"{summary.crops:.2f}",
        ]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def share(interval: Interval | None) -> str:
    """In per cent, with its interval."""
    if interval is None:
        return "–"
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.0f}–{100 * interval.high:.0f})"


def _notes(results: dict[str, Summary]) -> str:
    summary = next(iter(results.values()))
    constant = summary.constant
    best = f" One and the same answer to every question would score {100 * constant.share:.1f} %." if constant else ""
    return (
        f"{summary.questions} questions, greedy decoding, 95 % Wilson intervals; accuracy by rule (exact or equal "
        f"as a number). Names, themes and some layouts of these documents were not in training.{best}"
    )


def making(recipe: TinyRecipe, seconds: Mapping[str, float], command: str) -> str:
    """The command, the machine, the time of each stage and all settings."""
    stages = ", ".join(f"{name} {spent / 60:.1f} min" for name, spent in seconds.items())
    settings = settings_block(recipe.model_dump(mode="json"))
    return f"`{command}` on {machine()}.\n\nTime of the steps by stage: {stages}.\n\n{settings}"
