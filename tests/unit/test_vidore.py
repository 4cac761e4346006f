"""Datasets in ViDoRe's formats → pages and questions; what is wrong with a dataset or a row is named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from tests import vidore as made
from vrag.data import parquet as shards
from vrag.data.parquet import find_dataset
from vrag.data.vidore.layouts import Benchmark, load
from vrag.errors import DataError, UsageError


def loaded(folder: Path, language: str | None = None) -> Benchmark:
    return load(find_dataset(str(folder)), language)


def test_v1_a_question_belongs_to_the_image_of_its_row(tmp_path: Path):
    benchmark = loaded(made.v1(tmp_path))
    assert [(q.id, q.text, q.gold) for q in benchmark.questions] == [
        ("1", "red one", {"1": 1}),
        ("3", "red too", {"3": 1}),
        ("4", "blue", {"4": 1, "5": 1}),
    ]
    assert [q.answers for q in benchmark.questions] == [["plain"], ["plain"], ["yes", "of course"]]
    pages = list(benchmark.layout.pages())
    assert [page.key for page in pages] == ["1", "2", "3", "4", "5"]
    assert pages[3].image == made.picture("blue", "JPEG")["bytes"] and pages[0].image == pages[2].image
    assert pages[4].where == "data/test-00001-of-00002.parquet row 2"


def test_v1_texts_of_pages_are_read_where_a_set_has_them(tmp_path: Path):
    rows = [{"query": "q", "image": made.picture("red"), "image_filename": "a", "text_description": " a chunk "}]
    made.write(tmp_path / "data/test-00000-of-00001.parquet", rows)
    assert [page.text for page in loaded(tmp_path).layout.pages()] == ["a chunk"]


def test_v2_judgements_have_grades_and_answers(tmp_path: Path):
    benchmark = loaded(made.v2(tmp_path))
    assert [(q.id, q.gold, q.answers) for q in benchmark.questions] == [
        ("0", {"0": 1}, ["it is red"]),
        ("1", {"0": 1}, ["it is red"]),
        ("2", {"2": 2, "3": 1}, ["both"]),
    ]
    assert [page.document for page in benchmark.layout.pages()] == ["../Report 1"] * 2 + ["b"] * 2
    assert benchmark.layout.problems == []


def test_v3_has_text_metadata_and_other_names_of_columns_and_files(tmp_path: Path):
    benchmark = loaded(made.v3(tmp_path))
    assert [page.text for page in benchmark.layout.pages()] == ["# Crimson\n\nvermilion walls", "a meadow", ""]
    question = benchmark.questions[0]
    assert (question.answers, question.gold) == (["the walls"], {"0": 2})
    assert question.meta == {"language": "english", "query_types": ["open", "multi-hop"]}
    assert benchmark.questions[1].answers == []


def test_only_questions_in_one_language(tmp_path: Path):
    made.v2(tmp_path)
    benchmark = loaded(tmp_path, "French")
    assert [q.text for q in benchmark.questions] == ["rouge"]
    assert benchmark.layout.problems == []  # judgements of the other questions are no fault
    with pytest.raises(DataError, match=r"no question in 'german' \(but english, french\)"):
        loaded(tmp_path, "german")
    with pytest.raises(DataError, match="leave --language out"):
        loaded(made.v1(tmp_path / "v1"), "english")


def test_rows_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    whole = shards._batches  # pyright: ignore[reportPrivateUsage]

    def counted(*args: Any):
        for batch in whole(*args):
            sizes.append(len(batch))
            yield batch

    monkeypatch.setattr(shards, "_batches", counted)
    rows = [{"query": str(n), "image": made.picture("red"), "image_filename": "a"} for n in range(100)]
    made.write(tmp_path / "data/test-00000-of-00001.parquet", rows, group=100)
    assert len(list(loaded(tmp_path).layout.pages())) == 100
    assert max(sizes) == shards.BATCH


def problems(folder: Path) -> dict[str, str]:
    benchmark = loaded(folder)
    list(benchmark.layout.pages())
    return {problem.where: problem.reason for problem in benchmark.layout.problems}


def test_a_row_that_cannot_be_used_is_named_and_the_others_are_used(tmp_path: Path):
    corpus = [*made.V2_CORPUS, {"corpus-id": 1, "image": made.picture("blue"), "doc-id": "c"}]
    queries = [
        *made.V2_QUERIES,
        {"query-id": 0, "query": "again", "language": "english"},
        {"query-id": 5, "query": " ", "language": "english"},
    ]
    qrels = [
        *made.V2_QRELS,
        {"query-id": 99, "corpus-id": 0, "score": 1.0, "answer": None},
        {"query-id": 0, "corpus-id": 3, "score": 0.5, "answer": None},
    ]
    made.v2(tmp_path, corpus=corpus, queries=queries, qrels=qrels)
    shard = "test-00000-of-00001.parquet row"
    assert problems(tmp_path) == {
        f"corpus/{shard} 5": f"page 1 is also in corpus/{shard} 2, which is the one that is used",
        f"queries/{shard} 4": f"question 0 is also in queries/{shard} 1, which is the one that is used",
        f"queries/{shard} 5": "question 5 has no text",
        f"qrels/{shard} 6": "judges question 99, which isn't in queries",
        f"qrels/{shard} 7": "score 0.5 of page 3 is no whole number",
    }
    assert len(loaded(tmp_path).questions) == 3


@pytest.mark.parametrize(
    ("table", "rows", "reason"),
    [
        ("corpus", [{"corpus-id": 1, "picture": b""}], r"has no column image \(but corpus-id, picture\)"),
        ("queries", [{"id": 1, "query": "q"}], r"queries/test-.*: has no column query_id"),
        ("qrels", [{"query-id": 0}], "qrels/.* has no column corpus_id, score"),
        ("corpus", [], "holds no page"),
        ("queries", [], "holds no question"),
        ("qrels", [], "no question has a gold page"),
    ],
)
def test_a_dataset_that_cannot_be_read_is_an_error(tmp_path: Path, table: str, rows: list[dict[str, Any]], reason: str):
    made.v2(tmp_path, **{table: rows})
    with pytest.raises(DataError, match=reason):
        list(loaded(tmp_path).layout.pages())


def test_an_unknown_split_format_or_file_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match=r"has no split 'test' .but no parquet file"):
        find_dataset(str(tmp_path))
    made.write(tmp_path / "data/train-00000-of-00001.parquet", [{"query": "q"}])
    with pytest.raises(DataError, match=r"has no split 'test' .but train"):
        find_dataset(str(tmp_path))
    made.write(tmp_path / "data/test.parquet", [{"query": "q"}])
    made.write(tmp_path / "other/test.parquet", [{"query": "q"}])
    with pytest.raises(DataError, match="in no format of ViDoRe: it has the tables data, other"):
        loaded(tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/test.parquet").write_bytes(b"PAR1 is not enough")
    with pytest.raises(DataError, match=r"bad/test\.parquet: can't be read as parquet"):
        loaded(tmp_path / "bad")


def test_a_damaged_shard_is_named(tmp_path: Path):
    file = made.v1(tmp_path) / "data/test-00001-of-00002.parquet"
    data = bytearray(file.read_bytes())
    data[20:400] = bytes(380)
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"test-00001-of-00002\.parquet: is damaged"):
        list(loaded(tmp_path).layout.pages())


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made.v1(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"vrag\[datasets\]"):
        loaded(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"vrag\[datasets\]"):
        find_dataset("owner/name")


def test_the_hub_is_asked_for_the_parquet_files_of_one_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: dict[str, Any] = {}

    def download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(made.v1(tmp_path / "0a1b2c"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    found = find_dataset("owner/name", revision="main")
    assert (found.name, found.revision, len(load(found).questions)) == ("owner/name", "0a1b2c", 3)
    assert (asked["name"], asked["repo_type"], asked["revision"]) == ("owner/name", "dataset", "main")
    wanted = asked["allow_patterns"]
    names = ["data/test-00000-of-00001.parquet", "default/test/0000.parquet", "corpus/test.parquet", "README.md"]
    assert list(huggingface_hub.utils.filter_repo_objects(names, allow_patterns=wanted)) == names[:3]


def test_what_the_hub_does_not_give_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def offline(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(DataError, match=r"owner/name: no such folder, and the Hub doesn't give it \(no network\)"):
        find_dataset("owner/name")
    with pytest.raises(DataError, match="neither-folder-nor-name: no such folder"):
        find_dataset("neither-folder-nor-name")
    with pytest.raises(UsageError, match="is a folder, which has none"):
        find_dataset(str(tmp_path), revision="main")
