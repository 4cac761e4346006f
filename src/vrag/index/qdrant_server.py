"""A connection to a Qdrant server: which failures are waited out, and what the others are called.

What passes by itself (nobody listens, time is up, the server is overloaded or starting) is tried again; a request
changes nothing when it is repeated. The API key stays in the client: no message, repr or log record has it.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from vrag.errors import CorpusError, InfrastructureError, UsageError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.http.models import UpdateResult

T = TypeVar("T")

KEY_VARIABLE = "VRAG_QDRANT_API_KEY"
REQUEST = 16 << 20  # bytes; a server takes 32 MiB unless its service.max_request_size_mb says otherwise
_PASSING = {408, 429, 502, 503, 504}
_WAIT = {"wait_initial": 0.2, "wait_max": 10.0, "wait_jitter": 1.0}  # seconds
_LONGEST = 30.0  # seconds, of what a server may ask to wait for
_SHOWN = 300  # characters of what a server says
_REMEDIES = {
    401: f"give its API key as api_key or in {KEY_VARIABLE}",
    403: "use an API key that may do this",
    404: "check the address and the collection's name",
    413: "connect with a smaller request_bytes, or raise the server's service.max_request_size_mb",
}


class _Passing(InfrastructureError):
    """Worth another try; `after`: seconds that the server asks to wait first."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True)
class QdrantServer:
    """`client` is a `qdrant_client.QdrantClient`; a request is tried at most `tries` times."""

    client: QdrantClient = field(repr=False)
    url: str
    tries: int = 5
    request_bytes: int = REQUEST
    key: str | None = field(default=None, repr=False)

    def call(self, request: Callable[[QdrantClient], T]) -> T:
        """Raises `InfrastructureError` when no try got through, `CorpusError` when the server refuses."""
        from stamina import RetryingCaller

        try:
            # stamina logs the arguments of what it calls: these are none that hold vectors or keys
            return RetryingCaller(attempts=self.tries, timeout=None, **_WAIT)(_pause, lambda: self._once(request))
        except _Passing as error:
            raise InfrastructureError(
                f"{error}, tried {self.tries} times: start the server, or check the address and the network"
            ) from None

    def write(self, request: Callable[[QdrantClient], UpdateResult]) -> None:
        """As `call`; on return the change is applied, not just accepted."""

        def applied(client: QdrantClient) -> None:
            status = str(request(client).status)
            if status != "completed":
                raise _Passing(f"Qdrant at {self.url} has accepted a change but not applied it ({status})")

        self.call(applied)

    def close(self) -> None:
        self.client.close()

    def _once(self, request: Callable[[QdrantClient], T]) -> T:
        # `from None`: what the client raises can hold what a proxy echoed, the key with it
        from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

        try:
            return request(self.client)
        except ResourceExhaustedResponse as error:
            raise _Passing(self._said(429, str(error)), float(error.retry_after_s)) from None
        except QdrantException as error:  # a Retry-After that isn't a number of seconds
            raise _Passing(self._said(429, str(error))) from None
        except UnexpectedResponse as error:
            raise self._answered(error.status_code or 0, error.content) from None
        except ResponseHandlingException as error:
            raise self._unanswered(error.source) from None

    def _answered(self, status: int, content: bytes) -> CorpusError | _Passing:
        said = self._said(status, _detail(content))
        if status in _PASSING:
            return _Passing(said)
        return CorpusError(f"{said}: {_REMEDIES.get(status, 'look into the log of the server')}")

    def _unanswered(self, source: Exception) -> CorpusError | _Passing:
        from httpx import TransportError

        reason = self._safe(f"{type(source).__name__}: {source}")
        if isinstance(source, TransportError):
            return _Passing(f"Qdrant at {self.url} doesn't answer ({reason})")
        if isinstance(source, ValidationError):
            return CorpusError(
                f"Qdrant at {self.url} answers what qdrant-client can't read ({reason}): match their versions"
            )
        return CorpusError(f"Qdrant at {self.url} can't be asked ({reason}): open the index anew")

    def _said(self, status: int, detail: str) -> str:
        return f"Qdrant at {self.url} answers {status} ({self._safe(detail)})"

    def _safe(self, text: str) -> str:
        return (text.replace(self.key, "…") if self.key else text)[:_SHOWN]


def connect(
    url: str, *, api_key: str | None = None, timeout: int = 60, tries: int = 5, request_bytes: int = REQUEST
) -> QdrantServer:
    """A connection to the server at `url`; nothing is sent yet. `timeout`: seconds for one answer. `request_bytes`: of
    what is written at once. The API key may also come from the environment variable VRAG_QDRANT_API_KEY.

    Raises `UsageError` for an address or a key that can't be one, and when qdrant-client isn't installed.
    """
    try:
        import stamina  # noqa: F401  # pyright: ignore[reportUnusedImport]
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise UsageError("a Qdrant server needs its client: pip install 'vrag[qdrant]'") from error
    _check_url(url)
    if timeout < 1 or tries < 1 or request_bytes < 1:
        raise UsageError("timeout, tries and request_bytes of a Qdrant server are 1 or more")
    key = (api_key or os.environ.get(KEY_VARIABLE, "")).strip() or None
    if key and not (key.isascii() and key.isprintable()):
        raise UsageError("the API key for Qdrant has characters that no header can carry: check where it comes from")
    # the check of versions would be a request of its own, in a thread, that is neither tried again nor named
    client = QdrantClient(url=url, api_key=key, timeout=timeout, check_compatibility=False)
    return QdrantServer(client, url, tries, request_bytes, key)


def _check_url(url: str) -> None:
    if "@" in url:
        raise UsageError("the address of a Qdrant server holds no user or password: give the key as api_key")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{url!r} isn't the address of a Qdrant server: give one like http://HOST:6333")


def _pause(error: Exception) -> bool | float:
    """Whether to try again; a number: after so many seconds."""
    if not isinstance(error, _Passing):
        return False
    return True if error.after is None else min(error.after, _LONGEST) + random.uniform(0, _WAIT["wait_jitter"])


def _detail(content: bytes) -> str:
    """What a server says is wrong: {"status": {"error": …}}, or whatever a proxy before it says."""
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace").strip()
