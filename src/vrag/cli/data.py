"""`vrag data …`: make data to train and to measure with."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from vrag.errors import UsageError

data = typer.Typer(no_args_is_help=True, help="Make data to train and to measure with.")


class SplitName(str, Enum):
    TRAIN = "train"
    HELDOUT = "heldout"


@data.callback()
def _group() -> None:
    """Make data to train and to measure with."""


@data.command()
def synthesize(
    out: Annotated[Path, typer.Argument(help="A new directory for documents/, tasks.jsonl and manifest.json.")],
    split: Annotated[SplitName, typer.Option(help="Which names, themes and layouts to use.")] = SplitName.TRAIN,
    documents: Annotated[int, typer.Option(min=4, help="How many PDFs.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed writes the same bytes.")] = 0,
    difficulty: Annotated[int, typer.Option(min=1, max=3, help="1 is clean, 3 is dense.")] = 1,
    questions: Annotated[int | None, typer.Option(min=1, help="How many; four per document if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Write the synthetic benchmark: PDFs, questions, gold answers, pages and boxes."""
    try:
        from vrag.data import synthetic
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("reportlab"):
            raise
        raise UsageError("the synthetic benchmark needs reportlab: pip install 'vrag[synthetic]'") from error

    spec = synthetic.SyntheticSpec(
        split=split.value,
        documents=documents,
        seed=seed,
        difficulty=synthetic.difficulty(difficulty),
        questions=questions,
    )
    print(f"writing {documents} documents to {out}", file=sys.stderr)
    manifest = synthetic.synthesize(out, spec)
    if as_json:
        print(manifest.model_dump_json())
    else:
        hops = ", ".join(f"{count} of {hop} hop{'s' * (hop > 1)}" for hop, count in manifest.hops.items())
        print(f"{manifest.documents} documents, {manifest.pages} pages, {manifest.questions} questions ({hops})")
        print(out / "tasks.jsonl")
