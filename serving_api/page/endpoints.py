"""`GET /`: the page, and `GET /page/{name}`: what it is made of. Public; they hold no data."""

import functools
import hashlib
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response

from serving_api.parameters import refuse_parameters
from serving_api.problems import ProblemError

router = APIRouter(include_in_schema=False, dependencies=[Depends(refuse_parameters)])

FOLDER = Path(__file__).parent
INDEX = "index.html"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # Scripts, styles and answers come from here and nowhere else, and nothing is inline.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Kept, and asked for each time whether it is still the same.
    "Cache-Control": "no-cache",
}


@router.get("/")
async def page(request: Request) -> Response:
    """The page."""
    return _answer(request, INDEX)


@router.get("/page/{name}")
async def part(request: Request, name: str) -> Response:
    """A script, a style or a picture of the page."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "not-found", "Not Found")
    content, media_type, etag = found
    headers = _HEADERS | {"ETag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@functools.cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """Content, type and tag by name; read once, so no name can reach another file."""
    return {
        path.name: (
            content := path.read_bytes(),
            _MEDIA_TYPES[path.suffix],
            f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        )
        for path in sorted(FOLDER.iterdir())
        if path.suffix in _MEDIA_TYPES
    }
