"""The one block of ClickHouse's Native format that chDB does not write: the header of no rows."""

from collections.abc import Sequence


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _string(value: str) -> bytes:
    data = value.encode()
    return _varint(len(data)) + data


def empty_block(columns: Sequence[tuple[str, str]]) -> bytes:
    """A block of no rows with these (name, type) columns, as an empty result begins on a server."""
    header = b"".join(_string(name) + _string(type_name) for name, type_name in columns)
    return _varint(len(columns)) + _varint(0) + header
