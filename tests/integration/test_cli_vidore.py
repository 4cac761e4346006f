"""A dataset in ViDoRe's formats → corpus and tasks → vectors → figures, on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import vidore as made
from tests.colours import COLOURS
from vrag.cli import main
from vrag.corpus.store import Corpus
from vrag.data.tasks import read_tasks
from vrag.types import PageRef, Task

ENCODER = "tests.colours:ColourEncoder"
LATER = pytest.param("ingest.before-commit:3", marks=pytest.mark.full)
POINTS = ["vidore.page-unpacked:2", "ingest.text-given:2", LATER]


def vrag(*args: object) -> int:
    return main([str(arg) for arg in args])


def built(capsys: pytest.CaptureFixture[str], *args: object) -> dict[str, Any]:
    """The report of a successful run, on one core and without OCR."""
    assert vrag("data", "vidore", *args, "--corpus", "mine", "--workers", 1, "--no-ocr", "--json") == 0
    return json.loads(capsys.readouterr().out)


def gold(task: Task) -> dict[tuple[str, int], int]:
    return {(one.ref.document, one.ref.page): one.relevance for one in task.gold}


def test_v1_identical_images_are_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    report = built(capsys, made.v1(tmp_path / "set"), tmp_path / "out")
    assert (report["rows"], report["pages"], report["questions"], report["failures"]) == (5, 4, 3, [])
    tasks = read_tasks(tmp_path / "out/tasks.jsonl")
    assert [gold(task) for task in tasks] == [
        {("000001.png", 1): 1},
        {("000001.png", 1): 1},
        {("000004.jpg", 1): 1, ("000005.png", 1): 1},
    ]
    stored = (tmp_path / "out/pages/000004.jpg").read_bytes()
    assert stored == made.picture("blue", "JPEG")["bytes"]
    with Corpus.open("mine") as corpus:
        image = corpus.image(corpus.resolve(PageRef(document="000004.jpg", page=1)))
    assert image.size == (48, 64)
    pixel = image.getpixel((20, 20))
    assert isinstance(pixel, tuple) and max(abs(a - b) for a, b in zip(pixel, COLOURS["blue"], strict=True)) < 12


def test_from_a_dataset_to_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    report = built(capsys, made.v2(tmp_path / "set"), tmp_path / "out", "--language", "english")
    assert (report["pages"], report["questions"], report["grades"]) == (4, 2, {"1": 2, "2": 1})
    tasks = tmp_path / "out/tasks-english.jsonl"
    assert gold(read_tasks(tasks)[0]) == {("Report_1/000000.png", 1): 1}
    pages = tmp_path / "out/pages"
    assert vrag("index", pages, "--corpus", "mine", "--encoder", ENCODER, "--workers", 1, "--ocr", "off") == 0
    capsys.readouterr()
    run = tmp_path / "run"
    assert vrag("eval", "retrieval", "-c", "mine", "--tasks", tasks, "--out", run, "--by", "visual", "--json") == 0
    (visual,) = json.loads(capsys.readouterr().out)
    assert (visual["questions"], visual["errored"], visual["mrr"]["value"]) == (2, 0, 1.0)
    found = [json.loads(line) for line in (run / "found.jsonl").read_text().splitlines()]
    assert [one["pages"][0]["document"] for one in found] == ["Report_1/000000.png", "b/000002.png"]


def test_v3_text_of_a_dataset_is_searched_and_outlives_a_rerun(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = made.v3(tmp_path / "set")
    report = built(capsys, folder, tmp_path / "out")
    assert (report["pages_with_text"], report["grades"]) == (2, {"1": 1, "2": 1})
    again = built(capsys, folder, tmp_path / "out")
    assert again == report
    assert vrag("index", tmp_path / "out/pages", "--corpus", "mine", "--workers", 1, "--ocr", "off") == 0
    capsys.readouterr()
    assert vrag("search", "vermilion", "--corpus", "mine", "--json") == 0
    (hit,) = json.loads(capsys.readouterr().out)["hits"]
    assert hit["ref"]["document"] == "walls/000000.png" and "vermilion" in hit["snippet"]
    with Corpus.open("mine") as corpus:
        assert sorted(page.text_source for page in corpus.pages()) == ["given", "given", "none"]
        assert list(corpus.words(hit["page_id"])) == []


def test_a_broken_image_is_named_and_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    corpus = [dict(row) for row in made.V2_CORPUS]
    corpus[0]["image"] = {"bytes": made.BROKEN, "path": "broken.png"}
    corpus[1]["image"] = {"bytes": None, "path": "elsewhere.png"}
    qrels = [*made.V2_QRELS, {"query-id": 0, "corpus-id": 50, "score": 1.0, "answer": None}]
    report = built(capsys, made.v2(tmp_path / "set", corpus=corpus, qrels=qrels), tmp_path / "out")
    assert report["pages"] == 2
    shard = "corpus/test-00000-of-00001.parquet row"
    assert {one["document"]: one["reason"].split(":")[0] for one in report["failures"]} == {
        f"{shard} 2": "page 1 has no image",
        "question 0": "no page has the key 50 of its gold page",
        f"Report_1/000000.png, {shard} 1": "neither a PDF nor a readable PNG, JPEG, TIFF or WebP image",
    }
    first = read_tasks(tmp_path / "out/tasks.jsonl")[0]  # its gold pages still count: nothing finds them
    assert gold(first) == {("Report_1/000000.png", 1): 1, ("page 50", 1): 1}


def test_two_datasets_in_one_corpus_have_their_own_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = [{**row, "image": made.picture(colour)} for row, colour in zip(made.V2_CORPUS, COLOURS, strict=True)]
    other[0]["image"] = made.picture("red", "WEBP")
    built(capsys, made.v2(tmp_path / "one"), tmp_path / "first")
    report = built(capsys, made.v2(tmp_path / "two", corpus=other), tmp_path / "second")
    assert (report["pages"], report["failures"]) == (4, [])
    with Corpus.open("mine") as corpus:
        assert corpus.count() == 5  # three of the four are the same images
        for out in ("first", "second"):
            for task in read_tasks(tmp_path / out / "tasks.jsonl"):
                for one in task.gold:
                    page = corpus.page(corpus.resolve(one.ref))
                    assert page.ref == one.ref  # what a hit is called, not another name of the same page


def test_another_dataset_is_not_mixed_into_the_same_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    built(capsys, made.v1(tmp_path / "one"), tmp_path / "out")
    args = ["data", "vidore", made.v2(tmp_path / "two"), tmp_path / "out", "--corpus", "mine", "--no-ocr"]
    assert vrag(*args, "--workers", 1) == 2
    assert "another configuration" in capsys.readouterr().err
    report = built(capsys, tmp_path / "two", tmp_path / "out", "--overwrite")
    assert report["pages"] == 4
    with Corpus.open("mine") as corpus:
        assert corpus.count() == 4


def test_a_faulty_dataset_is_one_line_and_leaves_no_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert vrag("data", "vidore", tmp_path / "none", tmp_path / "out", "--corpus", "mine") == 1
    assert "no such folder" in capsys.readouterr().err
    made.v2(tmp_path / "set", queries=[])
    assert vrag("data", "vidore", tmp_path / "set", tmp_path / "out", "--corpus", "mine") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert vrag("search", "red", "--corpus", "mine") == 1


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str], point: str):
    folder, out = made.v3(tmp_path / "set"), tmp_path / "out"
    args = ["data", "vidore", folder, out, "--corpus", "mine", "--workers", "1", "--no-ocr"]
    killed = subprocess.run(
        [sys.executable, "-m", "vrag", *map(str, args)], env={**os.environ, "VRAG_KILL_AT": point}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (out / "tasks.jsonl").exists()
    written = {file: file.stat().st_mtime_ns for file in out.rglob("*.png")}
    assert built(capsys, folder, out)["pages"] == 3
    assert {file: file.stat().st_mtime_ns for file in written} == written
    with Corpus.open("mine") as corpus:
        assert sorted(page.text for page in corpus.pages()) == ["", "# Crimson\n\nvermilion walls", "a meadow"]
        assert corpus.search("meadow", 3) and not corpus.failures()
