"""What datasets call a document → the document of the corpus, which may call it otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from vrag.corpus.files import content_id, scan
from vrag.corpus.store import Corpus, Document
from vrag.errors import DataError
from vrag.suggest import nearest


class Shelf:
    """Documents by path and by file name, with or without suffix; cases don't matter, nor how accents are composed."""

    def __init__(self, named: Iterable[tuple[str, Document]]) -> None:
        self._by_name: dict[str, dict[str, Document]] = {}  # name → by id: two may be called the same
        self._names: dict[str, str] = {}
        for name, document in named:
            for key in (*_keys(name), *_keys(_bare(name)), *_keys(f"{name}.pdf")):  # datasets may add .pdf
                self._by_name.setdefault(key, {})[document.id] = document
                self._names.setdefault(key, PurePosixPath(name).name)

    def readable(self) -> set[str]:
        """What the corpus calls those that have pages."""
        return {document.name for held in self._by_name.values() for document in held.values() if document.pages}

    @classmethod
    def of(cls, corpus: Corpus, paths: Sequence[Path]) -> Shelf:
        """The documents of these files and folders, by their content: another dataset's may have the same names.
        Without any, all documents of the corpus.
        """
        documents = corpus.documents()
        if not paths:
            return cls((name, document) for document in documents for name in document.names)
        by_id = {document.id: document for document in documents}
        found = ((file.name, by_id.get(_content(file.path))) for file in scan(paths).found)
        return cls((name, document) for name, document in found if document is not None)

    def find(self, name: str) -> Document:
        """Raises `DataError` for a name of none, with the nearest, or of several."""
        for key in _keys(name):
            held = self._by_name.get(key, {})
            if len(held) == 1:
                return next(iter(held.values()))
            if held:
                names = ", ".join(sorted(document.name for document in held.values()))
                raise DataError(f"document {name!r} may be any of {names}; say which, with its folder and suffix")
        near = nearest(_path(name).name, self._by_name, cutoff=0.8)
        hint = f"; did you mean {self._names[near]!r}?" if near else ""
        raise DataError(f"no document {name!r}{hint}")


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(normalize("NFC", name.strip().replace("\\", "/").casefold()))


def _keys(name: str) -> list[str]:
    path = _path(name)
    return list(dict.fromkeys((str(path), path.name)))


def _bare(name: str) -> str:
    return str(_path(name).with_suffix(""))


def _content(path: str) -> str:
    try:
        return content_id(path)
    except OSError:
        return ""  # that it can't be read is in the report of what was indexed
