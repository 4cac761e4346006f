"""Real PDFs and corpora for tests: small, quick to make, the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reportlab.lib.pagesizes import A5
from reportlab.pdfgen.canvas import Canvas

WORDS = [
    "amber",
    "basalt",
    "cobalt",
    "dune",
    "ember",
    "fjord",
    "garnet",
    "harbour",
    "indigo",
    "juniper",
    "kelp",
    "larch",
]


def write_pdf(
    path: Path,
    pages: Sequence[str | Sequence[str]],
    *,
    size: tuple[float, float] = A5,
    password: str | None = None,
) -> Path:
    """A PDF with a page for each entry: one line of text, or several."""
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas = Canvas(str(path), pagesize=size, invariant=1, encrypt=password)
    for lines in pages:
        canvas.setFont("Helvetica", 12)
        for row, line in enumerate([lines] if isinstance(lines, str) else lines):
            canvas.drawString(40, size[1] - 60 - 24 * row, line)
        canvas.showPage()
    canvas.save()
    return path


def sentence(seed: int, count: int = 8) -> str:
    """Words that depend on `seed` alone."""
    return " ".join(WORDS[(seed * 7 + index * index * 3 + index) % len(WORDS)] for index in range(count))


def write_report(path: Path, seed: int, pages: int) -> Path:
    """A PDF whose pages are told apart by a number and share their words."""
    texts = [[f"Report {seed} page {number}", sentence(seed + number)] for number in range(1, pages + 1)]
    return write_pdf(path, texts)


def raw_pdf(objects: Sequence[bytes]) -> bytes:
    """A PDF of these objects (numbered from 1, the first one the catalogue), correctly cross-referenced."""
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)


def mapped_pdf(content: bytes, unicode: Mapping[str, str], size: tuple[int, int] = (600, 800)) -> bytes:
    """One page of the operators `content`, in a font /F whose letters mean what `unicode` says, in UTF-16 as hex."""
    pairs = " ".join(f"<{ord(letter):02x}> <{code}>" for letter, code in unicode.items())
    cmap = f"1 begincodespacerange <00> <ff> endcodespacerange {len(unicode)} beginbfchar {pairs} endbfchar".encode()
    return raw_pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R"
            b" /Resources << /Font << /F 5 0 R >> >> >>" % size,
            b"<< /Length %d >> stream\n%s\nendstream" % (len(content), content),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>",
            b"<< /Length %d >> stream\n%s\nendstream" % (len(cmap), cmap),
        ]
    )


ZERO_PAGES = raw_pdf([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>"])
