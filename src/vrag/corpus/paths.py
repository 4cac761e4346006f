"""Where corpora live on disk, and the files of one corpus.

HOME/corpora/NAME/
    catalog.sqlite        everything but the pixels
    pages/<aa>/<id>.jpg   page images by id; <aa> are the id's first two characters
    pages/tmp/            files being written
    converted/<id>.pdf    office documents as PDF, by the document's id, until their pages are read
    converted/tmp/        of conversions under way
    vectors/              what an encoder makes of the page images, if one was asked to (`vrag.embed`), or where it is
    uploads/              documents that came over HTTP (`vrag.servers.agent`)
    tantivy/              a second text index, if one was asked for (`vrag.corpus.fulltext`)
    writer.lock, ocr.lock held by the process that indexes into it, and by the one that recognises its text
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from vrag.errors import UsageError

_PAGE_ID = re.compile(r"[0-9a-f]{24}-[0-9]{1,7}")
_NAME = re.compile(r"[^\W][\w.-]{0,99}")
_NAME_BYTES = 200  # so that any file system can hold it


def home() -> Path:
    """`$VRAG_HOME`, or the platform's folder for user data."""
    chosen = os.environ.get("VRAG_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("vrag"))


def corpus_folder(name_or_path: str | Path) -> Path:
    """The folder of a corpus: a plain name lives in the home, one with a separator is a path of its own."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or os.sep in text:
        return Path(text).expanduser()
    if not is_corpus_name(text):
        raise UsageError(f"{text!r} is no corpus name: use letters, digits, '.', '_' and '-', or a path")
    return corpora_folder() / text


def corpora_folder() -> Path:
    """Where those are that have a name."""
    return home() / "corpora"


def is_corpus_name(text: str) -> bool:
    """Whether `text` can name a corpus of the home. Only such a text ever becomes part of a path."""
    return _NAME.fullmatch(text) is not None and len(text.encode()) <= _NAME_BYTES


def page_id(document_id: str, number: int) -> str:
    return f"{document_id}-{number}"


def is_page_id(text: str) -> bool:
    """Whether `text` has the form of an id. Only such a text ever becomes part of a path."""
    return _PAGE_ID.fullmatch(text) is not None


def catalog_file(folder: Path) -> Path:
    return folder / "catalog.sqlite"


def is_corpus(folder: Path) -> bool:
    """Whether there is a catalogue that can be seen; what it holds is for `vrag.corpus.catalog.connect` to say."""
    try:
        return catalog_file(folder).is_file()
    except OSError:  # a name that the file system can't hold, or a folder of someone else
        return False


def vectors_file(folder: Path) -> Path:
    """The catalogue of a corpus's page vectors: when it is there, they are; their folder alone says nothing."""
    return folder / "vectors" / "vectors.sqlite"


def vectors_elsewhere(folder: Path) -> Path:
    """In which collection of which Qdrant server a corpus's page vectors are, where they aren't in its folder."""
    return folder / "vectors" / "qdrant.json"


def vectors_marker(folder: Path) -> Path | None:
    """The file that says that a corpus has page vectors, here or elsewhere."""
    return next((file for file in (vectors_file(folder), vectors_elsewhere(folder)) if file.is_file()), None)


def uploads_folder(folder: Path) -> Path:
    return folder / "uploads"


def tantivy_folder(folder: Path) -> Path:
    return folder / "tantivy"


def converted_folder(folder: Path) -> Path:
    return folder / "converted"


def converted_file(folder: Path, document_id: str) -> Path:
    return converted_folder(folder) / f"{document_id}.pdf"


def pages_folder(folder: Path) -> Path:
    return folder / "pages"


def page_file(folder: Path, page_id: str) -> Path:
    return pages_folder(folder) / page_id[:2] / f"{page_id}.jpg"


def unfinished_pages(folder: Path) -> Path:
    return pages_folder(folder) / "tmp"


def unfinished_conversions(folder: Path) -> Path:
    return converted_folder(folder) / "tmp"


def writer_lock(folder: Path) -> Path:
    return folder / "writer.lock"


def ocr_lock(folder: Path) -> Path:
    return folder / "ocr.lock"


def own_folders(folder: Path) -> tuple[Path, ...]:
    """All that a corpus may have in its folder."""
    vectors = vectors_file(folder).parent
    return pages_folder(folder), converted_folder(folder), vectors, uploads_folder(folder), tantivy_folder(folder)
