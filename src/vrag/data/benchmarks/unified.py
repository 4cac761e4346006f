"""The reference's JSON for questions: {uid, query, reference_answer, meta_info}, read and written.

What `meta_info` holds beside file, pages, source and query type is kept on the task and written back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vrag.data.benchmarks.asked import Asked, filled, kind_of
from vrag.data.rows import Problem, Row, pages_of, text_of, texts_of
from vrag.errors import DataError
from vrag.runs import atomic_write
from vrag.types import PageRef, Task

_OWN = ("uid", "reference_answers")  # of a task's metadata, what isn't written into `meta_info` as it is


def read_unified(row: Row, source: str, prefix: str = "") -> Asked:
    """`prefix` is put before the uid, so that ids of several datasets differ. Raises `DataError`, saying what lacks."""
    values, info = row.values, row.values.get("meta_info") or {}
    if not isinstance(info, dict):
        raise DataError("meta_info is no JSON object")
    uid = filled(values, "uid")
    answer = filled(values, "reference_answer")
    others = [one for one in texts_of(info.get("reference_answers")) if one != answer]
    multi = "multi" in text_of(info.get("query_type")).casefold()
    return Asked(
        where=row.where,
        id=f"{prefix}{uid}",
        question=filled(values, "query"),
        answers=[answer, *others],
        document=text_of(info.get("file_name")),
        pages=pages_of(info.get("reference_page")),
        hops=2 if multi else 1,
        kind=kind_of(text_of(info.get("source_type"))),
        source=source,
        meta={"uid": uid, **info},
    )


def write_unified(file: Path, tasks: Sequence[Task]) -> list[Problem]:
    """Write tasks as {"examples": [...]}. The format has one file for each question: gold pages of others are left
    out, and named in what is returned; so are boxes.
    """
    problems: list[Problem] = []
    rows = [_as_unified(task, problems) for task in tasks]
    atomic_write(file, json.dumps({"examples": rows}, ensure_ascii=False, indent=2).encode() + b"\n")
    return problems


def _as_unified(task: Task, problems: list[Problem]) -> dict[str, Any]:
    where = f"task {task.id}"
    refs = list(dict.fromkeys(gold.ref for gold in task.gold))
    document = refs[0].document if refs else task.document or ""
    if lost := [ref for ref in refs if ref.document != document]:
        problems.append(Problem(where, f"gold pages in other documents than {document}: {_named(lost)}"))
    if any(gold.box for gold in task.gold):
        problems.append(Problem(where, "gold boxes; the format has pages only"))
    if not task.answers:
        problems.append(Problem(where, "has no gold answer; its reference_answer is empty"))
    info = {name: value for name, value in task.meta.items() if name not in _OWN}
    info.setdefault("file_name", document)
    info["reference_page"] = [ref.page for ref in refs if ref.document == document]
    info.setdefault("source_type", task.kind)
    info.setdefault("query_type", "multi_hop" if task.hops > 1 else "single_hop")
    if len(task.answers) > 1:
        info["reference_answers"] = task.answers
    return {
        "uid": task.meta.get("uid", task.id),
        "query": task.question,
        "reference_answer": task.answers[0] if task.answers else "",
        "meta_info": info,
    }


def _named(refs: Sequence[PageRef]) -> str:
    return ", ".join(f"{ref.document} page {ref.page}" for ref in refs)
