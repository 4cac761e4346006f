"""FAULTS rows 5 and 6: damaged, hostile and odd files: a typed outcome each, and none stops the others."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.papers import ZERO_PAGES, raw_pdf, write_pdf, write_report
from vrag.corpus.ingest import IngestOptions, ingest
from vrag.corpus.store import Corpus
from vrag.types import PageRef

OPTIONS = IngestOptions(workers=1, ocr="off")


@pytest.fixture
def corpus(tmp_path: Path):
    with Corpus.create(tmp_path / "corpus") as made:
        yield made


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Flip some bytes, cut the end off, or splice a piece of another document in."""
    kind = rng.choice(["flip", "truncate", "splice"])
    if kind == "truncate":
        return data[: rng.randrange(1, len(data))]
    changed = bytearray(data)
    if kind == "splice":
        at, size = rng.randrange(len(data)), rng.randrange(1, 400)
        start = rng.randrange(len(other))
        changed[at : at + rng.randrange(size)] = other[start : start + size]
        return bytes(changed)
    for _ in range(rng.choice([1, 5, 30, 200])):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def seeds(folder: Path) -> list[bytes]:
    """Documents of several makes, to be damaged."""
    from reportlab.pdfgen.canvas import Canvas

    made = [write_report(folder / "text.pdf", 1, 3)]
    made.append(write_pdf(folder / "secret.pdf", ["x", "y"], password="pw"))
    picture = folder / "picture.pdf"
    Image.radial_gradient("L").save(folder / "g.png")
    canvas = Canvas(str(picture), pagesize=(200, 200), pageCompression=0)
    canvas.drawImage(str(folder / "g.png"), 10, 10, 100, 100)
    canvas.linearGradient(0, 0, 200, 200, ["red", "blue"])
    canvas.acroForm.textfield(name="field", x=20, y=150)
    canvas.save()
    return [path.read_bytes() for path in [*made, picture]]


def test_mutated_documents_never_harm_the_run_or_their_neighbours(corpus: Corpus, tmp_path: Path, full: bool):
    rng = random.Random(5)
    originals = seeds(tmp_path / "seeds")
    docs = tmp_path / "docs"
    docs.mkdir()
    count = 5000 if full else 500
    for number in range(count):
        data = mutate(rng, rng.choice(originals), rng.choice(originals))
        (docs / f"{number:05}.pdf").write_bytes(data)
        if number % 50 == 0:
            write_report(docs / f"healthy{number:05}.pdf", number, 2)
    gaps: list[float] = []
    last = time.monotonic()

    def watch(_: object) -> None:
        nonlocal last
        gaps.append(time.monotonic() - last)
        last = time.monotonic()

    report = ingest([docs], corpus, IngestOptions(workers=2, ocr="off", page_seconds=20), watch)
    named = {failure.document for failure in report.failures}
    documents = {name: document for document in corpus.documents() for name in document.names}
    for name in sorted(path.name for path in docs.iterdir()):
        document = documents.get(name)
        whole = document is not None and document.pages is not None and document.stored == document.pages
        assert whole != (name in named), f"{name} must be stored whole or named, and not both"
        if name.startswith("healthy"):
            assert whole and document is not None and document.stored == 2
    assert all(failure.reason and failure.kind for failure in report.failures)
    assert len(named) > count / 20, "the mutations must hurt, or this test shows nothing"
    assert max(gaps) < 30
    assert ingest([docs], corpus, OPTIONS).pages_added == 0


def test_odd_files_have_a_typed_outcome_each(corpus: Corpus, tmp_path: Path):
    docs = tmp_path / "docs"
    write_pdf(docs / "poster.pdf", ["large"], size=(14400, 14400))
    write_pdf(docs / "strip.pdf", ["thin"], size=(14400, 20))
    write_pdf(docs / "secret.pdf", ["hidden"], password="pw")
    (docs / "zero.pdf").write_bytes(ZERO_PAGES)
    (docs / "empty.pdf").write_bytes(b"")
    (docs / "empty too.png").write_bytes(b"")
    write_pdf(docs / "really a pdf.png", ["misnamed document"])
    Image.new("RGB", (30, 20), "red").save(docs / "really an image.pdf", "PNG")
    (docs / "a page.pdf").write_text("<html>not a document</html>")
    report = ingest([docs], corpus, OPTIONS)
    outcomes = {failure.document: (failure.kind, failure.page) for failure in report.failures}
    assert outcomes == {
        "strip.pdf": ("BudgetExceeded", 1),
        "secret.pdf": ("UnreadableDocument", None),
        "zero.pdf": ("UnreadableDocument", None),
        "empty.pdf": ("UnreadableDocument", None),
        "empty too.png": ("UnreadableDocument", None),
        "a page.pdf": ("UnsupportedFormat", None),
    }
    poster = corpus.page(corpus.resolve(PageRef(document="poster.pdf", page=1)))
    assert poster.width * poster.height <= 32_100_000
    assert corpus.search("misnamed", 1)[0].ref.document == "really a pdf.png"
    assert corpus.page(corpus.resolve(PageRef(document="really an image.pdf", page=1))).width == 30


def test_the_same_name_in_two_folders_and_names_of_any_script_never_collide(corpus: Corpus, tmp_path: Path):
    docs = tmp_path / "docs"
    names = [
        "年度报告.pdf",
        "отчёт.pdf",
        "a b'c\".pdf",
        "naïve.pdf",
        "nai\u0308ve.pdf",
        "🙂.pdf",
        "x/same.pdf",
        "y/same.pdf",
    ]
    for number, name in enumerate(names):
        write_pdf(docs / name, [f"text{number}"])
    raw = os.fsencode(docs) + b"/\xff\xfe.pdf"
    write_pdf(tmp_path / "tmp.pdf", ["bytes"])
    os.rename(os.fsencode(tmp_path / "tmp.pdf"), raw)  # noqa: PTH104  a name that is no text
    report = ingest([docs], corpus, OPTIONS)
    assert report.failures == []
    assert report.pages_added == len(names) + 1
    ids = {corpus.resolve(PageRef(document=name, page=1)) for name in names}
    assert len(ids) == len(names)
    for number, name in enumerate(names):
        assert corpus.search(f"text{number}", 1)[0].ref.document == name
    assert corpus.search("bytes", 1)[0].ref.document == "\ufffd\ufffd.pdf"
    assert ingest([docs], corpus, OPTIONS).unchanged == len(names) + 1


def hanging_pdf() -> bytes:
    """One healthy page, one that draws for hours (each form the next one ten times), one more."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R 4 0 R 5 0 R] /Count 3 >>"]
    uses = b"/Resources << /XObject << /F %d 0 R >> >>"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] " + uses + b" /Contents %d 0 R >>"
    form = b"<< /Type /XObject /Subtype /Form /BBox [0 0 200 200] " + uses + b" /Length %d >>"
    stream = b"<< /Length %d >>\nstream\n%s\nendstream"
    depth, first = 14, 8
    draw = b"/F Do " * 10
    objects += [page % (first, 6), page % (first, 7), page % (first, 6)]
    objects += [stream % (1, b" "), stream % (len(draw), draw)]
    for level in range(depth):
        inner = draw if level < depth - 1 else b"0 0 10 10 re f "
        objects.append(form % (first + level + 1, len(inner)) + b"\nstream\n%s\nendstream" % inner)
    objects.append(b"null")
    return raw_pdf(objects)


def test_a_page_that_takes_too_long_is_given_up_and_the_next_ones_are_read(corpus: Corpus, tmp_path: Path):
    (tmp_path / "slow.pdf").write_bytes(hanging_pdf())
    # the page also eats memory as it draws: the time must run out first, on a fast machine too
    options = IngestOptions(workers=1, ocr="off", page_seconds=2, page_memory=8 << 30)
    report = ingest([tmp_path / "slow.pdf"], corpus, options)
    assert [(failure.page, failure.kind) for failure in report.failures] == [(2, "BudgetExceeded")]
    assert "longer than 2 s" in report.failures[0].reason
    assert [page.ref.page for page in corpus.pages()] == [1, 3]


def test_a_page_that_asks_for_too_much_memory_fails_alone(corpus: Corpus, tmp_path: Path):
    side = 14_000
    uses = b"/Resources << /XObject << /I 5 0 R >> >>"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] " + uses + b" /Contents 4 0 R >>"
    draw = b"200 0 0 200 0 0 cm /I Do"
    image = (
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /BitsPerComponent 8 /ColorSpace /DeviceRGB"
        b" /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream"
    )
    import zlib

    pack = zlib.compressobj()
    data = b"".join(pack.compress(bytes(side * 3)) for _ in range(side)) + pack.flush()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        page,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(draw), draw),
        image % (side, side, len(data), data),
    ]
    (tmp_path / "a bomb.pdf").write_bytes(raw_pdf(objects))
    write_report(tmp_path / "b healthy.pdf", 1, 2)
    paths = [tmp_path / "a bomb.pdf", tmp_path / "b healthy.pdf"]
    report = ingest(paths, corpus, IngestOptions(workers=1, ocr="off", page_memory=500 << 20))
    assert corpus.page(corpus.resolve(PageRef(document="b healthy.pdf", page=2))).text.startswith("Report 1 page 2")
    bomb = [failure for failure in report.failures if failure.document == "a bomb.pdf"]
    drawn = [page for page in corpus.pages() if page.ref.document == "a bomb.pdf"]
    assert len(bomb) + len(drawn) == 1, "named, or drawn without the memory"
