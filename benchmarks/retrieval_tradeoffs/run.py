"""What pooling, int8 and fusion cost and save: every way to search one corpus, over the same vectors.

    python benchmarks/retrieval_tradeoffs/run.py --corpus NAME --tasks tasks.jsonl --encoder MODEL --out RUN
    python benchmarks/retrieval_tradeoffs/run.py --smoke --out RUN        # offline, a minute: numerics, not quality

Pages and questions are encoded once, in fp32; a rerun goes on. README.md says what the columns are.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
from contextlib import closing
from pathlib import Path

from floats import FloatIndex
from methods import Asked, Built, methods
from table import K, table

from vrag.config import changes
from vrag.corpus.ingest import IngestOptions, Progress, ingest
from vrag.corpus.store import Corpus
from vrag.data.tasks import read_tasks
from vrag.embed import embed
from vrag.encoders.load import load_encoder
from vrag.errors import DataError, UsageError, VragError
from vrag.evaluation.retrieval import Found, evaluate_retrieval
from vrag.protocols import PageEncoder
from vrag.runs import RunDir, content_key
from vrag.testing import FakeEncoder
from vrag.types import Task


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", help="a corpus's name or path")
    parser.add_argument("--tasks", type=Path, help="questions with gold pages")
    parser.add_argument("--encoder", help="as for vrag index; with --smoke a fake one if it isn't given")
    parser.add_argument("--encoder-set", action="append", default=[], help="key=value")
    parser.add_argument("--smoke", action="store_true", help="make a synthetic corpus in --out and use that")
    parser.add_argument("--documents", type=int, default=40, help="of the synthetic corpus")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run, also for vectors (fp32)")
    parser.add_argument("--pools", type=int, nargs="+", default=[8, 16, 32], help="neighbours in a pooled vector")
    parser.add_argument("--candidates", type=int, nargs="+", default=[20, 50, 100, 200])
    parser.add_argument("--overwrite", action="store_true", help="delete an earlier run of this encoder, vectors too")
    parser.add_argument("--limit", type=int, help="only the first so many questions")
    args = parser.parse_args()
    try:
        if not args.smoke and not (args.corpus and args.tasks and args.encoder):
            raise UsageError("give --corpus, --tasks and --encoder, or --smoke")
        name, tasks_file = smoke_corpus(args.out, args.documents) if args.smoke else (args.corpus, args.tasks)
        with Corpus.open(name) as corpus:
            tasks = [task for task in read_tasks(tasks_file) if task.gold][: args.limit]
            if not tasks:
                raise DataError(f"{tasks_file}: no question has gold pages")
            encoder = load_encoder(args.encoder, **changes(args.encoder_set)) if args.encoder else reader(corpus)
            setting = {
                "corpus": {"folder": str(corpus.folder), "pages": content_key(sorted(corpus.page_ids()))},
                "tasks": content_key(*tasks),
                "encoder": encoder.fingerprint,
            }
            run = RunDir.open(args.out / encoder.fingerprint[:12], setting, overwrite=args.overwrite)
            print(measure(corpus, tasks, encoder, run, args.pools, args.candidates))
    except VragError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def measure(
    corpus: Corpus, tasks: list[Task], encoder: PageEncoder, run: RunDir, pools: list[int], candidates: list[int]
) -> str:
    """The table, in Markdown."""
    floats = FloatIndex(run.path / "fp32", encoder.dim, encoder.fingerprint)
    for failure in embed(corpus, encoder, floats, say).failures:
        print(f"not encoded: {failure.document} page {failure.page}: {failure.reason}", file=sys.stderr)
    if not floats.ids():
        raise UsageError(f"corpus {corpus.folder} has no page that the encoder can encode")
    with closing(Built(run.path, floats)) as built:
        asked = Asked(encoder, [task.question for task in tasks])
        made = methods(corpus, asked, floats, built, pools, candidates)
        for method in made.values():
            asyncio.run(method.retriever.search(tasks[0].question, K))  # what is compiled or mapped once isn't timed
        summaries = asyncio.run(evaluate_retrieval(run, tasks, {name: one.retriever for name, one in made.items()}, K))
    found = [Found.model_validate(row) for row in run.log("found").read()]
    header = f"{corpus.count()} pages, {floats.stats().vectors} vectors of {encoder.dim}, {len(tasks)} questions\n\n"
    return header + table(tasks, made, summaries, found)


def smoke_corpus(out: Path, documents: int) -> tuple[Path, Path]:
    """A synthetic corpus and its questions."""
    from vrag.data.synthetic import SyntheticSpec, difficulty, synthesize

    made, folder = out / "synthetic", out / "corpus"
    if not (made / "tasks.jsonl").is_file():
        synthesize(made, SyntheticSpec(split="heldout", documents=documents, seed=0, difficulty=difficulty(1)))
    corpus = Corpus.open(folder) if (folder / "catalog.sqlite").is_file() else Corpus.create(folder)
    with corpus:
        ingest([made / "documents"], corpus, IngestOptions(ocr="off"))
    return folder, made / "tasks.jsonl"


def reader(corpus: Corpus) -> PageEncoder:
    """An encoder without a model, which is told what stands on each page: for trying the script, not for figures."""
    texts = {digest(corpus.image(page.id).tobytes()): page.text for page in corpus.pages()}
    return FakeEncoder(lambda image: texts[digest(image.tobytes())])


def digest(pixels: bytes) -> bytes:
    return hashlib.sha256(pixels).digest()


def say(progress: Progress) -> None:
    print(f"encoded {progress.done} of {progress.total} pages, {progress.failed} failed", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
