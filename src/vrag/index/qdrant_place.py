"""Where a corpus's page vectors are when they aren't in its folder: a collection of a Qdrant server.

The corpus keeps this in a file, so that whatever opens it (`vrag search`, `vrag ask`, the search server) finds them. It
holds no key: that comes from the environment (`vrag.index.qdrant_server`).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError, field_validator

from vrag.errors import CorpusError
from vrag.index.qdrant import QdrantIndex, connect
from vrag.index.qdrant_schema import exists
from vrag.index.vectors import EncoderName
from vrag.staging import sync_folder
from vrag.types import Frozen


class QdrantPlace(Frozen):
    """The address of a server, and a collection there that holds the vectors of one corpus and of no other. `shared`:
    of another than this one, which is a copy of it and only searches them.
    """

    url: str
    collection: str
    shared: bool = False

    @field_validator("url")
    @classmethod
    def _without_slash(cls, url: str) -> str:
        """One place has one name."""
        return url.rstrip("/")

    def open(self, fingerprint: str | None = None) -> QdrantIndex:
        """Raises as `connect` and `QdrantIndex.open`."""
        return QdrantIndex.open(connect(self.url), self.collection, fingerprint)

    def exists(self) -> bool:
        """Raises as `connect`, and `InfrastructureError` when the server doesn't answer."""
        server = connect(self.url)
        try:
            return exists(server, self.collection)
        finally:
            server.close()

    def holds_pages(self) -> bool:
        """Raises as `exists`."""
        if not self.exists():
            return False
        index = self.open()
        try:
            return index.stats().pages > 0
        finally:
            index.close()

    def make(self, dim: int, fingerprint: str, encoder: EncoderName) -> QdrantIndex:
        """Raises as `connect` and `QdrantIndex.create`."""
        return QdrantIndex.create(connect(self.url), self.collection, dim, fingerprint, encoder)


def read_place(file: Path) -> QdrantPlace | None:
    """What `file` says; None where there is none. Raises `CorpusError` when it can't be read."""
    try:
        return QdrantPlace.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise CorpusError(f"{file}: {error}: delete it and encode the corpus again") from error


def write_place(file: Path, place: QdrantPlace) -> None:
    """Durable, and whole or not at all."""
    temporary = file.with_name(f"{file.name}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(place.model_dump_json(), encoding="utf-8")
        temporary.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        raise CorpusError(f"{file} can't be written: {error.strerror or error}") from error
