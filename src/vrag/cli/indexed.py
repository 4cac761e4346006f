"""What a run of `vrag index` did and left, in lines for a person."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vrag.cli.progress import printable
from vrag.corpus.conversion import OfficeReport
from vrag.corpus.ingest import IngestReport
from vrag.corpus.recognition import OcrReport
from vrag.corpus.store import Failure

_SHOWN_FAILURES = 50
_SHOWN_WAITING = 10


def summary(report: IngestReport, corpus: str) -> str:
    """One line of what was done."""
    parts = [f"{counted(report.pages_added, 'page')} added", f"{report.unchanged} of {report.files} files as before"]
    if report.documents_removed:
        parts.append(f"{counted(report.documents_removed, 'document')} gone or replaced")
    if report.failures:
        parts.append(counted(len(report.failures), "failure"))
    if report.text_index != "fts5":
        parts.append(f"text by {report.text_index}")
    return f"{corpus}: {counted(report.pages, 'page')} ({', '.join(parts)}; {report.seconds:.1f} s)"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def show_failures(console: Console, failures: list[Failure], title: str = "What couldn't be read") -> None:
    if not failures:
        return
    table = Table("document", "page", "reason", title=title, title_justify="left", box=None)
    for failure in failures[:_SHOWN_FAILURES]:
        page = "" if failure.page is None else str(failure.page)
        table.add_row(escape(printable(failure.document)), page, escape(printable(failure.reason)))
    console.print(table)
    if len(failures) > _SHOWN_FAILURES:
        console.print(f"… and {len(failures) - _SHOWN_FAILURES} more (--json lists all)", markup=False)


def show_waiting(console: Console, office: OfficeReport) -> None:
    """Which office documents were left, and why."""
    if not office.waiting:
        return
    some = ", ".join(map(printable, office.waiting[:_SHOWN_WAITING]))
    more = f" and {len(office.waiting) - _SHOWN_WAITING} more" if len(office.waiting) > _SHOWN_WAITING else ""
    said = f"office documents that wait to be converted: {some}{more} ({office.not_done}; then run the command again)"
    console.print(said, markup=False, soft_wrap=True)


def show_skipped(console: Console, report: IngestReport) -> None:
    """Files of kinds that aren't documents, where there were documents beside them."""
    if report.skipped and report.files:
        said = f"files of other kinds, which were left out: {kinds(report.skipped)}"
        console.print(said, markup=False, soft_wrap=True)


def kinds(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {printable(suffix)}" for suffix, count in skipped.items())


def show_owed(console: Console, recognised: OcrReport, corpus: str) -> None:
    """The pages that text search can't find, each under one reason."""
    lines: list[str] = []
    if recognised.blank:
        lines.append(f"blank pages: {recognised.blank}")
    if recognised.without_text:
        lines.append(f"pages on which OCR read nothing, which text search can't find: {recognised.without_text}")
    if recognised.owed:
        why = f" ({recognised.not_done})" if recognised.not_done else ""
        command = f"vrag index --corpus {shlex.quote(corpus)}"
        lines.append(f"pages that wait for OCR: {recognised.owed}{why}; `{command}` reads them")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
