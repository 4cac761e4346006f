"""An encoder that runs elsewhere, behind `vrag serve encoder`. Needs the extra `remote`, and no model library."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import Field, ValidationError

from vrag.blocking import run_blocking
from vrag.encoders.batches import check_page
from vrag.encoders.wire import ERRORS, TOKEN_VARIABLE, DType, EncoderInfo, PageFailure, unpack
from vrag.errors import BudgetExceeded, DocumentError, InfrastructureError
from vrag.http import Patience, Refused, Server
from vrag.types import Frozen, PageVectors

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from vrag.encoders.wire import About


_INFO = Patience(timeout=10.0, total=20.0, attempts=3)  # a wrong URL should be said soon
_PIXELS = 100_000_000  # of all pages under way: 300 MB before they are compressed
_MARGIN = 5.0  # s that an answer may take on its way, beyond the server's own limit


class RemoteSettings(Frozen):
    """Settings of a remote encoder. None is in the fingerprint: float16 moves a vector by no more than rounding."""

    dtype: DType = "float32"  # of vectors on their way; float16 is half as much to receive
    parallel: int = Field(default=16, ge=1, le=64)  # pages under way at once; the server makes batches of them
    patience: float = Field(default=600.0, gt=0)  # seconds for one page or set of queries, with all that is tried again


class RemoteEncoder:
    """A `PageEncoder` whose model is on another machine. `dim` and `fingerprint` are those of the server's encoder, so
    its vectors can be compared with those that the same model makes here. Pages and, in fp32, vectors lose nothing on
    the way.

    Usable from several threads, also beside a running event loop; holds no connection between calls. What may pass is
    tried again, as `vrag.http` says, for about a minute; then, and when the server has another model than it had,
    `InfrastructureError` is raised.
    """

    def __init__(
        self,
        url: str,
        settings: RemoteSettings | None = None,
        *,
        token: str | None = None,
        attempts: int = 10,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Asks the server who it is; raises `InfrastructureError` when it doesn't say, and `UsageError` for a bad URL.
        `transport` replaces the network in tests.
        """
        self.settings = settings or RemoteSettings()
        self._server = Server("encoder server", url, token, transport)
        self.info = run_blocking(self._ask_info())
        self.dim, self.fingerprint = self.info.dim, self.info.fingerprint
        self._patience = Patience(self.info.timeout + _MARGIN, self.settings.patience, attempts, pause=20.0)

    def encode_pages(self, images: Sequence[Image]) -> list[PageVectors | DocumentError]:
        return run_blocking(self._encode_pages(images))

    def encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        return run_blocking(self._encode_queries(queries))

    async def _ask_info(self) -> EncoderInfo:
        async with self._server.connect() as client:
            answer = await self._server.ask(client, "GET", "/v1/encoder", _INFO)
        try:
            return EncoderInfo.model_validate_json(answer.content)
        except ValidationError as error:
            raise InfrastructureError(f"{self._server}: says of no encoder what it is; is it one of vrag?") from error

    async def _encode_pages(self, images: Sequence[Image]) -> list[PageVectors | DocumentError]:
        places, room = asyncio.Semaphore(self.settings.parallel), _Room(_PIXELS)

        async def encoded(image: Image) -> PageVectors | DocumentError:
            async with places, room.taken(image.width * image.height):
                try:
                    return await self._encode_page(client, image)
                except DocumentError as error:
                    return error

        async with self._server.connect() as client:
            tasks = [asyncio.create_task(encoded(image)) for image in images]
            try:
                return list(await asyncio.gather(*tasks))
            finally:  # when one fails, the others would be in vain
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _encode_page(self, client: httpx.AsyncClient, image: Image) -> PageVectors:
        check_page(image)
        file = await asyncio.to_thread(_png, image)
        if len(file) > self.info.page_bytes:
            raise BudgetExceeded(
                f"takes {len(file)} bytes as PNG, and {self._server} takes {self.info.page_bytes}; render it smaller"
            )
        headers = {"Content-Type": "image/png"}
        try:
            body = await self._post(client, "/v1/encode/page", content=file, headers=headers)
        except Refused as refused:
            failure = _page_failure(refused)
            if failure is None:
                raise
            raise failure from None
        (vectors,), about = self._unpacked(body, 1)
        return PageVectors(vectors, about.grid)

    async def _encode_queries(self, queries: Sequence[str]) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        async with self._server.connect() as client:
            for start in range(0, len(queries), self.info.queries):
                part = queries[start : start + self.info.queries]
                body = await self._post(client, "/v1/encode/queries", json={"queries": list(part)})
                found += self._unpacked(body, len(part))[0]
        return found

    async def _post(self, client: httpx.AsyncClient, path: str, **content: Any) -> bytes:
        chosen = {"dtype": self.settings.dtype}
        answer = await self._server.ask(client, "POST", path, self._patience, params=chosen, **content)
        return answer.content

    def _unpacked(self, body: bytes, count: int) -> tuple[list[np.ndarray], About]:
        try:
            vectors, about = unpack(body, count, self.dim)
        except ValueError as error:
            raise InfrastructureError(f"{self._server}: answered no vectors of {self.dim} dimensions") from error
        if about.fingerprint != self.fingerprint:
            raise InfrastructureError(
                f"{self._server}: has another model now (fingerprint {about.fingerprint}, not {self.fingerprint}); "
                "start it with the same one, or start again"
            )
        return vectors, about


def connect(url: str, settings: RemoteSettings) -> RemoteEncoder:
    """As `RemoteEncoder`, with the token of the environment variable VRAG_ENCODER_TOKEN, if it is set."""
    return RemoteEncoder(url, settings, token=os.environ.get(TOKEN_VARIABLE) or None)


class _Room:
    """Room for so much at once. What is larger than all of it waits until it is alone."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def taken(self, wanted: int) -> AsyncGenerator[None]:
        wanted = min(wanted, self._size)
        async with self._freed:
            await self._freed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            async with self._freed:
                self._free += wanted
                self._freed.notify_all()


def _png(image: Image) -> bytes:
    """The pixels and nothing else: by a profile, an orientation or a transparent colour the server would change them.
    Lossless, since vectors of other pixels are other vectors; the quickest level is hardly larger than the best.
    """
    bare = image.copy()
    bare.info.clear()
    file = BytesIO()
    bare.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _page_failure(refused: Refused) -> DocumentError | None:
    """What is wrong with the page, if that is why the server refused it."""
    try:
        failure = PageFailure.model_validate_json(refused.response.content)
    except ValidationError:
        return None
    kind = ERRORS.get(failure.kind) if refused.status == 422 else None
    return None if kind is None else kind(failure.detail)
