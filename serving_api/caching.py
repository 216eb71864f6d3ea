"""HTTP caching of one caller's answers (RFC 9111): validators, lifetimes, 304."""

import hashlib

from fastapi import Request, Response


def conditional(request: Request, body: bytes, *, max_age: float) -> Response:
    """The JSON `body`, or 304 where the caller's copy is the same.

    The answer is the caller's alone: `private`, and another token never gets it from a cache.
    """
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {
        "ETag": etag,
        "Cache-Control": f"private, max-age={max_age:.0f}",
        "Vary": "Authorization",
    }
    if _names(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def wants_the_newest(request: Request) -> bool:
    """Whether the caller asks not to be answered from a cache (a browser's forced reload does)."""
    return "no-cache" in request.headers.get("cache-control", "").lower()


def _names(if_none_match: str, etag: str) -> bool:
    """Whether the header names the tag; a proxy that compresses marks tags as weak."""
    given = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return any(tag in ("*", etag) for tag in given)
