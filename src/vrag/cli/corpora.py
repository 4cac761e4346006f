"""`vrag corpora`: which there are and what they hold; and the removal of one."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vrag.cli.progress import printable
from vrag.corpus.overview import Overview, overview, overviews
from vrag.corpus.paths import corpora_folder, corpus_folder, uploads_folder
from vrag.corpus.removal import check_corpus, remove_corpus
from vrag.errors import UsageError
from vrag.sizes import size

corpora = typer.Typer(help="List the corpora, or remove one.")


@corpora.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    json_: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the corpora that have a name: documents, pages, pages with vectors, size on disk."""
    if context.invoked_subcommand is not None:
        return
    found = overviews()
    if json_:
        print(json.dumps([one.model_dump() for one in found], ensure_ascii=False))
        return
    if not found:
        print(f"no corpus yet in {corpora_folder()}", file=sys.stderr)
        return
    table = Table("corpus", box=None)
    for column in ("documents", "pages", "vectors", "size"):
        table.add_column(column, justify="right")
    table.add_column("")
    for one in found:
        counts = [_count(one.documents), _count(one.pages), escape(one.vectors_at or _count(one.vectors))]
        table.add_row(escape(one.name), *counts, size(one.bytes), escape(printable(one.problem or "")))
    Console().print(table)
    print(f"in {printable(str(corpora_folder()))}", file=sys.stderr)


@corpora.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of the corpus, or a path.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Remove a corpus with its pages, vectors and uploads. The documents that were indexed stay where they are."""
    folder = corpus_folder(name)
    check_corpus(folder)
    about = overview(name)
    if not yes:
        _ask(about)
    left = remove_corpus(folder)
    print(f"{name}: removed, {size(about.bytes)}")
    if left:
        print(f"vrag: {folder} holds other things, and stays: {', '.join(map(printable, left))}", file=sys.stderr)
    if about.vectors_at:
        print(f"vrag: its vectors are still on {about.vectors_at}", file=sys.stderr)


def _ask(about: Overview) -> None:
    """Raises `UsageError` where nobody can answer, and ends the command when the answer is no."""
    if not sys.stdin.isatty():
        raise UsageError(f"removing {about.name} needs a yes: give --yes")
    uploads = uploads_folder(corpus_folder(about.name))
    held = sum(1 for file in uploads.rglob("*") if file.is_file()) if uploads.is_dir() else 0
    files = f" and the only copy here of {held} uploaded files" if held else ""
    typer.confirm(
        f"Remove {about.folder}: {_count(about.pages)} pages{files}, {size(about.bytes)}?", abort=True, err=True
    )


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
