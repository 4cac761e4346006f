"""`vrag snapshot`: a copy of a corpus with its vectors, to keep or to move."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vrag.corpus.snapshot import snapshot as copy
from vrag.corpus.store import Corpus


def snapshot(
    folder: Annotated[Path, typer.Argument(help="Where to make it: a new or empty folder.")],
    corpus: Annotated[str, typer.Option("--corpus", "-c", help="Name of the corpus, or a path.")],
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Copy a corpus with its vectors while it is in use. The copy is a corpus: name its folder as --corpus."""
    with Corpus.open(corpus) as store:
        report = copy(store, folder)
    for page_id in report.without_image:
        print(f"vrag: page {page_id} has no image in {corpus}: nor has the copy", file=sys.stderr)
    if json_:
        print(report.model_dump_json())
    else:
        print(f"{folder}: {report.pages} pages, {report.vectors} of them with vectors")
