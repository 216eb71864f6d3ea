"""The Content-Encodings of the HTTP interface: gzip, deflate, lz4 (frames) and zstd, both ways."""

import zlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import lz4.frame
import zstandard

from tally.local.clickhouse.errors import ClickHouseError


class Encoder(Protocol):
    """Compresses a body piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Take a piece, give what is ready."""

    def flush(self) -> bytes:
        """Give the rest."""


class _Lz4Encoder:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._head: bytes = self._frame.begin()

    def compress(self, data: bytes, /) -> bytes:
        head, self._head = self._head, b""
        body: bytes = self._frame.compress(data)
        return head + body

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        rest: bytes = self._frame.flush()
        return head + rest


def accepted(header: str) -> str | None:
    """The encoding to answer with, the cheapest of those that an Accept-Encoding header names."""
    names = {part.split(";")[0].strip() for part in header.split(",")}
    return next((name for name in ("lz4", "zstd", "gzip", "deflate") if name in names), None)


def encoder(name: str) -> Encoder:
    """A compressor of that Content-Encoding."""
    match name:
        case "lz4":
            return _Lz4Encoder()
        case "zstd":
            return zstandard.ZstdCompressor(level=1).compressobj()
        case "gzip":
            return zlib.compressobj(level=1, wbits=31)
        case _:
            return zlib.compressobj(level=1)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _decompressor(name: str) -> Callable[[], _Decompressor]:
    """Makes the decompressor of one frame or member."""
    makers: dict[str, Callable[[], _Decompressor]] = {
        "lz4": lz4.frame.LZ4FrameDecompressor,
        "zstd": zstandard.ZstdDecompressor().decompressobj,
        "gzip": lambda: zlib.decompressobj(wbits=31),
        "deflate": zlib.decompressobj,
    }
    if name not in makers:
        raise ClickHouseError.of(
            89,
            "UNKNOWN_COMPRESSION_METHOD",
            f"Content-Encoding {name} is not supported; use one of {', '.join(makers)}",
        )
    return makers[name]


async def decoded(pieces: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
    """The body of a request without its Content-Encoding.

    Raises ClickHouse's error where the encoding is unknown or the data is damaged or cut short.
    """
    if name in ("", "identity"):
        async for piece in pieces:
            yield piece
        return
    fresh = _decompressor(name)
    member = fresh()
    started = False
    try:
        async for piece in pieces:
            data = piece
            # A body may be several frames, one after another.
            while data:
                if member.eof:
                    member = fresh()
                started = True
                yield member.decompress(data)
                data = member.unused_data if member.eof else b""
    except (zlib.error, RuntimeError, zstandard.ZstdError, EOFError) as error:
        raise ClickHouseError.of(
            271, "CANNOT_DECOMPRESS", f"The request's body is not valid {name}: {error}"
        ) from None
    if started and not member.eof:
        raise ClickHouseError.of(
            271, "CANNOT_DECOMPRESS", f"The request's {name} body ends too early"
        )
