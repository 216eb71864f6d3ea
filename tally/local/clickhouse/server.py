"""ClickHouse's HTTP interface as an ASGI application over the embedded engine."""

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tally.local.clickhouse import compression, sql
from tally.local.clickhouse.engine import (
    SERVER_SETTINGS,
    Connection,
    Engine,
    Inserter,
    Progress,
    Stream,
    quote_identifier,
)
from tally.local.clickhouse.errors import ClickHouseError
from tally.local.clickhouse.native import empty_block
from tally.local.clickhouse.request import Call, credentials, multipart, read_call
from tally.local.clickhouse.sessions import Sessions

T = TypeVar("T")

# The output of these formats is that of the blocks one after another, so it can be sent as the engine
# makes it. The others have a frame around all rows and are made whole.
_STREAMED = frozenset(
    {
        "Native",
        "RowBinary",
        "TabSeparated",
        "TSV",
        "TabSeparatedRaw",
        "TSVRaw",
        "CSV",
        "JSONEachRow",
        "JSONLines",
        "NDJSON",
        "JSONStringsEachRow",
        "JSONCompactEachRow",
        "JSONCompactStringsEachRow",
        "TSKV",
        "LineAsString",
        "RawBLOB",
    }
)
_CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
}
# An INSERT's data begins within this many bytes; any other statement is read whole.
_HEAD_BYTES = 256 * 1024
_INSERT_PIECE_BYTES = 4 * 2**20
_OUTPUT_PIECE_BYTES = 1 * 2**20
_COMPRESS_FROM_BYTES = 4 * 1024
_WORKERS = 64


class Server:
    """The application. Statements run on threads of their own; a running one blocks no other."""

    def __init__(self, engine: Engine, password: str = "") -> None:
        self._engine = engine
        self._sessions = Sessions(engine)
        self._password = password
        self._threads = ThreadPoolExecutor(_WORKERS, thread_name_prefix="statement")
        self._host = socket.gethostname()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        try:
            await self._answer(request, send)
        except ClickHouseError as error:
            await self._error(error)(scope, receive, send)
        except ClientDisconnect:
            return

    async def close(self) -> None:
        """Cancel what runs and close every connection but the engine's own."""
        self._engine.kill_all()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._sessions.close()

    async def _answer(self, request: Request, send: Send) -> None:
        path, method = request.url.path, request.method
        if method in ("GET", "HEAD") and (
            path in ("/ping", "/replicas_status") or (path == "/" and not request.url.query)
        ):
            response: Response = PlainTextResponse("Ok.\n")
        elif path not in ("/", "/query"):
            response = PlainTextResponse(f"There is no handle {path}\n", status_code=404)
        else:
            self._authenticate(request)
            await self._statement(request, send)
            return
        await response(request.scope, request.receive, send)

    def _authenticate(self, request: Request) -> None:
        if not self._password:
            return
        given = credentials(request)
        if given is None:
            raise ClickHouseError.of(
                194, "REQUIRED_PASSWORD", "default: Authentication failed: a password is required"
            )
        user, password = given
        if user != "default" or not secrets.compare_digest(password, self._password):
            raise ClickHouseError.of(
                516,
                "AUTHENTICATION_FAILED",
                f"{user}: Authentication failed: password is incorrect, or there is no user with "
                "such name",
            )

    async def _statement(self, request: Request, send: Send) -> None:
        encoding = request.headers.get("content-encoding", "").lower()
        body = compression.decoded(request.stream(), encoding)
        content_type = request.headers.get("content-type", "")
        if content_type.startswith("multipart/form-data"):
            form = multipart(b"".join([piece async for piece in body]), content_type)
            call = read_call(request, *form)
            body = _no_more()
        else:
            call = read_call(request, {}, {})
        head = call.query + b"\n" if call.query else b""
        statement = sql.parse(head)
        async for piece in body:
            head += piece
            if len(head) > _HEAD_BYTES or (statement.data_start is not None and call.query):
                break
        statement = sql.parse(head)
        if statement.data_start is None:
            head += b"".join([piece async for piece in body])
        if request.method == "GET" and not statement.reads:
            raise ClickHouseError.of(
                164,
                "READONLY",
                "Cannot execute query in readonly mode. For queries over HTTP, method GET implies "
                "readonly. You should use method POST for modifying queries",
            )
        if not head.strip():
            raise ClickHouseError.of(62, "SYNTAX_ERROR", "Empty query")
        run = _Run(self, call, statement, head)
        await run.answer(request, body, send)

    async def on_thread(self, work: Callable[[], T]) -> T:
        """Do something that waits for the engine."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @contextmanager
    def connection(self, call: Call, kind: str) -> Iterator[Connection]:
        """A connection with the request's settings: a fresh one, or its session's."""
        settings = {**SERVER_SETTINGS, "log_comment": call.query_id, **call.settings}
        if call.session_id is None:
            connection = self._engine.connect()
            try:
                connection.set(settings)
                if call.database is not None and call.database != "default":
                    connection.use(call.database)
                yield connection
            finally:
                connection.close()
            return
        with self._sessions.enter(
            call.session_id, call.session_timeout_s, call.session_check
        ) as session:
            settings.pop("log_comment")
            if kind in ("SET", "USE"):
                session.uncover()
            else:
                session.overlay(settings, call.database)
            yield session.connection

    def headers(self, call: Call, format_name: str, progress: Progress) -> dict[str, str]:
        """The headers of an answer."""
        summary = {name: str(value) for name, value in asdict(progress).items()}
        return {
            "Content-Type": _CONTENT_TYPES.get(format_name, "text/plain; charset=UTF-8"),
            "X-ClickHouse-Query-Id": call.query_id,
            "X-ClickHouse-Format": format_name,
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-ClickHouse-Server-Display-Name": self._host,
            "X-ClickHouse-Summary": json.dumps(summary, separators=(",", ":")),
        }

    def _error(self, error: ClickHouseError) -> Response:
        headers = {"X-ClickHouse-Exception-Code": str(error.code)}
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        return PlainTextResponse(
            error.body(self._engine.version), status_code=error.status, headers=headers
        )

    def error_text(self, error: ClickHouseError) -> str:
        """The text that ends an answer which had already begun."""
        return error.body(self._engine.version)


class _Run:
    """One statement on its way through the engine."""

    def __init__(self, server: Server, call: Call, statement: sql.Statement, head: bytes) -> None:
        self._server = server
        self._call = call
        self._statement = statement
        self._head = head
        self._scope = server.connection(call, statement.kind)
        self._output: Stream | None = None
        self._inserter: Inserter | None = None
        self._connection: Connection | None = None

    async def answer(self, request: Request, body: AsyncIterator[bytes], send: Send) -> None:
        """Run the statement and send its answer."""
        on_thread = self._server.on_thread
        try:
            if self._statement.data_start is not None:
                await self._insert(body)
                data, finished = b"", True
            else:
                data, finished = await on_thread(self._first_output)
            await self._send(request, send, data, finished)
        finally:
            await on_thread(self._close)

    # Everything below until `_send` runs on a thread.

    def _open(self) -> Connection:
        self._connection = connection = self._scope.__enter__()
        for table in self._call.tables:
            name = quote_identifier(table.name)
            connection.run(
                f"CREATE OR REPLACE TEMPORARY TABLE {name} ({table.structure}) ENGINE = Memory"
            )
            inserter = connection.insert(f"INSERT INTO {name}", table.format)
            inserter.append(table.data)
            inserter.finish()
        return connection

    def _close(self) -> None:
        if self._connection is None:
            return
        try:
            if self._output is not None:
                self._output.close()
            if self._inserter is not None:
                self._inserter.close()
        finally:
            self._scope.__exit__(None, None, None)

    @property
    def _format(self) -> str:
        named = self._statement.format if self._statement.kind != "INSERT" else None
        return named or self._call.default_format

    def _first_output(self) -> tuple[bytes, bool]:
        text = self._head.decode()
        connection = self._open()
        if connection.statement_count(text) > 1:
            raise ClickHouseError.of(62, "SYNTAX_ERROR", "Multi-statements are not allowed")
        if self._statement.kind == "SELECT" and self._format in _STREAMED:
            self._output = connection.select(text, self._format, self._call.params)
            limit = 2**62 if self._call.wait_end_of_query else _OUTPUT_PIECE_BYTES
            data = self._output.read(limit)
            finished = self._output.finished
        else:
            data = connection.run(text, self._format, self._call.params)
            finished = True
        if not data and self._format == "Native" and self._statement.reads:
            progress = connection.progress
            data = self._empty_native(connection)
            connection.progress = progress
        return data, finished

    def _empty_native(self, connection: Connection) -> bytes:
        """The header block that chDB leaves out of an empty result."""
        text = self._statement.without_format(self._head).decode()
        if self._statement.kind == "SELECT":
            text = f"DESCRIBE TABLE (\n{text}\n)"
            rows = connection.run(text, "JSONCompact", self._call.params)
            columns = [(row[0], row[1]) for row in json.loads(rows)["data"]]
        else:
            meta = json.loads(connection.run(text, "JSONCompact", self._call.params))["meta"]
            columns = [(column["name"], column["type"]) for column in meta]
        return empty_block(columns)

    def _begin_insert(self, data: bytes) -> None:
        connection = self._open()
        if b"{" in self._head[: self._statement.data_start]:
            connection.set({f"param_{name}": value for name, value in self._call.params.items()})
        span = self._statement.format_span
        assert span is not None
        assert self._statement.format is not None
        text = self._head[: span[0]].decode()
        self._inserter = connection.insert(text, self._statement.format)
        self._inserter.append(data)

    async def _insert(self, body: AsyncIterator[bytes]) -> None:
        """Feed the data to the engine in pieces, so that memory does not grow with the body."""
        on_thread = self._server.on_thread
        pieces = [self._head[self._statement.data_start :]]
        size = len(pieces[0])
        async for piece in body:
            pieces.append(piece)
            size += len(piece)
            if size >= _INSERT_PIECE_BYTES:
                data = b"".join(pieces)
                pieces, size = [], 0
                await on_thread(lambda data=data: self._feed(data))  # type: ignore[misc]
        data = b"".join(pieces)
        await on_thread(lambda: self._feed(data, last=True))

    def _feed(self, data: bytes, *, last: bool = False) -> None:
        if self._inserter is None:
            self._begin_insert(data)
        else:
            self._inserter.append(data)
        if last and self._inserter is not None:
            self._inserter.finish()

    async def _send(self, request: Request, send: Send, data: bytes, finished: bool) -> None:
        assert self._connection is not None
        headers = self._server.headers(self._call, self._format, self._connection.progress)
        encoder = None
        if not finished or len(data) >= _COMPRESS_FROM_BYTES:
            name = compression.accepted(request.headers.get("accept-encoding", ""))
            if name is not None and self._call.settings.get("enable_http_compression") == "1":
                encoder = compression.encoder(name)
                headers["Content-Encoding"] = name
        if finished:
            if encoder is not None:
                data = encoder.compress(data) + encoder.flush()
            await Response(data, headers=headers)(request.scope, request.receive, send)
            return
        tag = secrets.token_hex(8)
        headers["X-ClickHouse-Exception-Tag"] = tag
        start = Response(headers=headers)
        raw_headers = [pair for pair in start.raw_headers if pair[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": raw_headers})
        output = self._output
        assert output is not None
        failed = False
        while data:
            if encoder is not None:
                data = encoder.compress(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
            if output.finished or failed:
                break
            try:
                data = await self._server.on_thread(lambda: output.read(_OUTPUT_PIECE_BYTES))
            except ClickHouseError as error:
                data, failed = _exception_block(self._server.error_text(error), tag), True
        rest = encoder.flush() if encoder is not None else b""
        await send({"type": "http.response.body", "body": rest, "more_body": failed})


def _exception_block(text: str, tag: str) -> bytes:
    """How ClickHouse ends an answer that fails after its first bytes went out."""
    message = text.encode()
    head = f"\r\n__exception__\r\n{tag}\r\n".encode()
    return head + message + f"{len(message)} {tag}\r\n__exception__\r\n".encode()


async def _no_more() -> AsyncIterator[bytes]:
    return
    yield b""
