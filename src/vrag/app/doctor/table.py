"""The report in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from vrag.app.doctor.machine import Machine
from vrag.app.doctor.needs import Need
from vrag.app.doctor.report import Report
from vrag.sizes import size

UNKNOWN = "unknown"


def tables(report: Report) -> Iterator[Table]:
    """One after the other; a part of which there is nothing to say is left out."""
    yield _machine(report)
    yield _extras(report)
    if report.endpoints:
        yield _endpoints(report)
    yield _models(report)
    yield _recipes(report)


def _machine(report: Report) -> Table:
    here, table = report.machine, Table(title="This machine", title_justify="left", box=None, show_header=False)
    versions = ", ".join(f"{name} {version}" for name, version in report.packages.items())
    table.add_row("system", escape(here.system))
    table.add_row("python", here.python)
    table.add_row("packages", escape(versions))
    table.add_row("cores", str(here.cores))
    table.add_row("memory", f"{_size(here.memory)}, {_size(here.memory_free)} free")
    table.add_row("GPU", escape(_gpus(here)) + (f" ({report.note})" if here.gpus and report.note else ""))
    table.add_row("disk", f"{_size(here.disk_free)} free at {escape(here.home)}")
    for program in report.programs:
        table.add_row(program.name, escape(program.found or f"not there, for {program.use}: {program.fix}"))
    if report.corpus:
        corpus = report.corpus
        table.add_row("corpus", f"{escape(corpus.name)}: {corpus.pages} pages, {corpus.with_vectors} with vectors")
    return table


def _gpus(here: Machine) -> str:
    return ", ".join(f"{gpu.name}, {_size(gpu.memory)}, {_size(gpu.free)} free" for gpu in here.gpus) or "none seen"


def _extras(report: Report) -> Table:
    table = Table("extra", "installed", "missing", title="Extras", title_justify="left", box=None)
    for extra in report.extras:
        have = ", ".join(f"{name} {version}" for name, version in extra.have.items())
        lack = f"{', '.join(extra.missing)}: pip install 'vrag[{extra.name}]'" if extra.missing else ""
        table.add_row(extra.name, escape(have), escape(lack))
    return table


def _endpoints(report: Report) -> Table:
    table = Table("server", "URL", "reached", "says", title="Servers", title_justify="left", box=None)
    for one in report.endpoints:
        reached = f"yes, {one.milliseconds} ms" if one.reached else "no"
        table.add_row(one.what, escape(one.url), reached, escape(one.said))
    return table


def _models(report: Report) -> Table:
    columns = ("model", "as", "parameters", "weights on disk", "in memory", "can run here")
    table = Table(*columns, title="Models", title_justify="left", box=None)
    for one in report.models:
        runs = "yes" if not one.missing else f"no: {'; '.join(one.missing)}"
        parameters = (
            UNKNOWN if one.parameters is None else f"{one.parameters / 1e6:,.1f} M" if one.parameters else "none"
        )
        said = f"{runs} ({one.note})" if one.note else runs
        table.add_row(escape(one.name), one.role, parameters, _size(one.disk), _size(one.memory), escape(said))
    return table


def _recipes(report: Report) -> Table:
    title = f"Recipes with {report.policy}, {report.pages:,} pages"
    caption = f"by {report.basis}; memory: of weights and index; how long a model takes is unknown"
    table = Table(title=escape(title), title_justify="left", box=None, caption_justify="left")
    table.caption = escape("\n".join([*_not_here(report.recipes), caption]))
    table.add_column("recipe", no_wrap=True, min_width=max(len(need.recipe) for need in report.recipes))
    for column in ("sees", "index", "page images", "memory", "reading", "a search", "here"):
        table.add_column(column, overflow="fold")
    for need in report.recipes:
        seen = f"≤ {need.images} images, {need.image_tokens:,} tokens" if need.images else "text of pages"
        row = (need.recipe, seen, _size(need.index), _size(need.page_images), _size(need.memory), _reading(need))
        table.add_row(*row, f"{1000 * need.search:.0f} ms", "no" if need.missing else "yes")
    return table


def _not_here(needs: Sequence[Need]) -> Iterator[str]:
    """What recipes lack, each reason once."""
    lacking: dict[str, list[str]] = {}
    for need in needs:
        for reason in need.missing:
            lacking.setdefault(reason, []).append(need.recipe)
    for reason, recipes in lacking.items():
        yield f"{', '.join(recipes)}: {reason}"


def _reading(need: Need) -> str:
    quick, slow = (_minutes(seconds) for seconds in need.reading)
    return quick if quick == slow else f"{quick} to {slow}"


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count: int | None) -> str:
    return UNKNOWN if count is None else size(count)
