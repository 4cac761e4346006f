"""What kind of office document a file is, by its content."""

from __future__ import annotations

import codecs
import zipfile
from pathlib import Path

import pytest

from tests.offices import write_docx, write_pptx, write_xlsx
from vrag.corpus.office import SUFFIXES, _csv_filter, suffix_of
from vrag.corpus.reader import sniff
from vrag.errors import DocumentError, UnreadableDocument, UnsupportedFormat

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def ole(stream: str) -> bytes:
    return OLE + bytes(600) + f"{stream}\0".encode("utf-16-le") + bytes(600)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_the_kind_goes_by_the_content_whatever_the_name_says(tmp_path: Path) -> None:
    odt = archive(tmp_path / "1", mimetype=b"application/vnd.oasis.opendocument.text")
    made = {
        ".docx": write_docx(tmp_path / "a.pdf", ["x"]),
        ".xlsx": write_xlsx(tmp_path / "b.docx", [["x"]]),
        ".pptx": write_pptx(tmp_path / "c", ["x"]),
        ".odt": odt,
    }
    raw = {
        ".html": b"\xef\xbb\xbf\n<!DOCTYPE HTML><title>x</title>",
        ".doc": ole("WordDocument"),
        ".ppt": ole("PowerPoint Document"),
        ".xls": ole("Workbook"),
    }
    for suffix, content in raw.items():
        made[suffix] = tmp_path / ("page.HTML" if suffix == ".html" else f"raw{suffix}.png")
        made[suffix].write_bytes(content)
    assert {suffix: (sniff(path), suffix_of(path)) for suffix, path in made.items()} == {
        suffix: ("office", suffix) for suffix in made
    }
    assert set(made) <= set(SUFFIXES)


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (b"PK\x03\x04 and nothing else", UnreadableDocument, "damaged"),
        (ole("EncryptedPackage"), UnreadableDocument, "without the password"),
        (ole("Thumbs"), UnsupportedFormat, "neither a Word"),
    ],
)
def test_what_only_begins_like_one_is_refused_with_its_reason(
    content: bytes, kind: type[DocumentError], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "x.docx").write_bytes(content)
    assert sniff(tmp_path / "x.docx") == "office"
    with pytest.raises(kind, match=reason):
        suffix_of(tmp_path / "x.docx")


def test_csv_goes_by_its_name_and_rtf_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "prices.CSV").write_text("item,price\nlamp,30\n")
    (tmp_path / "letter.doc").write_bytes(b"{\\rtf1 hello}")
    found = {path.name: (sniff(path), suffix_of(path)) for path in tmp_path.iterdir()}
    assert found == {"prices.CSV": ("office", ".csv"), "letter.doc": ("office", ".rtf")}


@pytest.mark.parametrize(
    ("content", "delimiter", "charset"),
    [
        (b"item,price\nlamp;a,30\n", ",", 76),
        ("Größe;Preis, netto\n".encode(), ";", 76),
        ("Größe;Preis\n".encode("cp1252"), ";", 1),
        (b"\xef\xbb\xbfitem\tprice\n", "\t", 76),
        (b'"Name; first",Price\n', ",", 76),
        (b'"Name;\nfirst";"a, b, ""c"";",Price\n', ";", 76),
        (codecs.BOM_UTF16_LE + "Größe;Preis\n".encode("utf-16-le"), ";", 65535),
        (codecs.BOM_UTF16_BE + "Größe,Preis\n".encode("utf-16-be"), ",", 65535),
        ("ä".encode() * 40_000, ";", 76),  # what is looked at ends within a letter
    ],
)
def test_a_table_of_text_says_what_divides_it_and_how_it_is_written(
    content: bytes, delimiter: str, charset: int, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    assert f":{ord(delimiter)},34,{charset},1," in _csv_filter(tmp_path / "x.csv")


def test_html_in_the_name_of_a_pdf_is_a_download_that_failed(tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_text("<!DOCTYPE html><html><body>404 not found</body></html>")
    with pytest.raises(UnsupportedFormat, match="neither a PDF"):
        sniff(tmp_path / "report.pdf")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("guide.html", b"<p>A PDF begins with %PDF-1.4", "office"),
        ("formats.csv", b"format,mark\nPDF,%PDF-1.4", "office"),
        ("letter.pdf", b"{\\rtf1 %PDF-1.4}", "office"),
        ("mail.pdf", b"From: me\n\n%PDF-1.4", "pdf"),
        ("page.html", b"\n%PDF-1.4", "pdf"),
    ],
)
def test_what_only_mentions_the_mark_of_a_pdf_is_none(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert sniff(tmp_path / name) == kind


def test_an_archive_of_other_things_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match="no office document"):
        suffix_of(archive(tmp_path / "x.zip", notes=b"x"))
