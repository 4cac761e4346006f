"""The app: a page that needs nothing but the agent server's HTTP API, and no other server. See docs/app.md.

Everything that is served here is in the package and holds no secret, so it needs no token; what the page then asks for
does. Nothing else than these files can be had by any name: they are read once, and looked up.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

from fastapi import APIRouter, HTTPException
from starlette.requests import Request
from starlette.responses import Response

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PREFIX = "/app/"
SHARED = ("theme.css", "tokens.css", "tokens.js")  # with the reports


def is_public(path: str) -> bool:
    """Whether a path is one of the page's own files."""
    return path == "/" or path.startswith(PREFIX)


def static_files() -> dict[str, bytes]:
    """The files of the page by name. Its colours, faces and view of tokens are those of the reports."""
    found = {one.name: one.read_bytes() for one in files(__name__).joinpath("static").iterdir() if one.is_file()}
    return found | {name: files("vrag.evaluation.report").joinpath(name).read_bytes() for name in SHARED}


def web_router() -> APIRouter:
    router, held = APIRouter(include_in_schema=False), static_files()
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:16]}"' for name, content in held.items()}

    @router.get("/", response_class=Response)
    def page(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        return file(request, "index.html")

    @router.get(PREFIX + "{name}", response_class=Response)
    def file(request: Request, name: str) -> Response:
        if name not in held:
            raise HTTPException(404, "the app has no such file")
        headers = {**_HEADERS, "ETag": tags[name]}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        kind = _TYPES[name[name.rindex(".") :]]
        return Response(held[name], media_type=f"{kind}; charset=utf-8", headers=headers)

    return router
