"""The pure parts of the embedded warehouse's HTTP interface: errors, encodings, forms, blocks."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import lz4.frame
import pytest
import zstandard

from tally.local.clickhouse import compression
from tally.local.clickhouse.errors import ClickHouseError
from tally.local.clickhouse.native import empty_block
from tally.local.clickhouse.request import ExternalTable, multipart


@pytest.mark.parametrize(
    ("raised", "code", "status", "text"),
    [
        (
            "Code: 60. DB::Exception: Table a.b does not exist. (UNKNOWN_TABLE)",
            60,
            404,
            "Code: 60. DB::Exception: Table a.b does not exist. (UNKNOWN_TABLE)",
        ),
        (
            (
                "Code: 73. DB::Exception: Code: 73. DB::Exception: Unknown format X. "
                "(UNKNOWN_FORMAT) (version 26.9.2.1). (UNKNOWN_FORMAT) (version 26.9.2.1)"
            ),
            73,
            404,
            "Code: 73. DB::Exception: Unknown format X. (UNKNOWN_FORMAT)",
        ),
        (
            (
                "Code: 33. DB::Exception: Cannot read all data: (in file/uri /x/spool/a1): While "
                "executing Native: While executing File: data for INSERT was parsed from file. "
                "(CANNOT_READ_ALL_DATA) (version 26.9.2.1)"
            ),
            33,
            500,
            (
                "Code: 33. DB::Exception: Cannot read all data: While executing Native. "
                "(CANNOT_READ_ALL_DATA)"
            ),
        ),
        ("nobody expected this", 1002, 500, None),
    ],
)
def test_the_engines_errors_read_like_a_servers(
    raised: str, code: int, status: int, text: str | None
) -> None:
    error = ClickHouseError.from_engine(RuntimeError(raised))
    assert (error.code, error.status) == (code, status)
    assert error.text == text or (text is None and raised in error.text)
    assert error.body("26.9.2.1").endswith(" (version 26.9.2.1)\n")


async def _in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def _decoded(data: bytes, encoding: str, size: int) -> bytes:
    pieces = compression.decoded(_in_pieces(data, size), encoding)
    return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_what_an_encoder_makes_is_decoded_however_it_is_cut(encoding: str, size: int) -> None:
    plain = b"".join(b"%d\n" % n for n in range(2000))
    encoder = compression.encoder(encoding)
    packed = encoder.compress(plain[:100]) + encoder.compress(plain[100:]) + encoder.flush()
    assert len(packed) < len(plain)
    assert asyncio.run(_decoded(packed, encoding, size)) == plain
    assert asyncio.run(_decoded(packed + packed, encoding, size)) == plain + plain


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (gzip.compress(b"x" * 1000)[:-9], "gzip"),
        (lz4.frame.compress(b"x" * 1000)[:-5], "lz4"),
        (zstandard.compress(b"x" * 1000)[:-3], "zstd"),
        (b"these are no such bytes", "zstd"),
    ],
    ids=["gzip", "lz4", "zstd", "not zstd"],
)
def test_a_body_cut_short_is_an_error(packed: bytes, encoding: str) -> None:
    with pytest.raises(ClickHouseError, match="CANNOT_DECOMPRESS"):
        asyncio.run(_decoded(packed, encoding, 10))


def test_the_cheapest_encoding_is_chosen() -> None:
    assert compression.accepted("gzip, deflate, br, zstd") == "zstd"
    assert compression.accepted("gzip;q=0.5,lz4") == "lz4"
    assert compression.accepted("br") is None
    assert compression.accepted("") is None


def test_a_form_has_fields_and_files() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nselect 1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="t"; filename="t.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\x00\r\n--x\r\n\xff\r\n--b--\r\n"
    )
    fields, files = multipart(body, 'multipart/form-data; boundary="b"')
    assert fields == {"query": "select 1"}
    assert files == {"t": b"\x00\r\n--x\r\n\xff"}
    with pytest.raises(ClickHouseError, match="boundary"):
        multipart(body, "multipart/form-data")


def test_an_external_tables_columns_have_numbers_where_only_types_are_given() -> None:
    table = ExternalTable.of("t", b"", {"t_types": "UInt8, Decimal(9, 2)", "t_format": "CSV"})
    assert (table.structure, table.format) == ("_1 UInt8, _2 Decimal(9, 2)", "CSV")
    with pytest.raises(ClickHouseError, match="Neither structure nor types"):
        ExternalTable.of("t", b"", {})


def test_an_empty_block_counts_its_columns_and_bytes() -> None:
    assert empty_block([("a", "UInt8")]) == b"\x01\x00\x01a\x05UInt8"
    long_name = "ä" * 100
    block = empty_block([(long_name, "String")] * 200)
    assert block.startswith(b"\xc8\x01\x00\xc8\x01" + long_name.encode())
