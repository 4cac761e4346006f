"""Where a benchmark lies, so that an evaluation finds it by its name.

HOME/benchmarks/NAME/          what `vrag data …` writes if it isn't told where (`vrag.data.benchmarks.build`)
HOME/benchmarks/NAME/corpus.json   the corpus that has its documents; written last, so it is there once all is
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from vrag.corpus.paths import corpus_folder, home, is_corpus
from vrag.errors import UsageError
from vrag.runs import atomic_write
from vrag.suggest import did_you_mean
from vrag.types import Frozen

_MADE = {  # name: family, split and the command that makes it
    "slidevqa": ("slidevqa", "test", "vrag data slidevqa"),
    "slidevqa-val": ("slidevqa", "val", "vrag data slidevqa --split val"),
    "slidevqa-train": ("slidevqa", "train", "vrag data slidevqa --split train"),
    "slidevqa_refined": ("vidoseek", "slidevqa_refined", "vrag data vidoseek --split slidevqa_refined"),
    "vidoseek": ("vidoseek", "vidoseek", "vrag data vidoseek"),
    "mmlongbench": ("mmlongbench", "train", "vrag data mmlongbench"),
}


class Placed(Frozen):
    """A benchmark that is there: the name or path of its corpus, and its questions."""

    corpus: str
    tasks: Path


class _InCorpus(Frozen):
    corpus: str


def folder_of(name: str) -> Path:
    return home() / "benchmarks" / name


def name_of(family: str, split: str) -> str:
    """What a split of one of the published datasets is called."""
    return next(name for name, made in _MADE.items() if made[:2] == (family, split))


def mark(folder: Path, corpus: str) -> None:
    """Note which corpus has the documents of the benchmark at `folder`: a name as it is, a path as an absolute one."""
    place = str(corpus_folder(corpus).resolve()) if "/" in corpus or os.sep in corpus else corpus
    atomic_write(folder / "corpus.json", _InCorpus(corpus=place).model_dump_json().encode() + b"\n")


def find(name_or_path: str) -> Placed:
    """The benchmark of that name, or in that folder. Raises `UsageError` that names the command that makes it."""
    folder = _folder(name_or_path)
    file, tasks = folder / "corpus.json", folder / "tasks.jsonl"
    if tasks.is_file() and not file.is_file():
        raise UsageError(f"{folder}: has questions and doesn't say of which corpus: give --corpus and --tasks {tasks}")
    if not file.is_file() or not tasks.is_file():
        raise UsageError(f"no benchmark {name_or_path!r} at {folder}: {_how(name_or_path)}")
    try:
        corpus = _InCorpus.model_validate_json(file.read_bytes()).corpus
    except (OSError, ValidationError) as error:
        raise UsageError(f"{file}: doesn't name a corpus: {_how(name_or_path)}") from error
    if not is_corpus(corpus_folder(corpus)):
        raise UsageError(f"benchmark {name_or_path!r}: its corpus {corpus!r} is gone: {_how(name_or_path)}")
    return Placed(corpus=corpus, tasks=tasks)


def _folder(name_or_path: str) -> Path:
    """A name that no benchmark has may be that of a folder right here."""
    here = Path(name_or_path).expanduser()
    if "/" in name_or_path or os.sep in name_or_path or name_or_path.startswith("."):
        return here
    named = folder_of(name_or_path)
    return here if not named.exists() and (here / "tasks.jsonl").is_file() else named


def _how(name: str) -> str:
    """What makes it, or which name was meant."""
    if name in _MADE:
        return f"run `{_MADE[name][2]}`"
    made = sorted({file.parent.name for at in (home() / "benchmarks", Path()) for file in at.glob("*/corpus.json")})
    there = f"there are {', '.join(made)}; " if made else ""
    return did_you_mean(name, {*_MADE, *made}, f"{there}`vrag data slidevqa|vidoseek|mmlongbench|import` makes one")
