"""Page images → vectors → search, as a person and as a program use it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.colours import COLOURS, ColourEncoder
from tests.papers import write_pdf
from vrag.cli import main
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
from vrag.embed import embed, make_index, open_index
from vrag.errors import CorpusError, InfrastructureError, UsageError
from vrag.index.vectors import EncoderName
from vrag.retriever import VisualRetriever, open_retriever, way_of

NAME = "tests.colours:ColourEncoder"


def vrag(*args: object) -> int:
    return main([str(arg) for arg in args])


def picture(path: Path, colour: str, corner: int = 210) -> None:
    """A white page with a square of one colour, and no text; its name doesn't tell the colour."""
    image = Image.new("RGB", (400, 400), "white")
    ImageDraw.Draw(image).rectangle((corner, corner, corner + 180, corner + 180), COLOURS[colour])
    image.save(path)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for colour in COLOURS:
        picture(folder / f"{colour[:2]}.png", colour)
    write_pdf(folder / "words.pdf", ["a page that says red", "a page that says nothing of it"])
    return folder


@pytest.fixture
def corpus(docs: Path, tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "corpus")
    ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
    return corpus


def names(corpus: Corpus, query: str, by: str = "auto", k: int = 3) -> list[str]:
    hits = asyncio.run(open_retriever(corpus, by).search(query, k))  # type: ignore[arg-type]
    return [hit.ref.document for hit in hits]


def encoded(corpus: Corpus, encoder: ColourEncoder | None = None, **settings: object) -> ColourEncoder:
    encoder = encoder or ColourEncoder(**settings)  # type: ignore[arg-type]
    index = make_index(corpus, encoder, EncoderName(name=NAME, settings=settings))
    embed(corpus, encoder, index, batch=2)
    index.close()
    return encoder


def test_pages_without_text_are_found_by_what_they_look_like(corpus: Corpus):
    encoded(corpus)
    for colour in COLOURS:
        assert names(corpus, colour, "visual")[0] == f"{colour[:2]}.png"


def test_fusion_finds_both_and_says_where_each_came_from(corpus: Corpus):
    encoded(corpus)
    hits = asyncio.run(open_retriever(corpus).search("red", 4))
    found = {(hit.ref.document, hit.ref.page): hit.ranks for hit in hits}
    assert found["words.pdf", 1]["text"] == 1
    assert found["re.png", 1] == {"visual": 1}
    assert {hits[0].ref.document, hits[1].ref.document} == {"words.pdf", "re.png"}
    assert names(corpus, "red", "text") == ["words.pdf"]
    assert (way_of(corpus, "auto"), way_of(corpus, "visual")) == ("fused", "visual")


def test_without_vectors_search_is_by_text_and_visual_search_says_what_to_do(corpus: Corpus):
    assert names(corpus, "red") == ["words.pdf"] and way_of(corpus, "auto") == "text"
    with pytest.raises(UsageError, match="--encoder MODEL"):
        open_retriever(corpus, "visual")


def test_a_rerun_encodes_only_what_is_new_and_drops_what_is_gone(corpus: Corpus, docs: Path):
    assert encoded(corpus).pages == 6
    assert encoded(corpus).pages == 0
    (docs / "bl.png").unlink()
    picture(docs / "another.png", "yellow", 10)
    ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
    retriever = open_retriever(corpus, "visual")  # before the vectors follow: what is gone isn't shown
    assert "bl.png" not in [hit.ref.document for hit in asyncio.run(retriever.search("blue", 9))]
    assert encoded(corpus).pages == 1
    assert open_index(corpus).ids() == {page.id for page in corpus.pages()}
    assert set(names(corpus, "yellow", "visual", 2)) == {"another.png", "ye.png"}


@pytest.mark.parametrize("by", ["visual", "fused"])
def test_others_take_the_places_of_pages_that_left_the_corpus_and_not_yet_its_vectors(
    corpus: Corpus, docs: Path, by: str
):
    encoded(corpus)
    best = names(corpus, "red", "visual", k=5)
    for name in set(best[:3]) - {"words.pdf"}:
        (docs / name).unlink()
    ingest([docs], corpus, IngestOptions(workers=1, ocr="off"))
    assert len(names(corpus, "red", by, k=2)) == 2
    left = corpus.count()
    assert len(names(corpus, "red", "visual", k=left)) == len(names(corpus, "red", "visual", k=100)) == left


def test_a_folder_that_a_kill_left_without_a_catalogue_is_no_index_and_stops_nothing(corpus: Corpus):
    corpus.vectors.mkdir()
    assert names(corpus, "red") == ["words.pdf"]
    assert encoded(corpus).pages == 6
    assert names(corpus, "blue", "visual")[0] == "bl.png"


def test_a_page_that_cannot_be_encoded_is_named_and_tried_again(corpus: Corpus):
    encoder = ColourEncoder(unlucky="green")
    index = make_index(corpus, encoder, EncoderName(name=NAME))
    report = embed(corpus, encoder, index, batch=4)
    assert [(one.document, one.page, one.stage) for one in report.failures] == [("gr.png", 1, "encode")]
    assert "hurts its eyes" in report.failures[0].reason
    assert (report.added, report.pages) == (5, 5)
    again = embed(corpus, ColourEncoder(), index)
    assert (again.added, again.pages, again.failures) == (1, 6, [])


def test_a_page_image_that_is_damaged_stops_nothing(corpus: Corpus):
    page = next(page for page in corpus.pages() if page.ref.document == "re.png")
    next((corpus.folder / "pages").rglob(f"{page.id}.jpg")).write_bytes(b"no image")
    index = make_index(corpus, ColourEncoder(), EncoderName(name=NAME))
    report = embed(corpus, ColourEncoder(), index)
    assert [one.document for one in report.failures] == ["re.png"]
    assert report.pages == 5


def test_vectors_of_another_encoder_are_refused(corpus: Corpus):
    encoded(corpus)
    with pytest.raises(CorpusError, match="another encoder"):
        encoded(corpus, revision=1)


def test_an_index_that_fails_is_a_failure_of_infrastructure(corpus: Corpus):
    encoded(corpus)
    retriever = open_retriever(corpus, "visual")
    for file in corpus.vectors.glob("*.i8"):
        file.write_bytes(b"")
    with pytest.raises(InfrastructureError, match="index again"):
        asyncio.run(retriever.search("red", 1))


def test_an_encoder_of_another_width_is_refused(corpus: Corpus):
    encoded(corpus)
    wide = ColourEncoder()
    wide.dim = 4
    with pytest.raises(UsageError, match="4 dimensions"):
        VisualRetriever(corpus, open_index(corpus), wide)


def test_the_command_line_encodes_searches_and_remembers_the_encoder(docs: Path, capsys: pytest.CaptureFixture[str]):
    assert vrag("index", docs, "-c", "mine", "--workers", 1, "--ocr", "off", "--encoder", NAME) == 0
    assert "6 pages have vectors (6 encoded, 0 failures" in capsys.readouterr().out
    assert vrag("search", "blue", "-c", "mine", "--by", "visual", "-k", 1) == 0
    assert "bl.png" in capsys.readouterr().out
    assert vrag("search", "red", "-c", "mine") == 0
    shown = capsys.readouterr().out
    assert "text 1" in shown and "visual 1" in shown
    picture(docs / "late.png", "green", 10)
    assert vrag("index", docs, "-c", "mine", "--workers", 1, "--ocr", "off", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["vectors"]["added"], report["vectors"]["pages"]) == (1, 7)


def test_the_kernel_is_chosen_on_the_command_line(corpus: Corpus, capsys: pytest.CaptureFixture[str]):
    encoded(corpus)
    found = set[str]()
    for kernel in ("auto", "numba", "numpy", "torch"):
        assert vrag("search", "blue", "-c", corpus.folder, "--by", "visual", "-k", 1, "--kernel", kernel, "--json") == 0
        found.add(json.loads(capsys.readouterr().out)["hits"][0]["ref"]["document"])
    assert found == {"bl.png"}
    assert vrag("search", "blue", "-c", corpus.folder, "--kernel", "torch", "--device", "cuda:99") == 2
    assert vrag("search", "blue", "-c", corpus.folder, "--kernel", "numpy", "--device", "cpu") == 2
    assert "not for 'numpy'" in capsys.readouterr().err


def test_settings_of_an_encoder_come_from_the_command_line(docs: Path, capsys: pytest.CaptureFixture[str]):
    chosen = ("--encoder", NAME, "--encoder-set", "unlucky=blue")
    assert vrag("index", docs, "-c", "mine", "--workers", 1, "--ocr", "off", *chosen) == 0
    out, err = capsys.readouterr()
    assert "5 pages have vectors" in out and "bl.png" in err and "hurts its eyes" in err
    assert vrag("index", docs, "-c", "mine", "--encoder-set", "unlucky=red") == 2
    assert "give both" in capsys.readouterr().err
    assert vrag("index", docs, "-c", "mine", "--encoder", "nothing:here") == 2
