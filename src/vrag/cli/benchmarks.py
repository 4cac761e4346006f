"""`vrag data slidevqa|vidoseek|mmlongbench|import`: published question sets, or one's own, as a corpus and tasks."""

from __future__ import annotations

import json
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from vrag.errors import UsageError

if TYPE_CHECKING:
    from vrag.data.benchmarks.asked import Benchmark, Family
    from vrag.data.benchmarks.build import BenchmarkReport
    from vrag.data.rows import Problem

CORPUS = "paper"  # one for all datasets, as the paper searches
_FILES = (".zip", ".parquet", ".json")
_UNPACKED = (".json", ".jsonl", ".parquet", ".pdf", ".jpg", ".jpeg", ".png")


class SlideVQASplit(str, Enum):
    TEST = "test"
    VAL = "val"
    TRAIN = "train"


class ViDoSeekSplit(str, Enum):
    VIDOSEEK = "vidoseek"
    SLIDEVQA_REFINED = "slidevqa_refined"


Dataset = Annotated[str, typer.Argument(help="A folder, zip or parquet as published, or owner/name on the Hub.")]
Out = Annotated[
    Path | None,
    typer.Argument(
        help="A directory for tasks.jsonl and documents/; an earlier run is continued. If none, where "
        "`vrag eval --benchmark NAME` looks.",
        show_default=False,
    ),
]
CorpusName = Annotated[
    str, typer.Option("--corpus", "-c", help="Name of the corpus for its documents, or a path; it may hold others.")
]
Revision = Annotated[str | None, typer.Option(help="Commit, tag or branch on the Hub.")]
Ocr = Annotated[bool, typer.Option("--ocr/--no-ocr", help="OCR of pages without text, if it is installed.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that read pages; 0: one for each core.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete what an earlier run left at OUT.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


def register(data: typer.Typer) -> None:
    """Add the verbs of this module."""
    data.command("slidevqa")(slidevqa)
    data.command("vidoseek")(vidoseek)
    data.command("mmlongbench")(mmlongbench)
    data.command("import")(import_own)


def slidevqa(
    dataset: Dataset = "NTT-hil-insight/SlideVQA",
    out: Out = None,
    corpus: CorpusName = CORPUS,
    split: Annotated[SlideVQASplit, typer.Option(help="Which split.")] = SlideVQASplit.TEST,
    revision: Revision = None,
    ocr: Ocr = True,
    workers: Workers = 0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Turn SlideVQA (NTT-hil-insight/SlideVQA) into a corpus of its decks and a task file."""
    from vrag.data.benchmarks.slidevqa import FAMILY

    _published(FAMILY, dataset, split.value, revision, out, corpus, _options(ocr, workers), overwrite, as_json)


def vidoseek(
    dataset: Dataset = "autumncc/ViDoSeek",
    out: Out = None,
    corpus: CorpusName = CORPUS,
    split: Annotated[
        ViDoSeekSplit, typer.Option(help="slidevqa_refined: SlideVQA's test set as the paper measures on it.")
    ] = ViDoSeekSplit.VIDOSEEK,
    revision: Revision = None,
    ocr: Ocr = True,
    workers: Workers = 0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Turn ViDoSeek (autumncc/ViDoSeek), or SlideVQA-Refined beside it, into a corpus and a task file."""
    from vrag.data.benchmarks.vidoseek import FAMILY

    _published(FAMILY, dataset, split.value, revision, out, corpus, _options(ocr, workers), overwrite, as_json)


def mmlongbench(
    dataset: Dataset = "yubo2333/MMLongBench-Doc",
    out: Out = None,
    corpus: CorpusName = CORPUS,
    revision: Revision = None,
    ocr: Ocr = True,
    workers: Workers = 0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Turn MMLongBench-Doc (yubo2333/MMLongBench-Doc) into a corpus of its PDFs and a task file."""
    from vrag.data.benchmarks.mmlongbench import FAMILY

    _published(FAMILY, dataset, "train", revision, out, corpus, _options(ocr, workers), overwrite, as_json)


def import_own(
    questions: Annotated[Path, typer.Argument(help="Questions: CSV, TSV, JSON, JSON Lines, the reference's JSON.")],
    corpus: CorpusName,
    out: Out = None,
    documents: Annotated[
        list[Path] | None,
        typer.Option(help="Files or folders to index; repeat for more. None: the corpus holds them already."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="What tasks are said to be from; the file's name if none.")] = None,
    ocr: Ocr = True,
    workers: Workers = 0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Turn your own questions (columns question, answer, document, page) into a task file, and index the documents."""
    from vrag.data.benchmarks.own import OwnQuestions
    from vrag.data.benchmarks.place import folder_of
    from vrag.data.rows import read_text
    from vrag.runs import RunDir

    benchmark = OwnQuestions(questions, documents or [], source)
    read_text(questions)  # before a run is begun that holds this file to be its own
    identity = {"questions": str(questions.resolve()), "documents": [str(one.resolve()) for one in documents or []]}
    run = RunDir.open(out or folder_of(questions.stem), identity, overwrite=overwrite)
    _build(benchmark, run, corpus, _options(ocr, workers), as_json, create=bool(documents))


def export_unified(tasks: Path, out: Path, as_json: bool) -> None:
    """Write a task file as the reference's JSON; what the format can't hold is said."""
    from vrag.data.benchmarks.unified import write_unified
    from vrag.data.tasks import read_tasks

    written = read_tasks(tasks)
    problems = write_unified(out, written)
    for problem in problems:
        print(f"left out: {problem.where}: {problem.reason}", file=sys.stderr)
    report = {"questions": len(written), "left_out": [f"{one.where}: {one.reason}" for one in problems]}
    print(json.dumps(report) if as_json else f"{len(written)} questions, {len(problems)} left-outs\n{out}")


def _options(ocr: bool, workers: int) -> Any:
    from vrag.corpus.ingest import IngestOptions

    return IngestOptions(workers=workers, ocr="auto" if ocr else "off")


def _published(
    family: Family,
    dataset: str,
    split: str,
    revision: str | None,
    out: Path | None,
    corpus: str,
    options: Any,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Find the dataset's files and build; an OUT that holds another dataset is an error."""
    from vrag.data.benchmarks.place import folder_of, name_of
    from vrag.data.hub import Located, located
    from vrag.runs import RunDir

    file = Path(dataset).expanduser()
    zipped = file.suffix.lower() == ".zip"
    if file.is_file() and file.suffix.lower() in _FILES:
        if revision is not None:
            raise UsageError(f"--revision is for the Hub; {dataset} is a file, which has none; leave it out")
        found = Located(file.resolve().parent)  # beside it is what belongs to it
    else:
        found = located(dataset, family.patterns(split), revision)
    name = dataset if found.revision else str(file.resolve())
    identity = {"family": family.name, "dataset": name, "revision": found.revision, "split": split}
    run = RunDir.open(out or folder_of(name_of(family.name, split)), identity, overwrite=overwrite)
    problems: list[Problem] = []
    folder = _unpacked(file, run.path / "unpacked", problems) if zipped else found.folder
    benchmark = family.load(folder, dataset, split)
    benchmark.problems[:0] = problems
    _build(benchmark, run, corpus, options, as_json)


def _unpacked(archive: Path, folder: Path, problems: list[Problem]) -> Path:
    from vrag.cli.progress import Reporter
    from vrag.data.benchmarks.files import unzip

    with Reporter(Console(stderr=True)) as reporter:
        return unzip(archive, folder, _UNPACKED, problems, reporter.update)


def _build(benchmark: Benchmark, run: Any, corpus: str, options: Any, as_json: bool, *, create: bool = True) -> None:
    from vrag.cli.index import open_or_create
    from vrag.cli.indexed import show_failures
    from vrag.cli.progress import Reporter
    from vrag.corpus.store import Corpus
    from vrag.data.benchmarks.build import build
    from vrag.data.benchmarks.place import mark

    console = Console(stderr=True)
    store = open_or_create(corpus, [], None) if create else Corpus.open(corpus)
    with store, Reporter(console) as reporter:
        report = build(benchmark, run, store, options, reporter.update)
    mark(run.path, corpus)
    show_failures(console, report.failures, "Problems")
    for line in (*report.differences, report.note):
        if line:
            console.print(f"note: {line}", markup=False, soft_wrap=True)
    print(report.model_dump_json() if as_json else _said(report, corpus))
    if report.pages == 0:
        raise typer.Exit(1)


def _said(report: BenchmarkReport, corpus: str) -> str:
    from vrag.cli.indexed import counted
    from vrag.evaluation.metrics import said_kind

    hops = ", ".join(f"{count} of {hop} hop{'s' * (hop > 1)}" for hop, count in report.hops.items())
    kinds = ", ".join(f"{count} {said_kind(kind)}" for kind, count in report.kinds.items())
    answers = sum(failure.stage == "answer" for failure in report.failures)
    about = [hops, *([kinds] if len(report.kinds) > 1 else []), f"{report.without_gold} without a gold page"]
    unread = f" ({report.unread} can't be read)" if report.unread else ""
    lost = counted(report.lost_gold, "question")
    lost = f"; {lost} about documents that aren't here or can't be read" if report.lost_gold else ""
    return (
        f"{corpus}: {counted(report.questions, 'question')} ({'; '.join(about)}) about"
        f" {counted(report.documents, 'document')}{unread}, {counted(report.pages, 'page')};"
        f" {counted(len(report.failures) - answers, 'problem')},"
        f" {counted(answers, 'gold answer')} that can't score"
        f"{lost}\n{report.tasks}"
    )
