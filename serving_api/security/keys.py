"""The public keys that tokens may be signed with, from a JWKS file or URL, kept current.

Keys are pinned to one algorithm each, revoked keys leave with the next refresh, and an unknown
`kid` asks the source once, however many requests bring it.
"""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from prometheus_client import CollectorRegistry, Gauge

from tally.errors import TallyError

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 300.0
COOL_DOWN_SECONDS = 10.0

# A key verifies with exactly one algorithm, whatever a token's header says.
_ALGORITHMS = {("OKP", "Ed25519"): "EdDSA", ("RSA", None): "RS256"}
_MIN_RSA_BITS = 2048


class KeyMetrics:
    """How current the verification keys are."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.keys = Gauge("tally_jwks_keys", "Verification keys in use.", registry=registry)
        self.read_at = Gauge(
            "tally_jwks_read_timestamp_seconds",
            "When the JWKS was read without an error for the last time.",
            registry=registry,
        )
        self.modified_at = Gauge(
            "tally_jwks_modified_timestamp_seconds",
            "When the JWKS was changed: its file's time, or the Last-Modified of its URL.",
            registry=registry,
        )


class KeySet:
    """The verification keys by `kid`.

    `refresh` is called once at the start; afterwards `find` refreshes by itself: every
    `REFRESH_SECONDS`, and for a `kid` it does not know at most once in `COOL_DOWN_SECONDS`. A file
    is read again as soon as it is another one. While the source cannot be read the last keys stay
    in use.
    """

    def __init__(
        self,
        source: str,
        monotonic: Callable[[], float] = time.monotonic,
        metrics: KeyMetrics | None = None,
    ) -> None:
        self._source = source
        self._metrics = metrics or KeyMetrics()
        self._monotonic = monotonic
        self._keys: dict[str, jwt.PyJWK] = {}
        self._document: Any = None
        self._asked_at = float("-inf")
        self._file = None if _is_url(source) else Path(source)
        self._file_read: tuple[int, int] | None = None
        self._refreshing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key named `kid`, or None."""
        age = self._monotonic() - self._asked_at
        is_due = age > REFRESH_SECONDS or (kid not in self._keys and age > COOL_DOWN_SECONDS)
        if is_due:
            await self.refresh()
        # A refresh that was under way may have read the file before it was replaced.
        while _version_of(self._file) != self._file_read:
            await self.refresh()
        return self._keys.get(kid)

    async def refresh(self) -> None:
        """Read the source again; concurrent callers wait for one read."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(lambda _: setattr(self, "_refreshing", None))
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        self._asked_at = self._monotonic()
        version = _version_of(self._file)
        try:
            document, modified_at = await _read(self._source)
            # The same keys stay the same objects, by which a known token is known.
            if document != self._document:
                self._keys = parse_jwks(document)
                self._document = document
        except (OSError, httpx.HTTPError, ValueError, TallyError) as error:
            logger.error(
                "cannot read the JWKS at %s, keeping %d keys: %s", self._source, len(self), error
            )
        else:
            self._metrics.keys.set(len(self))
            self._metrics.read_at.set_to_current_time()
            self._metrics.modified_at.set(modified_at)
        # Last: until the keys are these, who comes with a new one has to wait for them.
        self._file_read = version

    async def aclose(self) -> None:
        """Stop a refresh that is under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)


def parse_jwks(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """The usable keys of a JWKS document by `kid`.

    A key that has no `kid`, is not for signatures, is not of a supported type, is too short or
    names another algorithm than its type's is left out with a log line. Raises `ValueError` for
    what is not a JWKS.
    """
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWKS: it has no list `keys`")
    keys: dict[str, jwt.PyJWK] = {}
    for entry in entries:
        try:
            key = _parse_key(entry)
        except (ValueError, jwt.PyJWTError) as error:
            logger.warning("a key of the JWKS is left out: %s", error)
            continue
        if key.key_id in keys:
            raise ValueError(f"the JWKS names two keys {key.key_id!r}")
        assert key.key_id is not None
        keys[key.key_id] = key
    return keys


def _parse_key(entry: object) -> jwt.PyJWK:
    if not isinstance(entry, dict):
        raise ValueError("it is not an object")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not kid:
        raise ValueError("it has no kid")
    algorithm = _ALGORITHMS.get((str(entry.get("kty")), entry.get("crv")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        raise ValueError(f"{kid!r} is neither an Ed25519 key for EdDSA nor an RSA key for RS256")
    if entry.get("use", "sig") != "sig":
        raise ValueError(f"{kid!r} is not for signatures")
    # Only the public half is kept in memory, even where the file holds the private one.
    key = jwt.PyJWK({name: entry[name] for name in entry if name not in _PRIVATE}, algorithm)
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS:
        raise ValueError(f"{kid!r} has fewer than {_MIN_RSA_BITS} bits")
    return key


_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


def _is_url(source: str) -> bool:
    return urlsplit(source).scheme in ("http", "https")


def _version_of(file: Path | None) -> tuple[int, int] | None:
    """What changes when the file is replaced; None for a URL and for a file that is not there."""
    try:
        found = None if file is None else file.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino)


async def _read(source: str) -> tuple[Any, float]:
    """The document, and when it was changed: Unix seconds, NaN where the source does not say."""
    url = urlsplit(source)
    if not _is_url(source):
        return await asyncio.to_thread(_read_file, Path(source))
    if url.scheme == "http" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise TallyError(f"{source} would take signing keys over plain http.", hint="Use https.")
    async with httpx.AsyncClient(timeout=5, follow_redirects=False) as client:
        response = await client.get(source)
        response.raise_for_status()
        return response.json(), _modified_at(response.headers.get("last-modified"))


def _read_file(path: Path) -> tuple[Any, float]:
    return json.loads(path.read_bytes()), path.stat().st_mtime


def _modified_at(header: str | None) -> float:
    try:
        return parsedate_to_datetime(header or "").timestamp()
    except ValueError:
        return math.nan
