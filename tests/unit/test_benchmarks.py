"""Rows of the published datasets, and of a person's own, as questions; what is wrong with one is named."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import GatedRepoError
from PIL import Image

from tests import benchmarks as made
from tests.colours import COLOURS
from vrag.corpus.pdf import open_pdf, read_page
from vrag.corpus.store import Document
from vrag.data.benchmarks import mmlongbench, slidevqa, vidoseek
from vrag.data.benchmarks.asked import Asked, Benchmark
from vrag.data.benchmarks.build import unscored
from vrag.data.benchmarks.counts import COUNTS, differences, note
from vrag.data.benchmarks.decks import write_deck
from vrag.data.benchmarks.files import files_in, unzip
from vrag.data.benchmarks.own import OwnQuestions
from vrag.data.benchmarks.shelf import Shelf
from vrag.data.benchmarks.slidevqa import Deck, SlideVQA
from vrag.data.benchmarks.unified import read_unified, write_unified
from vrag.data.hub import located
from vrag.data.rows import Problem, Row
from vrag.errors import DataError, UsageError
from vrag.types import Box, Evidence, PageRef, Task


def told(benchmark: Benchmark) -> list[tuple[str, list[str], str, list[int], int, str]]:
    return [(one.id, one.answers, one.document, one.pages, one.hops, one.kind) for one in benchmark.questions()]


def reasons(benchmark: Benchmark) -> dict[str, str]:
    benchmark.questions()
    return {problem.where: problem.reason for problem in benchmark.problems}


# ------------------------------------------------------------------------------------------------ SlideVQA


def test_slidevqa_of_the_hub_has_pages_from_1_and_hops_by_reasoning(tmp_path: Path):
    benchmark = slidevqa.load(made.slidevqa(tmp_path), "s", "test")
    assert told(benchmark) == [
        ("slidevqa-test-11", ["red"], "harbour-plan_95.pdf", [1], 1, "slide"),
        ("slidevqa-test-12", ["2"], "harbour-plan_95.pdf", [2, 3], 2, "slide"),
        ("slidevqa-test-13", ["red"], "kelp_farm-abf615d0.pdf", [2], 1, "slide"),
    ]
    first = benchmark.questions()[0]
    assert first.source == "slidevqa:test"
    assert first.meta["answer_type"] == "Single-Span" and first.meta["reasoning_type"] == "Single-Hop"


def test_slidevqa_without_reasoning_types_counts_pages(tmp_path: Path):
    rows = [{**row, "reasoning_type": None, "answer_type": None} for row in made.SLIDEVQA]
    benchmark = slidevqa.load(made.slidevqa(tmp_path, rows, "train"), "s", "train")
    assert [hops for *_, hops, _ in told(benchmark)] == [1, 2, 1]


def test_a_deck_becomes_one_pdf_of_exactly_its_slides(tmp_path: Path):
    benchmark = slidevqa.load(made.slidevqa(tmp_path / "set"), "s", "test")
    folder = tmp_path / "out"
    folder.mkdir()
    assert benchmark.documents(folder, 150, lambda _: None) == [folder / "documents"]
    names = sorted(path.name for path in (folder / "documents").iterdir())
    assert names == ["harbour-plan_95.pdf", "kelp_farm-abf615d0.pdf"] and benchmark.problems == []
    for name, slides in (
        ("harbour-plan_95", made.DECKS["harbour-plan_95"]),
        ("kelp_farm-abf615d0", made.DECKS["kelp/farm"]),
    ):
        with open_pdf(folder / "documents" / f"{name}.pdf") as pdf:
            assert len(pdf) == len(slides)
            for number, slide in enumerate(slides, start=1):
                page, words, _ = read_page(pdf, number, 150)
                assert np.array_equal(
                    np.asarray(page.convert("RGB")), np.asarray(Image.open(io.BytesIO(slide)).convert("RGB"))
                )
                assert words == []


def test_a_slide_that_cannot_be_read_is_a_blank_page_and_named(tmp_path: Path):
    grey = io.BytesIO()
    Image.new("L", (30, 20), 100).save(grey, "JPEG")
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20), COLOURS["red"]).save(turned, "JPEG", exif=exif)
    half = made.slide("blue")[:300]
    problems = write_deck(tmp_path / "d.pdf", [made.BROKEN, None, grey.getvalue(), turned.getvalue(), half], 96)
    assert set(problems) == {1, 2, 5} and problems[2] == "has no image"
    with open_pdf(tmp_path / "d.pdf") as pdf:
        pages = [read_page(pdf, number, 96)[0].convert("RGB") for number in range(1, 6)]
    assert [page.size for page in pages] == [(30, 20), (30, 20), (30, 20), (20, 30), (30, 20)]
    assert pages[0].getpixel((5, 5)) == (255, 255, 255)
    assert pages[2].getpixel((5, 5)) == (100, 100, 100)


def test_a_deck_that_is_there_keeps_what_was_wrong_with_it(tmp_path: Path):
    class Layout:
        def rows(self, problems: list[Problem]) -> Iterator[Row]:
            yield from ()

        def decks(self) -> Iterator[Deck]:
            yield Deck("row 1", "deck", [made.slide("red"), None, made.BROKEN])
            yield Deck("row 2", "whole", [made.slide("blue")])

    said: list[list[Problem]] = []
    for _ in range(2):
        benchmark = SlideVQA(Layout(), "test")
        (folder,) = benchmark.documents(tmp_path, 96, lambda progress: None)
        said.append(benchmark.problems)
    assert said[0] == said[1] and [one.where for one in said[0]] == ["row 1", "row 1"]
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["deck.pdf", "whole.pdf"]


def test_slidevqa_of_the_repository_takes_slides_by_the_order_of_their_urls(tmp_path: Path):
    benchmark = slidevqa.load(made.slidevqa_repository(tmp_path / "set"), "s", "val")
    assert [one[0] for one in told(benchmark)] == ["slidevqa-val-11", "slidevqa-val-12"]
    assert [one[4] for one in told(benchmark)] == [1, 2]  # from "resoning_type", as it is written there
    (tmp_path / "out").mkdir()
    benchmark.documents(tmp_path / "out", 150, lambda _: None)
    (problem,) = benchmark.problems
    assert problem.reason == "page 3 of deck harbour-plan_95: has no image"
    with open_pdf(tmp_path / "out/documents/harbour-plan_95.pdf") as pdf:
        assert len(pdf) == 3


def test_names_in_a_dataset_open_nothing_elsewhere(tmp_path: Path):
    folder = made.slidevqa_repository(tmp_path / "set")
    (tmp_path / "secret.jpg").write_bytes(made.slide("red"))
    row = {**made.SLIDEVQA[0], "deck_name": "../../..", "image_urls": ["x/secret.jpg", "x/%2e%2e%2fsecret.jpg"]}
    (folder / "annotations/qa/dev.jsonl").write_text(json.dumps(row))
    benchmark = slidevqa.load(folder, "s", "val")
    (tmp_path / "out").mkdir()
    benchmark.documents(tmp_path / "out", 150, lambda _: None)
    assert [problem.reason.rpartition(": ")[2] for problem in benchmark.problems] == ["has no image"] * 2
    assert [path.parent for path in tmp_path.rglob("*.pdf")] == [tmp_path / "out/documents"]


def test_slidevqa_rows_that_cannot_be_used_are_named(tmp_path: Path):
    rows = [
        *made.SLIDEVQA,
        {**made.SLIDEVQA[0], "qa_id": 14, "answer": " "},
        {**made.SLIDEVQA[0], "qa_id": 11},
        {**made.SLIDEVQA[0], "qa_id": 15, "deck_name": None},
    ]
    shard = "data/test-00000-of-00001.parquet row"
    assert reasons(slidevqa.load(made.slidevqa(tmp_path, rows), "s", "test")) == {
        f"{shard} 4": "has no answer",
        f"{shard} 5": f"id slidevqa-test-11 is also that of {shard} 1, which is used",
        f"{shard} 6": "has no deck_name",
    }
    with pytest.raises(DataError, match=r"s: has no split 'val' .but test"):
        slidevqa.load(tmp_path, "s", "val")


# ------------------------------------------------------------------------------------ ViDoSeek, MMLongBench


def test_vidoseek_keeps_what_the_reference_says(tmp_path: Path):
    benchmark = vidoseek.load(made.vidoseek(tmp_path / "set"), "v", "vidoseek")
    assert told(benchmark) == [
        ("vidoseek-0aa_1", ["1984"], "0aa.pdf", [2], 1, "text"),
        ("vidoseek-0aa_2", ["19 years"], "0aa.pdf", [2, 3], 2, "layout"),
    ]
    (pdf,) = benchmark.documents(tmp_path / "out", 150, lambda _: None)
    assert pdf == tmp_path / "out/documents/pdf/0aa.pdf"
    with pytest.raises(DataError, match=r"holds no slidevqa_refined\.json"):
        vidoseek.load(tmp_path / "set", "v", "slidevqa_refined")


def test_vidoseek_takes_an_unpacked_zip_too(tmp_path: Path):
    folder = made.vidoseek(tmp_path / "set")
    archive = folder / "vidoseek_pdf_document.zip"
    unzip(archive, folder / "vidoseek_pdf_document", (".pdf",), [], lambda _: None)
    archive.unlink()
    (folder / "other.pdf").write_bytes(b"of another set")
    found = vidoseek.load(folder, "v", "vidoseek").documents(tmp_path / "out", 150, lambda _: None)
    assert [path.name for path in found] == ["0aa.pdf"]


def test_vidoseek_rows_that_cannot_be_used_are_named(tmp_path: Path):
    rows = [
        *made.VIDOSEEK,
        {"uid": "x", "query": "q"},
        {**made.VIDOSEEK[0], "uid": "y", "meta_info": "none"},
        {**made.VIDOSEEK[0], "uid": "z", "meta_info": {"reference_page": ["two"]}},
        "text",
    ]
    assert reasons(vidoseek.load(made.vidoseek(tmp_path / "set", rows), "v", "vidoseek")) == {
        "vidoseek.json row 3": "has no reference_answer",
        "vidoseek.json row 4": "meta_info is no JSON object",
        "vidoseek.json row 5": "page 'two' is no whole number",
        "vidoseek.json row 6": "is no JSON object",
    }


@pytest.mark.parametrize("parquet", [False, True])
def test_mmlongbench_has_lists_as_texts_and_its_own_form_in_the_metadata(tmp_path: Path, parquet: bool):
    benchmark = mmlongbench.load(made.mmlongbench(tmp_path, parquet=parquet), "m", "train")
    assert told(benchmark) == [
        ("mmlongbench-0001", ["1984"], "report.pdf", [2], 1, "text"),
        ("mmlongbench-0002", ["the kelp farm, 2003"], "report.pdf", [1, 3], 2, "chart+table"),
        ("mmlongbench-0003", ["Not answerable"], "report.pdf", [], 1, "unknown"),
        ("mmlongbench-0004", ["18.29%"], "manual.pdf", [1], 1, "layout"),
    ]
    second = benchmark.questions()[1]
    assert second.meta["answer"] == "['the kelp farm', '2003']" and second.meta["answer_format"] == "List"
    assert second.meta["evidence_pages"] == [1, 3] and second.meta["evidence_sources"] == ["Chart", "Table"]
    found = benchmark.documents(tmp_path, 150, lambda _: None)
    assert [path.name for path in found] == ["manual.pdf", "report.pdf"]


# ---------------------------------------------------------------------------------------- a person's own


def own(tmp_path: Path, name: str, text: str) -> OwnQuestions:
    (tmp_path / name).write_bytes(text.encode())
    return OwnQuestions(tmp_path / name)


def test_a_table_of_questions_by_whatever_delimiter(tmp_path: Path):
    for name, mark in (("q.csv", ","), ("s.csv", ";"), ("t.tsv", "\t")):
        header = ["Question", "answer", "document", "page", "team"]
        rows = [header, ["When?", "1984", "a", '"2, 3"', "x"], ["Who?", "Ann"]]
        benchmark = own(tmp_path, name, "\ufeff" + "\r\n".join(mark.join(row) for row in rows))
        stem = name[0]
        assert told(benchmark) == [
            (f"{stem}-2", ["1984"], "a", [2, 3], 1, "unknown"),
            (f"{stem}-3", ["Ann"], "", [], 1, "unknown"),
        ]
        assert benchmark.questions()[0].meta == {"team": "x"} and benchmark.source == stem


def test_alternatives_ids_hops_and_kinds_may_be_given(tmp_path: Path):
    table = own(tmp_path, "a.csv", "id,query,answers,file,pages,hops,kind\nx,Who?,Ann|Anna,a.pdf,1;2,2,Table\n")
    lines = own(
        tmp_path,
        "a.jsonl",
        '{"id": "x", "question": "Who?", "answers": ["Ann", "Anna"], "file_name": "a.pdf", "pages": [1, 2], "hops": 2,'
        ' "kind": "table"}\n\n',
    )
    assert told(table) == told(lines) == [("x", ["Ann", "Anna"], "a.pdf", [1, 2], 2, "table")]


def test_cells_as_table_programs_write_them(tmp_path: Path):
    table = own(
        tmp_path,
        "a.csv",
        'question,answer,answers,file,page\nWho?,Jan,"Jan de Vries|Jan",a.pdf,3.0\nq,b,,a.pdf,"1.0,2.5"\n',
    )
    assert told(table) == [("a-2", ["Jan", "Jan de Vries"], "a.pdf", [3], 1, "unknown")]
    assert reasons(table) == {"a.csv line 3": "page '2.5' is no whole number"}


def test_half_a_character_loses_its_question_alone(tmp_path: Path):
    lines = own(tmp_path, "a.jsonl", '{"question": "a \\ud800", "answer": "a"}\n{"question": "q", "answer": "a"}')
    assert [one.question for one in lines.questions()] == ["q"]
    assert reasons(lines) == {"a.jsonl line 1": "holds half a character ('\\ud800'); write it whole"}


def test_rows_of_ones_own_that_cannot_be_used_are_named(tmp_path: Path):
    text = "question,answer,page,hops,file\nq,,1,,a\n,a,1,\nq,a,two,\nq,a,1,zero\nq,a,1,1,a,more\nq,a,1 | 2\n"
    assert reasons(own(tmp_path, "q.csv", text)) == {
        "q.csv line 2": "has no answer",
        "q.csv line 3": "has no question",
        "q.csv line 4": "page 'two' is no whole number",
        "q.csv line 5": "hops 'zero' is no whole number from 1 to 99",
        "q.csv line 6": "has more cells than the header; put cells with a delimiter into quotes",
        "q.csv line 7": "page '1 | 2': pages have no alternatives, all of them count; name the one that answers",
    }
    broken = own(tmp_path, "q.jsonl", '{"question": "q", "answer": "a"}\n{"question": \n[1]')
    assert list(reasons(broken)) == ["q.jsonl line 2", "q.jsonl line 3"] and len(broken.questions()) == 1


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("q.csv", "frage,answer\nq,a\n", r"q\.csv: has no column question or query \(but frage, answer\)"),
        ("q.csv", "", "has no column question or query .but no header"),
        ("q.csv", 'question,answer\n"q,a\n', r"q\.csv: unexpected end of data after line 1; check its quotes"),
        (
            "q.csv",
            "question,answer,Doc,page\nq,a,a.pdf,1\n",
            r"q\.csv: has no column document or .* \(but question, answer, doc, page\); did you mean doc\?$",
        ),
        ("q.jsonl", '{"question": "q", "answer": "a", "pages": [1]}', r"q\.jsonl: has no column document or [^;]*$"),
        ("q.csv", "question,anwser\nq,a\n", r"has no column answer or .*; did you mean anwser\?"),
        ("q.json", "{", r"q\.json: is no JSON"),
        ("q.json", "{}", r"q\.json: holds no list of questions"),
    ],
)
def test_a_file_that_is_no_list_of_questions_is_an_error(tmp_path: Path, name: str, text: str, reason: str):
    with pytest.raises(DataError, match=reason):
        own(tmp_path, name, text).questions()


def test_files_that_are_not_read_are_an_error(tmp_path: Path):
    with pytest.raises(UsageError, match="by the file's suffix"):
        OwnQuestions(tmp_path / "q.xlsx")
    with pytest.raises(UsageError, match=r"no such file or folder: .*gone"):
        OwnQuestions(tmp_path / "q.csv", [tmp_path / "gone"])
    (tmp_path / "q.csv").write_bytes(b"question,answer\n\xff,a\n")
    with pytest.raises(DataError, match=r"isn't UTF-8 text .byte 16.; save it as UTF-8"):
        OwnQuestions(tmp_path / "q.csv").questions()
    with pytest.raises(DataError, match=r"q2\.csv: can't be read: No such file"):
        OwnQuestions(tmp_path / "q2.csv").questions()


# ------------------------------------------------------------------------------------- the reference's JSON


def as_task(asked: Asked) -> Task:
    gold = [Evidence(ref=PageRef(document=asked.document, page=page)) for page in asked.pages]
    return Task(
        id=asked.id,
        question=asked.question,
        answers=asked.answers,
        gold=gold,
        hops=asked.hops,
        kind=asked.kind,
        document=asked.document or None,
        meta=asked.meta,
    )


def test_the_references_json_survives_a_round_trip(tmp_path: Path):
    rows = [dict(row) for row in made.VIDOSEEK]
    rows[0]["meta_info"] = {**made.VIDOSEEK[0]["meta_info"], "origin_query": "When?", "difficulty": 3}
    tasks = [as_task(read_unified(Row("", row), "v", "v-")) for row in rows]
    assert write_unified(tmp_path / "out.json", tasks) == []
    assert json.loads((tmp_path / "out.json").read_text()) == {"examples": rows}


def test_other_tasks_are_written_so_that_they_come_back(tmp_path: Path):
    task = Task(
        id="t",
        question="q",
        answers=["a", "b"],
        gold=[Evidence(ref=PageRef(document="d.pdf", page=4))],
        hops=2,
        kind="chart",
        document="d.pdf",
    )
    write_unified(tmp_path / "out.json", [task])
    (row,) = json.loads((tmp_path / "out.json").read_text())["examples"]
    again = as_task(read_unified(Row("", row), "unknown"))
    assert again.model_copy(update={"meta": {}}) == task


def test_what_the_references_json_cannot_hold_is_named(tmp_path: Path):
    box = Box(x1=0, y1=0, x2=1, y2=1)
    gold = [Evidence(ref=PageRef(document=name, page=1), box=box) for name in ("a.pdf", "b.pdf")]
    problems = write_unified(tmp_path / "out.json", [Task(id="t", question="q", gold=gold)])
    assert [problem.reason for problem in problems] == [
        "gold pages in other documents than a.pdf: b.pdf page 1",
        "gold boxes; the format has pages only",
        "has no gold answer; its reference_answer is empty",
    ]


# --------------------------------------------------------------------------------------- files and names


def test_a_zip_writes_nothing_outside_its_folder_and_one_bad_file_stops_no_other(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for name in ("../out.pdf", "/abs.pdf", "c:/win.pdf", "ok/one.pdf", "ok/two.pdf", "ok/three.txt"):
            archive.writestr(name, name * 50)
    data = bytearray((tmp_path / "z.zip").read_bytes())
    place = data.index(b"ok/two.pdfok/two.pdf")
    data[place + 20 : place + 30] = b"0123456789"
    (tmp_path / "z.zip").write_bytes(data)
    problems: list[Problem] = []
    folder = unzip(tmp_path / "z.zip", tmp_path / "in/deep", (".pdf",), problems, lambda _: None)
    assert [path.name for path in files_in(tmp_path, ".pdf", ".txt")] == ["one.pdf"]
    assert (folder / "ok/one.pdf").read_text() == "ok/one.pdf" * 50
    assert [problem.where.partition(": ")[2] for problem in problems] == [
        "../out.pdf",
        "/abs.pdf",
        "c:/win.pdf",
        "ok/two.pdf",
    ]
    (tmp_path / "no.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"no\.zip: can't be read as a zip"):
        unzip(tmp_path / "no.zip", tmp_path, (".pdf",), [], lambda _: None)


def document(id: str, name: str) -> Document:
    return Document(id=id, name=name, names=[name], kind="pdf", pages=3, stored=3)


def test_documents_are_found_by_the_names_that_people_write():
    names = {"1": "x/Report.pdf", "2": "y/a.pdf", "3": "z/a.pdf", "4": "v1.2"}
    shelf = Shelf((name, document(id, name)) for id, name in names.items())
    for name in ("x/Report.pdf", "report.PDF", "Report", " x\\report.pdf"):
        assert shelf.find(name).id == "1"
    assert shelf.find("z/a.pdf").id == "3" and shelf.find("v1.2").id == "4"
    composed = Shelf([(unicodedata.normalize("NFD", "Résumé.pdf"), document("5", "x.pdf"))])
    assert composed.find(unicodedata.normalize("NFC", "résumé.pdf")).id == "5"
    with pytest.raises(DataError, match=r"'a' may be any of y/a\.pdf, z/a\.pdf; say which"):
        shelf.find("a")
    with pytest.raises(DataError, match=r"no document 'reprot\.pdf'; did you mean 'Report\.pdf'"):
        shelf.find("reprot.pdf")


def test_a_document_of_any_kind_is_found_without_its_suffix_where_only_one_is_called_so():
    names = {"1": "x/Review.pptx", "2": "y/plan.docx", "3": "y/plan.pdf", "4": "z/plan.docx"}
    shelf = Shelf((name, document(id, name)) for id, name in names.items())
    assert shelf.find("review").id == shelf.find("x/review").id == "1"
    assert shelf.find("z/plan").id == "4" and shelf.find("plan.pdf").id == "3"
    with pytest.raises(DataError, match=r"'plan' may be any of y/plan\.docx, y/plan\.pdf, z/plan\.docx; say which"):
        shelf.find("plan")
    with pytest.raises(DataError, match=r"no document 'reviews'; did you mean 'Review\.pptx'"):
        shelf.find("reviews")
    with pytest.raises(DataError, match=r"no document 'review\.pdf'"):
        shelf.find("review.pdf")


def test_gold_answers_that_do_not_score_are_listed():
    meta = {"answer": "21%", "answer_format": "Int"}
    tasks = [
        Task(id="a", question="q", answers=["fine"]),
        Task(id="b", question="q"),
        Task(id="c", question="q", answers=["x" * 10_001]),
        Task(id="d", question="q", answers=["21%"], meta=meta),
    ]
    assert [(problem.where, problem.reason.partition(" '")[0]) for problem in unscored(tasks)] == [
        ("task b", "has no gold answer: no answer to it is ever right"),
        ("task c", "the gold answer"),
        ("task d", "the gold answer"),
    ]


def test_counts_that_differ_from_the_published_ones_are_said_in_words():
    assert differences("vidoseek", 1142, 292, 5385) == []
    assert differences("vidoseek", 1140, 292, 5000) == [
        "1,140 questions; published: 1,142 (its paper and VRAG-RL's table 4)",
        "5,000 pages; published: 5,385",
    ]
    assert differences("mmlongbench", 1082, 130, 6000) == []
    assert differences("mine", 3, 1, 1) == [] and note("mine") == "" and "847" in note("mmlongbench")
    assert sum(next(iter(COUNTS[f"slidevqa:{split}"].questions)) for split in ("train", "val", "test")) == 14_484


def test_terms_that_have_to_be_accepted_are_said_with_their_place(monkeypatch: pytest.MonkeyPatch):
    def gated(*_: object, **__: object) -> str:
        raise GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gated)
    with pytest.raises(DataError, match=r"terms of use accepted first: .* page datasets/NTT-hil-insight/SlideVQA"):
        located("NTT-hil-insight/SlideVQA", ["*.parquet"])


@pytest.mark.parametrize(
    ("family", "split", "wanted", "unwanted"),
    [
        (slidevqa.FAMILY, "test", ["data/test-00000-of-00024.parquet"], ["data/train-00000-of-00100.parquet"]),
        (vidoseek.FAMILY, "vidoseek", ["vidoseek.json", "vidoseek_pdf_document.zip"], ["slidevqa_pdf_document.zip"]),
        (mmlongbench.FAMILY, "train", ["data/train-00000-of-00001.parquet", "documents/a.pdf"], ["README.md"]),
    ],
)
def test_the_hub_is_asked_for_the_files_of_one_split(
    family: slidevqa.Family, split: str, wanted: list[str], unwanted: list[str]
):
    patterns = family.patterns(split)
    found = huggingface_hub.utils.filter_repo_objects([*wanted, *unwanted], allow_patterns=patterns)
    assert list(found) == wanted
