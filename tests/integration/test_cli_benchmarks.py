"""The paper's datasets and a person's own questions on the command line: corpus, tasks, figures."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests import benchmarks as made
from tests.papers import write_pdf
from vrag.cli import main
from vrag.corpus.store import Corpus
from vrag.data.tasks import read_tasks, write_tasks
from vrag.errors import InfrastructureError
from vrag.fusion import within
from vrag.retriever import open_retriever
from vrag.types import Task

KELP = "kelp_farm-abf615d0.pdf"  # of the deck "kelp/farm", which no file can be called
ENCODER = "tests.colours:ColourEncoder"


def vrag(*args: object) -> int:
    return main([str(arg) for arg in args])


def built(capsys: pytest.CaptureFixture[str], *args: object) -> dict[str, Any]:
    """The report of a successful `vrag data`, on one core and without OCR."""
    assert vrag("data", *args, "--corpus", "paper", "--workers", 1, "--no-ocr", "--json") == 0
    return json.loads(capsys.readouterr().out)


def gold(task: Task) -> list[tuple[str, int]]:
    return [(one.ref.document, one.ref.page) for one in task.gold]


def failures(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["stage"], one["reason"]) for one in report["failures"]]


def test_slidevqa_is_searched_by_its_slides(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (parquet,) = made.slidevqa(tmp_path / "set").rglob("*.parquet")
    report = built(capsys, "slidevqa", parquet, tmp_path / "out")
    assert (report["questions"], report["documents"], report["pages"], report["failures"]) == (3, 2, 5, [])
    assert report["hops"] == {"1": 2, "2": 1} and report["kinds"] == {"slide": 3}
    assert report["differences"][0].startswith("3 questions; published: 2,215") and "2,020" in report["note"]
    tasks = read_tasks(tmp_path / "out/tasks.jsonl")
    assert [gold(task) for task in tasks] == [
        [("harbour-plan_95.pdf", 1)],
        [("harbour-plan_95.pdf", 2), ("harbour-plan_95.pdf", 3)],
        [(KELP, 2)],
    ]
    assert [task.document for task in tasks] == ["harbour-plan_95.pdf"] * 2 + [KELP]
    encode = ("--encoder", ENCODER, "--workers", 1, "--ocr", "off")
    assert vrag("index", tmp_path / "out/documents", "-c", "paper", *encode) == 0
    capsys.readouterr()
    with Corpus.open("paper") as corpus:
        found = {}
        for by in ("visual", "fused"):
            retriever = within(open_retriever(corpus, by), KELP)
            found[by] = [hit.ref.document for hit in asyncio.run(retriever.search("red", 5))]
        assert found == {"visual": [KELP] * 2, "fused": [KELP] * 2}
        with pytest.raises(InfrastructureError, match=r"no document 'gone\.pdf'"):
            asyncio.run(within(open_retriever(corpus, "visual"), "gone.pdf").search("red", 5))


def test_three_datasets_in_one_corpus_keep_their_documents_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    slides = built(capsys, "slidevqa", made.slidevqa(tmp_path / "s"), tmp_path / "o/s")
    seek = made.vidoseek(tmp_path / "v")
    pages = built(capsys, "vidoseek", seek, tmp_path / "o/v")
    folder = made.mmlongbench(tmp_path / "m")
    other = write_pdf(folder / "data/documents/0aa.pdf", ["Another document of that name"])  # as in ViDoSeek
    rows = [*made.MMLONGBENCH, ("0aa.pdf", "What is it?", "another", "[1]", "['Chart']", "Str")]
    (folder / "data/samples.json").write_text(
        json.dumps([dict(zip(made.MMLONGBENCH_COLUMNS, row, strict=True)) for row in rows])
    )
    long = built(capsys, "mmlongbench", folder, tmp_path / "o/m")
    assert [one["pages"] for one in (slides, pages, long)] == [5, 3, 6]
    everything = [task for name in "svm" for task in read_tasks(tmp_path / f"o/{name}/tasks.jsonl")]
    assert len({task.id for task in everything}) == len(everything) == 10
    with Corpus.open("paper") as corpus:
        assert corpus.count() == 14
        for task in everything:
            for one in task.gold:
                assert corpus.page(corpus.resolve(one.ref)).ref == one.ref
        named = {task.id: corpus.page(corpus.resolve(task.gold[0].ref)).text for task in everything if task.gold}
    assert "opened in 1984" in named["vidoseek-0aa_1"]
    assert "Another document" in named["mmlongbench-0005"] and other.is_file()
    assert [path.parent.name for path in tmp_path.rglob("0aa.pdf")].count("documents") == 1


def test_a_question_about_one_document_is_asked_of_it_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    report = built(capsys, "mmlongbench", made.mmlongbench(tmp_path / "set", parquet=True), tmp_path / "out")
    assert (report["without_gold"], report["failures"]) == (1, [])
    assert "4 questions; published: 1,091 (its card on the Hub), 1,082" in report["differences"][0]
    tasks = tmp_path / "out/tasks.jsonl"
    run = ("eval", "retrieval", "-c", "paper", "--tasks", tasks, "--by", "text", "--json")
    found: dict[str, list[set[str]]] = {}
    for scope in ("corpus", "document"):
        assert vrag(*run, "--out", tmp_path / scope, "--scope", scope, "--limit", 2) == 0
        asked = (tmp_path / scope / "found.jsonl").read_text()
        assert vrag(*run, "--out", tmp_path / scope, "--scope", scope) == 0
        assert (tmp_path / scope / "found.jsonl").read_text().startswith(asked) and asked
        rows = (json.loads(line) for line in (tmp_path / scope / "found.jsonl").read_text().splitlines())
        found[scope] = [{page["document"] for page in row["pages"]} for row in rows]
    assert found["document"] == [{"report.pdf"}, {"report.pdf"}, {"manual.pdf"}]
    assert {"report.pdf", "manual.pdf"} in found["corpus"]
    capsys.readouterr()
    answers = ("eval", "-c", "paper", "--tasks", tasks, "--out", tmp_path / "answers", "--scope", "document", "--json")
    assert vrag(*answers) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["scored"], summary["errored"], summary["mmlongbench"]["episodes"]) == (4, 0, 4)
    assert summary["mmlongbench"]["by_pages"]["unanswerable"] == 0.0
    episodes = [json.loads(line) for line in (tmp_path / "answers/episodes.jsonl").read_text().splitlines()]
    for episode in episodes:
        hits = [hit for turn in episode["turns"] if turn["observation"] for hit in turn["observation"]["hits"]]
        assert {hit["ref"]["document"] for hit in hits} <= {episode["task"]["document"]}
    assert vrag(*answers[:-3], "--scope", "corpus", "--json") == 2  # another configuration
    write_tasks(tasks, [Task(id="a", question="amber?", answers=["x"])])
    assert vrag(*answers, "--overwrite") == 2
    assert "task a names no document" in capsys.readouterr().err


def test_pages_that_are_not_there_and_answers_that_do_not_score_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [
        ("report.pdf", "Which phone?", "01983", "[0]", "['Chart']", "Str"),
        ("report.pdf", "Which share?", "14%", "[2, 121]", "['Table']", "Int"),
        ("gone.pdf", "Which?", "this", "[4]", "[]", "Str"),
        ("broken.pdf", "What?", "that", "[1]", "[]", "Str"),
        ("report.pdf", "", "lost", "[1]", "[]", "Str"),
    ]
    folder = made.mmlongbench(tmp_path / "set", rows)
    (folder / "data/documents/broken.pdf").write_bytes(made.LFS)
    report = built(capsys, "mmlongbench", folder, tmp_path / "out")
    row, form = "mmlongbench", "by MMLongBench-Doc's own rule for Int"
    assert failures(report) == [
        ("dataset", "has no question"),
        ("dataset", f"{row}-0001: no page 0: 'report.pdf' has pages 1 to 3; it is left out of the gold pages"),
        ("dataset", f"{row}-0002: no page 121: 'report.pdf' has pages 1 to 3; it is left out of the gold pages"),
        ("dataset", f"{row}-0003: no document 'gone.pdf'"),
        ("read", "its content is neither a PDF, a PNG, JPEG, TIFF or WebP image, nor an office document"),
        ("answer", f"the gold answer '14%' doesn't score 1.0 {form}"),
    ]
    assert [one["document"] for one in report["failures"][:2]] == ["samples.json row 5", "samples.json row 1"]
    assert (report["without_gold"], report["lost_gold"]) == (1, 2), "gone.pdf and broken.pdf are not to be found"
    assert (report["documents"], report["unread"]) == (3, 1)
    assert vrag("data", "mmlongbench", folder, tmp_path / "out", "-c", "paper", "--no-ocr", "--workers", 1) == 0
    said = capsys.readouterr().out
    assert "2 questions about documents that aren't here or can't be read" in said
    assert "3 documents (1 can't be read)" in said
    tasks = read_tasks(tmp_path / "out/tasks.jsonl")
    assert [gold(task) for task in tasks] == [[], [("report.pdf", 2)], [("gone.pdf", 4)], [("broken.pdf", 1)]]
    assert len((tmp_path / "out/problems.jsonl").read_text().splitlines()) == len(report["failures"])


def test_a_zip_of_the_whole_dataset_is_read_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = made.mmlongbench(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "main.zip", "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, f"MMLongBench-Doc-main/{file.relative_to(folder)}")
    report = built(capsys, "mmlongbench", tmp_path / "main.zip", tmp_path / "out")
    assert (report["questions"], report["pages"], report["failures"]) == (4, 5, [])
    assert vrag("data", "mmlongbench", tmp_path / "main.zip", tmp_path / "x", "-c", "paper", "--revision", "main") == 2


def test_another_dataset_is_not_mixed_into_the_same_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    built(capsys, "mmlongbench", made.mmlongbench(tmp_path / "set"), tmp_path / "out")
    seek = made.vidoseek(tmp_path / "v")
    assert vrag("data", "vidoseek", seek, tmp_path / "out", "-c", "paper", "--no-ocr", "--workers", 1) == 2
    assert "another configuration" in capsys.readouterr().err


def test_a_faulty_dataset_is_one_line_and_leaves_no_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert vrag("data", "slidevqa", tmp_path / "none", tmp_path / "out", "-c", "paper") == 1
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert vrag("data", "mmlongbench", tmp_path / "empty", tmp_path / "out", "-c", "paper") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert vrag("search", "red", "--corpus", "paper") == 1


LATER = pytest.param("ingest.before-commit:1", marks=pytest.mark.full)


@pytest.mark.parametrize("point", ["slidevqa.deck-written:1", LATER])
def test_a_killed_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str], point: str):
    folder, out = made.slidevqa(tmp_path / "set"), tmp_path / "out"
    args = ["data", "slidevqa", folder, out, "--corpus", "paper", "--workers", "1", "--no-ocr"]
    killed = subprocess.run(
        [sys.executable, "-m", "vrag", *map(str, args)], env={**os.environ, "VRAG_KILL_AT": point}, check=False
    )
    assert killed.returncode == -signal.SIGKILL and not (out / "tasks.jsonl").exists()
    written = {file: file.stat().st_mtime_ns for file in out.rglob("*.pdf")}
    assert written and built(capsys, "slidevqa", folder, out)["pages"] == 5
    assert {file: file.stat().st_mtime_ns for file in written} == written


# ---------------------------------------------------------------------------------------- a person's own

CSV = """question,answer,document,page
When did the amber harbour open?,1984,amber,1
When was the kelp farm sold?,2003,b/kelp.pdf,1
"""


def test_two_commands_from_a_table_and_a_folder_to_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    write_pdf(tmp_path / "docs/b/kelp.pdf", ["The kelp farm was sold in 2003"])
    (tmp_path / "mine.csv").write_text(CSV)
    report = built(capsys, "import", tmp_path / "mine.csv", tmp_path / "out", "--documents", tmp_path / "docs")
    assert (report["questions"], report["pages"], report["failures"], report["differences"]) == (2, 2, [], [])
    tasks = tmp_path / "out/tasks.jsonl"
    assert [gold(task) for task in read_tasks(tasks)] == [[("amber.pdf", 1)], [("b/kelp.pdf", 1)]]
    assert vrag("eval", "-c", "paper", "--tasks", tasks, "--out", tmp_path / "run", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["accuracy"]["value"] == 1.0 and summary["mmlongbench"] is None


def test_documents_that_are_indexed_already_need_not_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "mine.csv").write_text(CSV.replace("b/kelp", "kelb"))
    args = ("data", "import", tmp_path / "mine.csv", tmp_path / "out", "-c", "paper")
    assert vrag(*args) == 1 and "no corpus 'paper'" in capsys.readouterr().err
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    write_pdf(tmp_path / "docs/b/kelp.pdf", ["The kelp farm was sold in 2003"])
    assert vrag("index", tmp_path / "docs", "-c", "paper", "--workers", 1, "--ocr", "off") == 0
    capsys.readouterr()
    report = built(capsys, "import", tmp_path / "mine.csv", tmp_path / "out")
    assert failures(report) == [("dataset", "mine-3: no document 'kelb.pdf'; did you mean 'kelp.pdf'?")]
    assert report["failures"][0]["document"] == "mine.csv line 3"


def test_what_an_import_says_is_in_plain_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    (tmp_path / "mine.csv").write_text(CSV)
    args = ("data", "import", tmp_path / "mine.csv", tmp_path / "out", "-c", "paper", "--documents", tmp_path / "docs")
    assert vrag(*args, "--workers", 1, "--no-ocr") == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("Problems") and "no document 'b/kelp.pdf'" in printed.err
    said = "2 questions (2 of 1 hop; 0 without a gold page) about 1 document, 1 page; 1 problem, 0 gold answers that"
    assert said in printed.out and "unknown" not in printed.out


def test_a_file_that_was_misspelt_begins_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    (tmp_path / "mine.csv").write_text("question,answer\nWhen?,1984\n")
    out = (tmp_path / "out", "-c", "paper", "--documents", tmp_path / "docs", "--workers", 1, "--no-ocr")
    assert vrag("data", "import", tmp_path / "mine2.csv", *out) == 1 and not (tmp_path / "out").exists()
    assert vrag("data", "import", tmp_path / "mine.csv", *out) == 0


def test_questions_that_changed_are_said_so_and_overwrite_asks_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    table, tasks = tmp_path / "mine.csv", tmp_path / "out/tasks.jsonl"
    run = ("-c", "paper", "--tasks", tasks, "--out", tmp_path / "run", "--json")
    for question, code in (("When did the amber harbour open?", 0), ("When did the harbour open?", 2)):
        table.write_text(f"question,answer,document,page\n{question},1984,amber,1\n")
        built(capsys, "import", table, tmp_path / "out", "--documents", tmp_path / "docs")
        assert vrag("eval", *run) == code
        said = capsys.readouterr().err
    assert "the questions changed since that run: add --overwrite to replace it, or name another --out" in said
    assert "tasks.key" not in said and vrag("eval", *run, "--overwrite") == 0


def test_a_benchmark_in_a_folder_right_here_is_found_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    write_pdf(tmp_path / "docs/amber.pdf", ["The amber harbour opened in 1984"])
    (tmp_path / "mine.csv").write_text(CSV.rpartition("When")[0])
    built(capsys, "import", tmp_path / "mine.csv", tmp_path / "mine_out", "--documents", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    assert vrag("eval", "-b", "mine_out", "--out", "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["questions"] == 1
    (tmp_path / "docs/tasks.jsonl").write_bytes((tmp_path / "mine_out/tasks.jsonl").read_bytes())
    assert vrag("eval", "-b", "docs", "--out", "run", "--json") == 2
    assert "give --corpus and --tasks docs/tasks.jsonl" in capsys.readouterr().err
    (tmp_path / "docs/tasks.jsonl").unlink()
    assert vrag("eval", "-b", "docs", "--out", "run", "--json") == 2
    assert "no benchmark 'docs'" in capsys.readouterr().err
    assert vrag("eval", "-b", "mine_uot", "--out", "run", "--json") == 2
    assert "did you mean mine_out?" in capsys.readouterr().err


def test_tasks_go_to_the_references_json_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    built(capsys, "vidoseek", made.vidoseek(tmp_path / "set"), tmp_path / "out")
    tasks, out = tmp_path / "out/tasks.jsonl", tmp_path / "unified.json"
    assert vrag("data", "export", tasks, out, "--to", "unified", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"questions": 2, "left_out": []}
    assert json.loads(out.read_text())["examples"] == made.VIDOSEEK
    built(capsys, "import", out, tmp_path / "again", "--source", "vidoseek")
    first, second = read_tasks(tasks), read_tasks(tmp_path / "again/tasks.jsonl")
    assert [task.model_copy(update={"id": f"vidoseek-{task.id}"}) for task in second] == first
