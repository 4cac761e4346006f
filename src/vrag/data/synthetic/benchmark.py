"""`synthesize`: a benchmark in one directory, the same bytes for the same spec."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

from pydantic import Field

from vrag.data.synthetic.difficulty import Difficulty, difficulty
from vrag.data.synthetic.questions import ask
from vrag.data.synthetic.render import DrawnPage, draw_document
from vrag.data.synthetic.vocabulary import Split
from vrag.data.synthetic.world import build_world
from vrag.data.tasks import write_tasks
from vrag.errors import UsageError, VragError
from vrag.types import Frozen

VERSION = 2  # of the generator: a spec gives the same bytes only within one version
TWO_HOP_SHARE = 0.3
QUESTIONS_PER_DOCUMENT = 4


class SyntheticSpec(Frozen):
    """What to generate. `questions` None: four per document. `first` is the number of the first document: another one
    gives other documents with other names, so that several specs may lie in one place.
    """

    split: Split = "train"
    documents: int = Field(default=100, ge=4)
    first: int = Field(default=1, ge=1)
    seed: int = 0
    difficulty: Difficulty = difficulty(1)
    questions: int | None = Field(default=None, ge=1)
    two_hop_share: float = Field(default=TWO_HOP_SHARE, ge=0, le=1)


class Manifest(Frozen):
    """What was generated; counts are of questions unless their name says otherwise."""

    version: int
    spec: SyntheticSpec
    documents: int
    pages: int
    questions: int
    hops: dict[int, int]
    kinds: dict[str, int]
    pages_by_layout: dict[str, int]


def synthesize(out: Path, spec: SyntheticSpec) -> Manifest:
    """Write `out/documents/*.pdf`, `out/tasks.jsonl` and `out/manifest.json`; all of them or none.

    The seed of a split is its own: `train` and `heldout` of one seed share nothing. Raises `UsageError` if
    `out` already holds files, and `ConfigError` if the spec asks for more than its documents can carry.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is not an empty directory; remove it or choose another")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        manifest = _write(partial, spec)
    except VragError:
        shutil.rmtree(partial)
        raise
    if out.exists():
        out.rmdir()
    partial.rename(out)
    return manifest


def _write(out: Path, spec: SyntheticSpec) -> Manifest:
    folder = out / "documents"
    folder.mkdir(parents=True)
    later = f"/{spec.first}" if spec.first > 1 else ""
    rng = random.Random(f"{spec.split}/{spec.seed}/{spec.difficulty.level}{later}")
    world = build_world(rng, spec.split, spec.documents, spec.difficulty, spec.first)
    pages: list[DrawnPage] = []
    for document in world:
        own = random.Random(rng.getrandbits(64))
        pages += draw_document(folder / document.name, document, spec.split, spec.difficulty, own)
    count = spec.questions or spec.documents * QUESTIONS_PER_DOCUMENT
    unseen = spec.difficulty.unseen_phrasings
    tasks = ask(rng, pages, count, spec.two_hop_share, spec.split, unseen=unseen)
    write_tasks(out / "tasks.jsonl", tasks)
    manifest = Manifest(
        version=VERSION,
        spec=spec,
        documents=len(world),
        pages=len(pages),
        questions=len(tasks),
        hops=dict(sorted(Counter(task.hops for task in tasks).items())),
        kinds=dict(sorted(Counter(task.kind for task in tasks).items())),
        pages_by_layout=dict(sorted(Counter(page.layout.name for page in pages).items())),
    )
    (out / "manifest.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return manifest
