"""What any text index of a corpus does, whichever it is: FTS5 in the catalogue, or tantivy beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.catalogues import Texts
from vrag.errors import CorpusError

REPORT = ["The revenue of the harbour grew to 1,234.5 million", "The harbour was built in 1890"]
MANUAL = ["How to season a cast iron pan; pan, pan and pan", "Whether pans rust"]
CHINESE = ["北京的收入增长了百分之十", "上海 ﬁscal résumé"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")  # a commit of tantivy syncs eight files, and no test here is about durability
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as made:
        yield Path(made)


@pytest.fixture(params=["fts5", "tantivy"])
def texts(request: pytest.FixtureRequest, folder: Path) -> Iterator[Texts]:
    made = Texts(folder / "corpus", request.param)
    made.put("report.pdf", REPORT, follow=False)
    made.put("manual.pdf", MANUAL, follow=False)
    made.put("手册.pdf", CHINESE)
    assert made.corpus.text_index == request.param
    yield made
    made.corpus.close()


@pytest.fixture(autouse=True)
def no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of tantivy in which FTS5 answers would show nothing."""

    def refuse(*said: object) -> None:
        raise AssertionError(said)

    monkeypatch.setattr("vrag.corpus.fulltext.TextSearch._say", refuse)


def test_the_page_with_more_of_the_words_comes_first(texts: Texts):
    assert texts.search("What was the revenue of the harbour?")[:2] == [("report.pdf", 1), ("report.pdf", 2)]
    assert texts.search("harbour 1890")[0] == ("report.pdf", 2)


def test_any_word_is_enough_and_scores_fall(texts: Texts):
    found = texts.corpus.search("pan harbour unheard", 10)
    assert (found[0].ref.document, found[0].ref.page) == ("manual.pdf", 1)
    assert len(found) == 3
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


def test_a_rare_word_weighs_more_than_a_frequent_one(texts: Texts):
    texts.put("filler.pdf", [f"common word{number}" for number in range(30)] + ["rare word99"])
    assert texts.search("common rare", 1) == [("filler.pdf", 31)]


@pytest.mark.parametrize("query", ["收入增长", "京", "增长了", "手册 京"])
def test_chinese_is_found_by_a_part_of_a_sentence_and_by_one_character(texts: Texts, query: str):
    assert texts.search(query)[0] == ("手册.pdf", 1)
    assert texts.search("海") == [("手册.pdf", 2)]


def test_a_character_that_stands_twice_counts_twice(texts: Texts):
    texts.put("characters.pdf", ["甲乙丙丁戊己庚辛", "甲乙丙丁甲己庚辛"])
    assert texts.search("甲") == [("characters.pdf", 2), ("characters.pdf", 1)]


@pytest.mark.parametrize(
    ("query", "page"),
    [("1234.5", 1), ("1,234.5", 1), ("REVENUE", 1), ("1890", 2)],
)
def test_numbers_and_case_are_folded(texts: Texts, query: str, page: int):
    assert texts.search(query) == [("report.pdf", page)]


def test_ligatures_and_accents_are_folded(texts: Texts):
    assert texts.search("fiscal") == texts.search("resume") == texts.search("RÉSUMÉ") == [("手册.pdf", 2)]


def test_the_name_of_the_document_counts(texts: Texts):
    assert set(texts.search("manual")) == {("manual.pdf", 1), ("manual.pdf", 2)}
    assert set(texts.search("手册")) == {("手册.pdf", 1), ("手册.pdf", 2)}


def test_equal_pages_come_in_the_order_of_the_corpus_however_they_came_in(texts: Texts):
    for name in ("a.pdf", "b.pdf", "c.pdf"):  # with tantivy, a segment each
        texts.put(name, ["same twin words, more of the same twin words"] * 30)
    texts.recognise("b.pdf", 3, "same twin words, more of the same twin words")
    pages = [(name, number) for name in ("a.pdf", "b.pdf", "c.pdf") for number in range(1, 31)]
    assert texts.search("same twin words", 100) == pages
    assert texts.search("same twin words", 40) == pages[:40]
    assert texts.search("same twin words", 1) == pages[:1]


def test_a_word_of_more_than_half_of_the_pages_neither_hides_pages_nor_ranks_them(texts: Texts):
    texts.put("many.pdf", [f"zero one{number}" for number in range(40)])
    texts.put("one.pdf", ["zero zero zero one17"])
    assert texts.search("zero one17")[:2] == [("many.pdf", 18), ("one.pdf", 1)]
    assert len(texts.search("zero one17", 100)) == 41
    assert len(texts.search("zero", 100)) == 41


def test_removed_pages_are_found_no_more(texts: Texts):
    texts.remove("report.pdf")
    assert texts.search("harbour") == []
    assert texts.search("pan") == [("manual.pdf", 1)]


def test_a_page_whose_text_was_recognised_is_found_by_the_new_text_alone(texts: Texts):
    texts.recognise("report.pdf", 2, "a lighthouse")
    assert texts.search("lighthouse") == [("report.pdf", 2)]
    assert texts.search("harbour") == [("report.pdf", 1)]


def test_a_document_is_found_by_its_new_name(texts: Texts):
    texts.rename("report.pdf", "annual.pdf")
    assert texts.search("report") == []
    assert set(texts.search("annual")) == {("annual.pdf", 1), ("annual.pdf", 2)}


def test_a_content_that_left_and_comes_back_is_there_once(texts: Texts):
    texts.remove("manual.pdf")
    texts.put("manual.pdf", MANUAL)
    assert texts.search("pan") == [("manual.pdf", 1)]


@pytest.mark.parametrize("query", ["", "   ", "?!", '"', "*", "\x00", "NEAR", "🙂", "OR", "words:", "\ud800", "row:0"])
def test_a_query_without_words_of_the_corpus_finds_nothing(texts: Texts, query: str):
    assert texts.search(query) == []


@pytest.mark.parametrize(
    "query",
    ['pan"', "pan OR", "NOT pan", "name: pan", "NEAR(pan)", "pan*", "-pan", "+pan -cast", "{pan}: x", "(pan", "pan^9",
     "pan~2", "pan AND unheard", "[pan TO pan]", "/pan/", "'pan'; DROP TABLE pages --", "words:pan", "pan🙂", "pan\\"],
)  # fmt: skip
def test_operators_are_words_like_others(texts: Texts, query: str):
    assert texts.search(query)[0] == ("manual.pdf", 1)


def test_punctuation_is_no_prefix_no_phrase_and_no_field(texts: Texts):
    assert texts.search("harb*") == []
    assert texts.search('"harbour the"') == texts.search("harbour the")
    assert texts.search("state:1 row:1") == []


def test_a_query_of_100_kilobytes_is_answered(texts: Texts):
    assert set(texts.search("harbour " + "x1 y2 z3 " * 12_000)) == {("report.pdf", 1), ("report.pdf", 2)}


def test_a_query_of_10000_characters_without_a_space_is_answered(texts: Texts):
    assert texts.search("京" * 10_000) == []
    assert texts.search("a" * 10_000) == []


@pytest.mark.parametrize("k", [0, -1])
def test_no_pages_are_asked_for_and_none_come(texts: Texts, k: int):
    assert texts.search("pan", k) == []


def test_more_pages_than_there_are_can_be_asked_for(texts: Texts):
    assert len(texts.search("harbour", 10**9)) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text())
def test_any_text_is_a_safe_query(texts: Texts, query: str):
    assert len(texts.search(query, 3)) <= 3


def test_both_find_the_same_pages_for_words_of_many_pages(folder: Path):
    random = Random(0)
    words = [f"w{number}" for number in range(60)] + ["北京", "上海", "京都", "都市"]
    pages = [" ".join(random.choices(words, k=12)) for _ in range(150)]
    fts5, tantivy = Texts(folder / "one", "fts5"), Texts(folder / "other", "tantivy")
    for texts in (fts5, tantivy):
        texts.put("a.pdf", pages)
    shared = 0
    for query in [" ".join(random.choices([*words, "京", "都"], k=3)) for _ in range(40)]:
        assert set(fts5.search(query, 150)) == set(tantivy.search(query, 150)), query
        shared += len({*fts5.search(query, 10)} & {*tantivy.search(query, 10)})
    assert shared >= 320
    for texts in (fts5, tantivy):
        texts.corpus.close()


def test_a_search_may_stay_within_one_document(texts: Texts):
    everywhere = {(hit.ref.document, hit.ref.page): hit.score for hit in texts.corpus.search("pan harbour 1890", 10)}
    assert {document for document, _ in everywhere} == {"report.pdf", "manual.pdf"}
    for named in ("manual.pdf", texts.corpus.document_id("manual.pdf")):
        found = texts.corpus.search("pan harbour 1890", 10, named)
        assert [(hit.ref.document, hit.ref.page) for hit in found] == [("manual.pdf", 1)]
        # a word weighs what it weighs in the whole corpus
        assert found[0].score == pytest.approx(everywhere["manual.pdf", 1], rel=1e-5)
    assert texts.corpus.search("harbour", 1, "report.pdf") == texts.corpus.search("harbour", 1)
    assert texts.corpus.search("harbour", 10, "手册.pdf") == []
    with pytest.raises(CorpusError, match=r"no document 'gone\.pdf'"):
        texts.corpus.search("harbour", 10, "gone.pdf")
