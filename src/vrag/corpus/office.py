"""Office documents and web pages as PDF, by a headless LibreOffice.

LibreOffice parses what anyone wrote, so `vrag.corpus.worker` runs it in its own process group, which is killed with the
worker. By its defaults it also fetches what a document links to, also from the network and from any path; the profile
that it is given here forbids both, and macros.
"""

from __future__ import annotations

import codecs
import mmap
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

from vrag.errors import UnreadableDocument, UnsupportedFormat

_NEWER = (".docx", ".pptx", ".xlsx", ".docm", ".pptm", ".ppsx", ".xlsm", ".odt", ".odp", ".ods")
SUFFIXES = (*_NEWER, ".doc", ".ppt", ".pps", ".xls", ".rtf", ".csv", ".html", ".htm")
INSTALL = (
    "install LibreOffice (Debian and Ubuntu: apt-get install libreoffice-writer libreoffice-calc libreoffice-impress)"
)

_ZIP, _OLE, _RTF = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"{\\rtf"
_PARTS = {"word/": ".docx", "ppt/": ".pptx", "xl/": ".xlsx"}
_MIMETYPES = {
    b"application/vnd.oasis.opendocument.text": ".odt",
    b"application/vnd.oasis.opendocument.presentation": ".odp",
    b"application/vnd.oasis.opendocument.spreadsheet": ".ods",
}
_STREAMS = {"WordDocument": ".doc", "PowerPoint Document": ".ppt", "Workbook": ".xls", "Book": ".xls"}
_PLACES = (  # where its installers put it without a name on the PATH
    "/Applications/LibreOffice.app/Contents/MacOS/soffice",
    "C:\\Program Files\\LibreOffice\\program\\soffice.exe",
)
_ARGUMENTS = ("--headless", "--norestore", "--nolockcheck", "--nodefault", "--nofirststartwizard", "--nologo")
_UTF8, _UTF16, _WINDOWS = 76, 65535, 1  # what LibreOffice calls these character sets
_AS_TEXT = "1,,0,false,false,false,false,false,0,false"  # from the first line on; the last: formulas aren't evaluated
_SHEET = 31  # characters of a sheet's name, at most
_LOOKED = 1 << 16  # bytes of a CSV file
_SHOWN = 300  # characters of what it says

_SETTINGS = (
    ("Office.Common/Security/Scripting", "BlockUntrustedRefererLinks", "true"),  # no path and no URL is opened
    ("Office.Common/Security/Scripting", "DisableMacrosExecution", "true"),
    ("Office.Common/Security/Scripting", "MacroSecurityLevel", "3"),
    ("Inet/Settings", "ooInetProxyType", "2"),  # whatever asks nevertheless asks where nobody listens
    ("Inet/Settings", "ooInetHTTPProxyName", "127.0.0.1"),
    ("Inet/Settings", "ooInetHTTPProxyPort", "9"),
    ("Inet/Settings", "ooInetHTTPSProxyName", "127.0.0.1"),
    ("Inet/Settings", "ooInetHTTPSProxyPort", "9"),
)


def find_soffice() -> str | None:
    """The program, or None where LibreOffice isn't installed."""
    named = shutil.which("soffice") or shutil.which("libreoffice")
    return named or next((place for place in _PLACES if Path(place).is_file()), None)


def is_office(head: bytes, suffix: str) -> bool:
    """Whether a file that begins so may be one: an archive, an old office file, RTF, or HTML or CSV. The last two go by
    their names: CSV has no other mark, and a download that failed is often HTML in the name of a PDF, and no document.
    """
    return head.startswith((_ZIP, _OLE, _RTF)) or suffix.lower() in (".html", ".htm", ".csv")


def suffix_of(path: Path) -> str:
    """One of `SUFFIXES`, by the content of what `is_office`; the same with macros and without. Raises
    `UnsupportedFormat` for what only begins like one, `UnreadableDocument` for a damaged or encrypted one.
    """
    with path.open("rb") as file:
        head = file.read(len(_OLE))
    if head.startswith(_ZIP):
        return _in_zip(path)
    if head == _OLE:
        return _in_ole(path)
    if head.startswith(_RTF):
        return ".rtf"
    return ".csv" if path.suffix.lower() == ".csv" else ".html"


def _in_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if "mimetype" in names:
                with archive.open("mimetype") as member:
                    kind = _MIMETYPES.get(member.read(100).strip())
            else:
                kind = next((kind for part, kind in _PARTS.items() if any(n.startswith(part) for n in names)), None)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise UnreadableDocument(f"damaged: {error}") from error
    if kind is None:
        raise UnsupportedFormat("a ZIP archive that holds no office document that can be read")
    return kind


def _in_ole(path: Path) -> str:
    """By the names of its streams, which the file holds in UTF-16."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find("EncryptedPackage".encode("utf-16-le")) >= 0:
            raise UnreadableDocument("encrypted: save a copy without the password")
        for name, kind in _STREAMS.items():
            if content.find(f"{name}\0".encode("utf-16-le")) >= 0:
                return kind
    raise UnsupportedFormat("neither a Word, a PowerPoint nor an Excel document")


def to_pdf(source: Path, suffix: str, folder: Path, soffice: str) -> Path:
    """`source`, of the kind that `suffix_of` says, as a PDF in `folder`, which is empty and LibreOffice's own: for
    its profile and its temporary files, too. Raises `UnreadableDocument` when no PDF comes out.
    """
    name = re.sub(r"[^\w -]", "_", source.stem)[:_SHEET] if suffix == ".csv" else "document"  # it heads the sheet
    copy = folder / f"{name}{suffix}"  # alone, so that nothing beside the original can be linked to
    shutil.copyfile(source, copy)
    profile, temporary, log = folder / "profile", folder / "tmp", folder / "log"
    (profile / "user").mkdir(parents=True)
    temporary.mkdir()
    (profile / "user" / "registrymodifications.xcu").write_text(_profile(), encoding="utf-8")
    command = [soffice, f"-env:UserInstallation={profile.absolute().as_uri()}", *_ARGUMENTS]
    command += [*_filters(copy), "--outdir", str(folder), str(copy)]
    environment = {**os.environ, "TMPDIR": str(temporary), "SAL_USE_VCLPLUGIN": "svp"}
    with log.open("wb") as said:
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment)
        except OSError as error:
            raise UnreadableDocument(f"LibreOffice doesn't start: {error}") from error
    made = copy.with_suffix(".pdf")
    if done.returncode != 0 or not _is_pdf(made):
        status = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        words = " ".join(log.read_bytes()[-4 * _SHOWN :].decode(errors="replace").split())[-_SHOWN:]
        raise UnreadableDocument(f"LibreOffice makes no PDF of it ({status}): {words or 'it says nothing'}")
    return made


def _filters(path: Path) -> list[str]:
    """How a file of that suffix is to be read, where LibreOffice wouldn't know, and that it becomes a PDF."""
    if path.suffix == ".html":  # as a text document: as a web page, which is the default, it loses the first heading
        return ["--infilter=HTML (StarWriter)", "--convert-to", "pdf:writer_pdf_Export"]
    return [*([_csv_filter(path)] if path.suffix == ".csv" else []), "--convert-to", "pdf"]


def _csv_filter(path: Path) -> str:
    """How LibreOffice is to read a table of text: by its delimiter, and as UTF-8 or UTF-16 if that is what it is."""
    with path.open("rb") as file:
        raw = file.read(_LOOKED)
    try:
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text, charset = codecs.getincrementaldecoder("utf-16")().decode(raw), _UTF16
        else:
            text, charset = codecs.getincrementaldecoder("utf-8-sig")().decode(raw), _UTF8
    except UnicodeDecodeError:
        text, charset = raw.decode("latin-1"), _WINDOWS
    first = re.sub(r'"[^"]*"', "", text).partition("\n")[0]
    delimiter = max(";\t|,", key=first.count)  # a comma may stand within a cell
    return f"--infilter=Text - txt - csv (StarCalc):{ord(delimiter)},34,{charset},{_AS_TEXT}"


def _is_pdf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(5) == b"%PDF-"


def _profile() -> str:
    items = "".join(
        f'<item oor:path="/org.openoffice.{path}"><prop oor:name="{name}" oor:op="fuse"><value>{value}</value></prop>'
        "</item>"
        for path, name, value in _SETTINGS
    )
    return f'<?xml version="1.0"?><oor:items xmlns:oor="http://openoffice.org/2001/registry">{items}</oor:items>'
