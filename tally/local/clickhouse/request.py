"""What a request says: the statement, its parameters and settings, and the tables sent with it."""

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from tally.local.clickhouse.errors import ClickHouseError
from tally.local.clickhouse.sessions import DEFAULT_TIMEOUT_S

# Parameters of the HTTP interface itself; every other one is a setting.
_INTERFACE = frozenset(
    {
        "query",
        "database",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "user",
        "password",
        "compress",
        "decompress",
        "wait_end_of_query",
        "buffer_size",
        "client_protocol_version",
        "quota_key",
        "role",
        "stacktrace",
        "close_session",
    }
)
_MAX_SESSION_TIMEOUT_S = 3600


@dataclass
class ExternalTable:
    """A table that comes with a query as a file of its multipart form."""

    name: str
    data: bytes
    format: str = "TabSeparated"
    structure: str = ""

    @classmethod
    def of(cls, name: str, data: bytes, params: Mapping[str, str]) -> "ExternalTable":
        """The table `name`, described by `name_format` and `name_structure` or `name_types`."""
        structure = params.get(f"{name}_structure", "")
        if not structure and (types := params.get(f"{name}_types", "")):
            columns = enumerate(_split_types(types), start=1)
            structure = ", ".join(f"_{n} {type_name}" for n, type_name in columns)
        if not structure:
            raise ClickHouseError.of(
                36, "BAD_ARGUMENTS", f"Neither structure nor types are given for table {name}"
            )
        return cls(name, data, params.get(f"{name}_format", "TabSeparated"), structure)


@dataclass
class Call:
    """One request, read."""

    query: bytes
    query_id: str
    settings: dict[str, str]
    params: dict[str, str]
    database: str | None
    default_format: str
    session_id: str | None
    session_timeout_s: int
    session_check: bool
    wait_end_of_query: bool
    cancel_on_close: bool
    compress: bool
    tables: list[ExternalTable] = field(default_factory=list)


def read_call(request: Request, fields: Mapping[str, str], files: Mapping[str, bytes]) -> Call:
    """Read URL, headers and form; the files of the form become tables."""
    given = {**dict(request.query_params), **fields}
    if "1" in (given.get("compress"), given.get("decompress")):
        raise ClickHouseError.of(
            48,
            "NOT_IMPLEMENTED",
            "ClickHouse's own block compression (compress=1, decompress=1) is not supported by the "
            "embedded server; use Accept-Encoding and Content-Encoding",
        )
    headers = request.headers
    tables = [ExternalTable.of(name, data, given) for name, data in files.items()]
    described = {
        f"{table.name}_{part}" for table in tables for part in ("format", "structure", "types")
    }
    settings = {
        name: value
        for name, value in given.items()
        if name not in _INTERFACE and name not in described and not name.startswith("param_")
    }
    return Call(
        query=given.get("query", "").encode(),
        query_id=given.get("query_id") or str(uuid.uuid4()),
        settings=settings,
        params={
            name.removeprefix("param_"): value
            for name, value in given.items()
            if name.startswith("param_")
        },
        database=given.get("database") or headers.get("x-clickhouse-database") or None,
        default_format=given.get("default_format")
        or headers.get("x-clickhouse-format")
        or "TabSeparated",
        session_id=given.get("session_id") or None,
        session_timeout_s=_session_timeout(given.get("session_timeout")),
        session_check=given.get("session_check") == "1",
        wait_end_of_query=given.get("wait_end_of_query") == "1",
        cancel_on_close=given.get("cancel_http_readonly_queries_on_client_close") == "1",
        compress=given.get("enable_http_compression", "1") == "1",
        tables=tables,
    )


def credentials(request: Request) -> tuple[str, str] | None:
    """User and password from X-ClickHouse headers, basic authentication or the URL, if any."""
    headers, params = request.headers, request.query_params
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise ClickHouseError.of(
                516, "AUTHENTICATION_FAILED", "The Authorization header is not valid base64"
            ) from None
        return user, password
    if "user" in params or "password" in params:
        return params.get("user", "default"), params.get("password", "")
    return None


def multipart(body: bytes, content_type: str) -> tuple[dict[str, str], dict[str, bytes]]:
    """The fields and the files of a multipart/form-data body."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if found is None:
        raise ClickHouseError.of(36, "BAD_ARGUMENTS", "A multipart form needs a boundary")
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + found[1].encode())[1:]:
        if part.startswith(b"--"):
            break
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name is None:
            continue
        if b"filename=" in head:
            files[name[1].decode()] = content
        else:
            fields[name[1].decode()] = content.decode()
    return fields, files


def _session_timeout(value: str | None) -> int:
    if value is None:
        return DEFAULT_TIMEOUT_S
    if not value.isdigit() or int(value) > _MAX_SESSION_TIMEOUT_S:
        raise ClickHouseError.of(
            374,
            "INVALID_SESSION_TIMEOUT",
            f"Session timeout '{value}' is not a number of seconds up to {_MAX_SESSION_TIMEOUT_S}",
        )
    return int(value)


def _split_types(types: str) -> list[str]:
    """Cut `UInt8, Decimal(9, 2)` at the commas outside of brackets."""
    parts, depth = [""], 0
    for character in types:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
