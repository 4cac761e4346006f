"""`vrag index`: documents → corpus, with progress; every file that can't be read is named with its reason.

Pages can be searched by their text layer first, then by their vectors; those that wait for OCR are recognised last.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vrag.cli.indexed import counted, kinds, show_failures, show_owed, show_skipped, show_waiting, summary
from vrag.cli.options import Collection, EncoderSet, Qdrant, Ray, RaySet, encoder_name
from vrag.cli.progress import Reporter
from vrag.cli.workers import Workers, vector_place, workers
from vrag.corpus import following
from vrag.corpus.ingest import IngestReport, ingest
from vrag.corpus.ocr import DEFAULT_ENGINE
from vrag.corpus.options import IngestOptions, Progress
from vrag.corpus.paths import corpus_folder, is_corpus
from vrag.corpus.recognition import OcrReport, missing_engine, recognise
from vrag.corpus.removal import take_back
from vrag.corpus.store import DPI, Corpus
from vrag.errors import CorpusError, UsageError


class Text(str, Enum):
    fts5 = "fts5"
    tantivy = "tantivy"


class Ocr(str, Enum):
    auto = "auto"
    off = "off"
    force = "force"


def index(
    corpus: Annotated[str, typer.Option("--corpus", "-c", help="Name of the corpus, or a path.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files and folders: PDF, images, office documents; none: only what the corpus waits for."),
    ] = None,
    dpi: Annotated[
        int | None, typer.Option(min=36, max=600, help=f"Resolution of rendered pages (new corpus: {DPI}).")
    ] = None,
    processes: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that read documents; 0: one for each core.")
    ] = 0,
    ocr: Annotated[
        Ocr,
        typer.Option(
            help="Pages without text: auto reads them last, if OCR is installed; off leaves them for a later run;"
            " force reads every page."
        ),
    ] = Ocr.auto,
    ocr_engine: Annotated[
        str, typer.Option(help="module:attribute of your own OCR engine.", show_default="RapidOCR")
    ] = DEFAULT_ENGINE,
    text: Annotated[
        Text | None,
        typer.Option(help="What searches the text from now on: fts5, or tantivy, an extra for many pages."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Also encode page images: a checkpoint's folder, owner/name on the Hub, the URL of an encoder server, "
            "module:attribute."
        ),
    ] = None,
    encoder_set: EncoderSet = None,
    qdrant: Qdrant = None,
    collection: Collection = None,
    ray: Ray = None,
    ray_set: RaySet = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    emptied: Annotated[
        bool,
        typer.Option("--emptied", help="Let the documents of a folder leave that is gone or without a file."),
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Turn documents into a searchable corpus. Running it again does only what is new or changed."""
    console, named, out = Console(stderr=True), paths or [], sys.stdout
    options = IngestOptions(
        workers=processes,
        ocr=ocr.value,
        ocr_engine=ocr_engine,
        text=text.value if text else None,
        retry_failed=retry_failed,
        emptied=emptied,
    )
    missing_engine(options)
    new, was_there = not is_corpus(corpus_folder(corpus)), corpus_folder(corpus).exists()
    namesake = new and is_corpus(Path(corpus))
    name = encoder_name(encoder, encoder_set)
    place = vector_place(corpus, qdrant, collection, name)
    with workers(ray, ray_set, options, named) as who, _open(corpus, named, dpi) as store:
        if namesake:
            print(f"vrag: this makes another corpus than ./{corpus}, in {store.folder}", file=sys.stderr)
        who.check(store, name, place)
        report = _read(store, named, options, console, who)
        if report and not json_:
            print(summary(report, corpus), file=out, flush=True)  # now: these pages can be searched
        in_vain = new and report is not None and not report.files and not report.failures
        vectors = None if in_vain else who.encode(store, name, place, console)
        if vectors and not json_:
            counts = f"{vectors.added} encoded, {counted(len(vectors.failures), 'failure')}, {vectors.seconds:.1f} s"
            print(f"{corpus}: {vectors.pages} pages have vectors ({counts})", file=out, flush=True)
        with Reporter(console) as reporter:
            recognised = recognise(store, options, reporter.update, named, who.make_pool)
    bad = [*(report.failures if report else []), *(vectors.failures if vectors else []), *recognised.failures]
    show_failures(console, bad)
    if report:
        show_waiting(console, report.office)
        show_skipped(console, report)
    show_owed(console, recognised, corpus)
    if json_:
        made = vectors.model_dump(mode="json") if vectors else None
        read = report.model_dump(mode="json") if report else {}
        print(json.dumps({**read, "ocr": recognised.model_dump(mode="json"), "vectors": made}, ensure_ascii=False))
    elif recognised.pages or recognised.failures or not report:
        counts = f"{recognised.owed} wait, {counted(len(recognised.failures), 'failure')}; {recognised.seconds:.1f} s"
        print(f"{corpus}: {counted(recognised.pages, 'page')} by OCR ({counts})")
    if in_vain:
        take_back(store.folder, keep_folder=was_there)
    _exit(console, report, recognised)


def _open(name: str, paths: list[Path], dpi: int | None) -> Corpus:
    if paths:
        return open_or_create(name, paths, dpi)
    if dpi is not None:
        raise UsageError("--dpi is for pages that are read: name files or folders, or leave it out")
    return Corpus.open(name)


def _read(
    store: Corpus, paths: list[Path], options: IngestOptions, console: Console, who: Workers
) -> IngestReport | None:
    """Everything but OCR and vectors; None without paths."""
    with Reporter(console) as reporter:
        if paths:
            return ingest(paths, store, replace(options, ocr="off"), reporter.update, make_pool=who.make_pool)
        if options.text:
            following.switch(store.folder, options.text, lambda at, of: reporter.update(Progress("text", at, of)))
    return None


def _exit(console: Console, report: IngestReport | None, recognised: OcrReport) -> None:
    """With code 1 when what was asked for couldn't be done."""
    if report is None:
        if recognised.not_done:
            raise typer.Exit(1)
    elif report.pages_here == 0 and not report.documents_removed:
        if not report.files and not report.failures:
            others = f" (but {kinds(report.skipped)})" if report.skipped else ""
            console.print(f"vrag: no document found there{others}", markup=False)
        raise typer.Exit(1)


def open_or_create(name: str, paths: list[Path], dpi: int | None) -> Corpus:
    """The corpus of that name, made when there is none; its resolution is fixed when it is made."""
    if is_corpus(corpus_folder(name)):
        return _open_at(name, dpi)
    for path in paths:
        if not path.expanduser().exists():
            raise UsageError(f"no such file or folder: {path}")
    try:
        return Corpus.create(name, dpi=dpi or DPI)
    except CorpusError:
        if not is_corpus(corpus_folder(name)):
            raise
        return _open_at(name, dpi)  # another run has just made it


def _open_at(name: str, dpi: int | None) -> Corpus:
    corpus = Corpus.open(name)
    if dpi is not None and dpi != corpus.dpi:
        corpus.close()
        raise UsageError(f"corpus {name!r} holds pages at {corpus.dpi} dpi: leave --dpi out or choose another --corpus")
    return corpus
