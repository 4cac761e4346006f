"""Small datasets in the three formats of ViDoRe, written as parquet in the Hub's layout."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image

from tests.colours import COLOURS

BROKEN = b"\x89PNG\r\n\x1a\n and then nothing of an image"


def picture(colour: str, kind: str = "PNG") -> dict[str, Any]:
    """An image column's value: a page in one colour."""
    file = io.BytesIO()
    Image.new("RGB", (48, 64), COLOURS[colour]).save(file, kind)
    return {"bytes": file.getvalue(), "path": f"{colour}.{kind.lower()}"}


def write(file: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema | None = None, group: int = 2) -> Path:
    """One shard; `group` rows in a row group."""
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), file, row_group_size=group)
    return file


def v1(folder: Path) -> Path:
    """Five rows in two shards: two ask the same of two pages, one is a distractor, two have the same image."""
    shared = {"answer": None, "source": "docs"}
    first = [
        {"query": "red one", "image": picture("red"), "image_filename": "a/red.png", **shared},
        {"query": None, "image": picture("green"), "image_filename": "a/green.png", **shared},
        {"query": "red too", "image": picture("red"), "image_filename": "a/red.png", **shared},
    ]
    second = [
        {"query": "blue", "image": picture("blue", "JPEG"), "image_filename": "b/blue.jpg", **shared},
        {"query": "blue", "image": picture("yellow"), "image_filename": "b/yellow.png", **shared},
    ]
    for number, rows in enumerate((first, second)):
        for row in rows:
            row["answer"] = "['yes', 'of course']" if number else "plain"
        write(folder / f"data/test-{number:05d}-of-00002.parquet", rows)
    return folder


V2_CORPUS = [
    {"corpus-id": 0, "image": picture("red"), "doc-id": "../Report 1"},
    {"corpus-id": 1, "image": picture("green"), "doc-id": "../Report 1"},
    {"corpus-id": 2, "image": picture("blue"), "doc-id": "b"},
    {"corpus-id": 3, "image": picture("yellow"), "doc-id": "b"},
]
V2_QUERIES = [
    {"query-id": 0, "query": "red", "language": "english"},
    {"query-id": 1, "query": "rouge", "language": "french"},
    {"query-id": 2, "query": "blue", "language": "english"},
]
V2_QRELS = [
    {"query-id": 0, "corpus-id": 0, "score": 1.0, "answer": "it is red"},
    {"query-id": 1, "corpus-id": 0, "score": 1.0, "answer": "it is red"},
    {"query-id": 2, "corpus-id": 2, "score": 2.0, "answer": "both"},
    {"query-id": 2, "corpus-id": 3, "score": 1.0, "answer": None},
    {"query-id": 2, "corpus-id": 1, "score": 0.0, "answer": None},
]


def v2(folder: Path, **tables: Sequence[dict[str, Any]]) -> Path:
    """Two documents; `tables` replace the rows of corpus, queries or qrels."""
    rows = {"corpus": V2_CORPUS, "queries": V2_QUERIES, "qrels": V2_QRELS, "docs": [{"doc-id": "b"}], **tables}
    for name, of in rows.items():
        schema = pa.Table.from_pylist(globals().get(f"V2_{name.upper()}", rows["docs"])).schema if not of else None
        write(folder / name / "test-00000-of-00001.parquet", of, schema)
    return folder


def v3(folder: Path) -> Path:
    """As V2 with markdown, one page without; answers beside questions, lists in them, files of another naming."""
    texts = {"red": "# Crimson\n\nvermilion walls", "green": "a meadow", "blue": ""}
    corpus = [
        {"corpus_id": n, "image": picture(c), "doc_id": "walls", "markdown": texts[c], "page_number_in_doc": n + 1}
        for n, c in enumerate(texts)
    ]
    queries = [
        {"query_id": 7, "query": "vermilion", "language": "english", "query_types": ["open", "multi-hop"]}
        | {"raw_answers": ["walls"], "answer": "the walls"},
        {"query_id": 8, "query": "prairie", "language": "french", "query_types": [], "raw_answers": [], "answer": ""},
    ]
    boxes = [{"annotator": 0, "x1": 1, "x2": 2, "y1": 1, "y2": 2}]
    qrels = [
        {"query_id": 7, "corpus_id": 0, "score": 2, "content_type": ["Text"], "bounding_boxes": boxes},
        {"query_id": 8, "corpus_id": 1, "score": 1, "content_type": ["Image"], "bounding_boxes": []},
    ]
    meta = [{"file_name": "walls.pdf", "doc_id": "walls", "page_number": 3}]
    for name, rows in {"corpus": corpus, "queries": queries, "qrels": qrels, "documents_metadata": meta}.items():
        write(folder / name / "test" / "0000.parquet", rows)
    return folder
