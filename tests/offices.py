"""Small office documents, as zipped XML, and a program that stands in for LibreOffice."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_FORMAT = "application/vnd.openxmlformats-officedocument"
_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_P = "http://schemas.openxmlformats.org/presentationml/2006/main"
_A = "http://schemas.openxmlformats.org/drawingml/2006/main"


def write_docx(path: Path, pages: Sequence[str], picture: str | None = None) -> Path:
    """A paragraph on each page; `picture`: the URL of one that the document links to, 10 cm wide."""
    turn = '<w:r><w:br w:type="page"/></w:r>'
    body = "".join(
        f"<w:p>{turn if number else ''}<w:r><w:t>{escape(text)}</w:t></w:r></w:p>" for number, text in enumerate(pages)
    )
    if picture is not None:
        body += _PICTURE
    main = f'<w:document xmlns:w="{_W}" xmlns:r="{_OFFICE}" {_PICTURE_NAMES}><w:body>{body}</w:body></w:document>'
    types = {"/word/document.xml": f"{_FORMAT}.wordprocessingml.document.main+xml"}
    parts = {"word/document.xml": main}
    if picture is not None:
        parts["word/_rels/document.xml.rels"] = _relations(("image", picture, "External"))
    return _write(path, types, "word/document.xml", parts)


def write_xlsx(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """A sheet of these cells; what begins with "=" is a formula."""
    cells = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
    parts = {
        "xl/workbook.xml": f'<workbook xmlns="{_S}" xmlns:r="{_OFFICE}"><sheets>'
        '<sheet name="Sales" sheetId="1" r:id="r0"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relations(("worksheet", "worksheets/sheet1.xml", "")),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_S}"><sheetData>{cells}</sheetData></worksheet>',
    }
    types = {
        "/xl/workbook.xml": f"{_FORMAT}.spreadsheetml.sheet.main+xml",
        "/xl/worksheets/sheet1.xml": f"{_FORMAT}.spreadsheetml.worksheet+xml",
    }
    return _write(path, types, "xl/workbook.xml", parts)


def write_pptx(path: Path, slides: Sequence[str]) -> Path:
    """A slide of 25.4 x 19.05 cm for each text."""
    listed = "".join(f'<p:sldId id="{256 + at}" r:id="r{at}"/>' for at in range(len(slides)))
    names = [f"slides/slide{at + 1}.xml" for at in range(len(slides))]
    parts = {
        "ppt/presentation.xml": f'<p:presentation xmlns:p="{_P}" xmlns:r="{_OFFICE}"><p:sldIdLst>{listed}</p:sldIdLst>'
        '<p:sldSz cx="9144000" cy="6858000"/></p:presentation>',
        "ppt/_rels/presentation.xml.rels": _relations(*(("slide", name, "") for name in names)),
    }
    parts |= {f"ppt/{name}": _slide(text) for name, text in zip(names, slides, strict=True)}
    types = {"/ppt/presentation.xml": f"{_FORMAT}.presentationml.presentation.main+xml"}
    types |= {f"/ppt/{name}": f"{_FORMAT}.presentationml.slide+xml" for name in names}
    return _write(path, types, "ppt/presentation.xml", parts)


def _cell(text: str) -> str:
    if text.startswith("="):
        return f"<c><f>{escape(text[1:])}</f></c>"
    return f'<c t="inlineStr"><is><t>{escape(text)}</t></is></c>'


def _slide(text: str) -> str:
    place = '<a:xfrm><a:off x="914400" y="914400"/><a:ext cx="7315200" cy="1828800"/></a:xfrm>'
    shape = (
        '<p:sp><p:nvSpPr><p:cNvPr id="2" name="Text"/><p:cNvSpPr txBox="1"/><p:nvPr/></p:nvSpPr>'
        f'<p:spPr>{place}<a:prstGeom prst="rect"><a:avLst/></a:prstGeom></p:spPr>'
        f'<p:txBody><a:bodyPr/><a:p><a:r><a:rPr sz="3200"/><a:t>{escape(text)}</a:t></a:r></a:p></p:txBody></p:sp>'
    )
    root = '<p:nvGrpSpPr><p:cNvPr id="1" name=""/><p:cNvGrpSpPr/><p:nvPr/></p:nvGrpSpPr><p:grpSpPr/>'
    return f'<p:sld xmlns:p="{_P}" xmlns:a="{_A}"><p:cSld><p:spTree>{root}{shape}</p:spTree></p:cSld></p:sld>'


_PICTURE_NAMES = (
    f'xmlns:a="{_A}" xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture" '
    'xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"'
)
_SIZE = 'cx="3600000" cy="3600000"'
_PICTURE = (
    f'<w:p><w:r><w:drawing><wp:inline><wp:extent {_SIZE}/><wp:docPr id="1" name="p"/><a:graphic>'
    '<a:graphicData uri="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:pic>'
    '<pic:nvPicPr><pic:cNvPr id="1" name="p"/><pic:cNvPicPr/></pic:nvPicPr>'
    '<pic:blipFill><a:blip r:link="r0"/><a:stretch><a:fillRect/></a:stretch></pic:blipFill>'
    f'<pic:spPr><a:xfrm><a:off x="0" y="0"/><a:ext {_SIZE}/></a:xfrm><a:prstGeom prst="rect"/></pic:spPr>'
    "</pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
)


def _relations(*targets: tuple[str, str, str]) -> str:
    rows = "".join(
        f'<Relationship Id="r{at}" Type="{_OFFICE}/{kind}" Target="{escape(target)}"'
        f"{f' TargetMode={chr(34)}{mode}{chr(34)}' if mode else ''}/>"
        for at, (kind, target, mode) in enumerate(targets)
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{rows}</Relationships>'


def _write(path: Path, types: Mapping[str, str], main: str, parts: Mapping[str, str]) -> Path:
    listed = "".join(f'<Override PartName="{name}" ContentType="{kind}"/>' for name, kind in types.items())
    default = (
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        head = '<?xml version="1.0" encoding="UTF-8"?>'
        archive.writestr(
            "[Content_Types].xml", f'{head}<Types xmlns="{_PACKAGE}/content-types">{default}{listed}</Types>'
        )
        archive.writestr("_rels/.rels", head + _relations(("officeDocument", main, "")))
        for name, content in parts.items():
            archive.writestr(name, head + content)
    return path


def fake_soffice(folder: Path, does: str) -> Path:
    """A program `soffice` in `folder`, which logs its process id and then does a line of shell: $1 is the document,
    $out the folder for the PDF. Returns the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, program = folder / "log", folder / "soffice"
    log.touch()
    find = 'while [ $# -gt 1 ]; do [ "$1" = --outdir ] && out=$2; shift; done'
    program.write_text(f"#!/bin/sh\necho $$ >> {log}\n{find}\n{does}\n")
    program.chmod(0o755)
    return log
