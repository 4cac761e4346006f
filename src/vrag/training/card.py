"""Model cards in the Hub's form, written from a run: what isn't known isn't claimed."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from vrag import __version__
from vrag.hub import is_hub_name
from vrag.runs import Json, atomic_write, read_config, read_lines
from vrag.training.alarms import warned
from vrag.training.origin import Origin
from vrag.training.tracking import numbers

LAST = 10  # steps over which the last metrics are taken
SHOWN = (
    "reward", "exact", "first", "loss", "stop/answer", "turns", "search_per_episode", "bbox_per_episode",
    "invalid_actions", "sampled_length", "groups_zero_variance", "entropy", "kl", "gradient_norm",
)  # fmt: skip
AGENT = "It searches pages, looks, crops and answers."
MADE = {  # how by each method, and what it does then
    "sft": ("supervised fine-tuning", AGENT),
    "rl": ("reinforcement learning", AGENT),
    "encoder": (
        "contrastive learning",
        "It encodes page images and queries, to find pages by what they show.",
    ),
}


def write_card(folder: Path, run: Path, origin: Origin, architecture: str | None = None) -> Path:
    """Write `folder/README.md` for the checkpoint that the run at `run` ended in; its `architecture` is by default what
    its own config.json names.
    """
    architecture = architecture or json.loads((folder / "config.json").read_bytes())["model_type"]
    rows = read_lines(run / "metrics.jsonl")
    adapters = (folder / "adapter_config.json").is_file()
    hub_base = origin.base.partition("@")[0]
    base = hub_base if is_hub_name(hub_base) and origin.commit else None
    how, does = MADE[origin.method]
    library = "sentence-transformers" if origin.method == "encoder" else "peft" if adapters else "transformers"
    sections = [
        front(library, [origin.method], base),
        f"# {run.resolve().name}",
        f"{'Adapters for a' if adapters else 'A'} `{architecture}` model, made from {_base(origin)} by {how} with "
        f"vrag. {does}",
        "## Training\n\n" + _training(origin, rows),
        "## Metrics of training\n\n" + _metrics(origin, rows),
        *_warnings(rows),
        f"## Settings\n\n{settings_block(read_config(run))}",
    ]
    atomic_write(folder / "README.md", "\n\n".join(sections).encode() + b"\n")
    return folder / "README.md"


def front(library: str, tags: Sequence[str] = (), base: str | None = None, licence: str | None = None) -> str:
    """The YAML block that the Hub reads."""
    task = "visual-document-retrieval" if library == "sentence-transformers" else "image-text-to-text"
    lines = [
        *([f"license: {licence}"] if licence else []),
        f"library_name: {library}",
        f"pipeline_tag: {task}",
        *([f"base_model: {base}"] if base else []),
        f"tags: [{', '.join(['vrag', *tags])}]",
    ]
    return "\n".join(["---", *lines, "---"])


def machine() -> str:
    """The kind of machine and the versions, which figures depend on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return f"{platform.machine()}, Python {platform.python_version()}, {versions}, vrag {__version__}"


def settings_block(settings: Mapping[str, object]) -> str:
    return f"```json\n{json.dumps(settings, indent=2)}\n```"


def seconds_of(rows: Sequence[Json]) -> float:
    """Of the steps, in all phases."""
    return sum(value for row in rows for name, value in row.items() if name.endswith("seconds"))


def _base(origin: Origin) -> str:
    return f"`{origin.base}`" + (f" at commit `{origin.commit}`" if origin.commit else "")


def _training(origin: Origin, rows: Sequence[Json]) -> str:
    lines = [
        f"- Command: `{origin.command}`",
        *(f"- {name}: {value}" for name, value in origin.data.items()),
        *([f"- Corpus: {origin.corpus}"] if origin.corpus else []),
        f"- Steps: {len(rows)}, in {seconds_of(rows) / 60:.1f} min",
        f"- Machine of the last step: {machine()}",
    ]
    return "\n".join(lines)


def _metrics(origin: Origin, rows: Sequence[Json]) -> str:
    last = [numbers(row) for row in rows[-LAST:]]
    written = dict.fromkeys(name for row in last for name in row)
    names = [name for name in written if name in SHOWN or name.startswith("reward/")]
    table = ["| metric | mean |", "|---|---|"]
    for name in names:
        values = [row[name] for row in last if name in row]
        table.append(f"| `{name}` | {sum(values) / len(values):.4g} |")
    return (
        f"Over the last {len(last)} steps, on the data that it was trained on: no measure of how well it does on other "
        f"questions, which is what `vrag eval{' retrieval' if origin.method == 'encoder' else ''}` gives.\n\n"
        + "\n".join(table)
    )


def _warnings(rows: Sequence[Json]) -> list[str]:
    lines = [f"- Steps {first} to {last}: {text}" for first, last, text in warned(rows)]
    return ["## Warnings\n\n" + "\n".join(lines)] if lines else []
