"""`vrag eval compare`: any number of runs, against one of them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vrag.errors import CorpusError, UsageError

if TYPE_CHECKING:
    from vrag.corpus.store import Corpus
    from vrag.evaluation.comparison import EvalRun


def compare(
    runs: Annotated[
        list[str], typer.Argument(help="Folders that `vrag eval` got as --out, each FOLDER or NAME=FOLDER.")
    ],
    baseline: Annotated[
        str | None, typer.Option(help="The run that the others are compared with, by its name; the first if none.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write one page with all of it and the trajectories that differ.")
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", "-c", help="Where the page's images come from, if not the runs' own corpus."),
    ] = None,
    questions: Annotated[int, typer.Option(min=0, help="Show at most so many questions on the page.")] = 40,
    megabytes: Annotated[float, typer.Option(min=0, help="Of images on the page, at most.")] = 12.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare runs over the same questions: intervals, paired differences with p-values, and where they differ."""
    from vrag.evaluation.comparison import compare_all, read_run
    from vrag.evaluation.comparison_table import comparison_tables

    found = [read_run(name, folder) for name, folder in _named(runs)]
    comparison = compare_all(found, baseline)
    if html is not None:
        from vrag.evaluation.report.compare import write_comparison
        from vrag.evaluation.report.images import NoPages

        with _pages(corpus, found) as store:
            budget = round(1_000_000 * megabytes)
            write_comparison(html, comparison, found, store or NoPages(), questions=questions, image_budget=budget)
        print(f"vrag: the page is {html}", file=sys.stderr)
    if as_json:
        print(comparison.model_dump_json())
    else:
        console = Console(width=None if sys.stdout.isatty() else 160, markup=False, emoji=False)
        for table in comparison_tables(comparison):
            console.print(table)
            console.print()


def _named(runs: Sequence[str]) -> list[tuple[str, Path]]:
    """A folder is called by its last part, or by as much of its end as tells it from the others."""
    named: list[tuple[str, Path]] = []
    plain = [Path(run) for run in runs if Path(run).is_dir() or "=" not in run]
    for run in runs:
        if Path(run) in plain:
            named.append((_short(Path(run), plain), Path(run)))
        else:
            name, _, folder = run.partition("=")
            named.append((name, Path(folder)))
    twice = [name for name, count in Counter(name for name, _ in named).items() if count > 1]
    if twice:
        raise UsageError(f"two runs are called {twice[0]!r}: name them, as in NAME=FOLDER")
    return named


def _short(folder: Path, others: Sequence[Path]) -> str:
    parts = folder.resolve().parts
    for count in range(1, len(parts)):
        end = parts[-count:]
        if sum(other.resolve().parts[-count:] == end for other in others) == 1:
            return "/".join(end)
    return parts[-1]


def _pages(corpus: str | None, runs: Sequence[EvalRun]) -> Corpus | nullcontext[None]:
    """The corpus of the page images. That of the runs may have gone, which is said; one that is named must be there."""
    from vrag.corpus.store import Corpus

    if corpus is not None:
        return Corpus.open(corpus)
    own = next((run.config["corpus"] for run in runs if isinstance(run.config.get("corpus"), str)), None)
    if own is None:
        print("vrag: the runs name no corpus; the page is without images unless --corpus names it", file=sys.stderr)
        return nullcontext()
    try:
        return Corpus.open(own)
    except CorpusError as error:
        print(f"vrag: the page is without images unless --corpus names them: {error}", file=sys.stderr)
        return nullcontext()
