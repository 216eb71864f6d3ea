"""ClickHouse's HTTP interface as an ASGI application over the embedded engine."""

import asyncio
import functools
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from tally.local.clickhouse import compression, formats, sql
from tally.local.clickhouse.engine import Connection, Engine
from tally.local.clickhouse.errors import ClickHouseError
from tally.local.clickhouse.execution import Execution
from tally.local.clickhouse.request import Call, credentials, multipart, read_call
from tally.local.clickhouse.running import Running
from tally.local.clickhouse.sessions import Sessions

T = TypeVar("T")

# The data of an INSERT begins within this many bytes; any other statement is read whole.
_HEAD_BYTES = 256 * 1024
_INPUT_PIECE_BYTES = 4 * 2**20
_OUTPUT_PIECE_BYTES = 1 * 2**20
# Below this, compressing on loopback costs more than it saves.
_COMPRESS_FROM_BYTES = 4 * 1024
# The account that only reads. The engine has no users, so this is all that it is: sessions in
# which nothing can be changed, and in which `readonly` cannot be taken back.
ANALYST = "analyst"
_ACCOUNT_SETTINGS = {ANALYST: {"readonly": "2"}}
# Statements that run at once; the others wait for a thread. A server has no limit by default.
_THREADS = 64


class Server:
    """The application. Statements run on threads of their own; a running one blocks no other."""

    def __init__(self, engine: Engine, password: str = "", analyst_password: str = "") -> None:
        """With a password, user `default` has to give it; without, nobody is asked.

        User `analyst` is there where its password is set or where none is needed.
        """
        self._engine = engine
        self._sessions = Sessions(engine)
        self._running = Running(engine)
        self._passwords = {"default": password, ANALYST: analyst_password}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="statement")
        self._host = socket.gethostname()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive, send)
        try:
            response = await self._respond(request, send)
        except ClickHouseError as error:
            response = self._error(error)
        except ClientDisconnect:
            return
        if response is not None:
            await response(scope, receive, send)

    def cancel_running(self) -> None:
        """Cancel every query; their clients get error 394."""
        self._running.cancel_all()

    async def close(self) -> None:
        """Cancel what runs and close every connection but the engine's own."""
        self.cancel_running()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._sessions.close()

    async def _respond(self, request: Request, send: Send) -> Response | None:
        """The response, or None where it is sent already."""
        path = request.url.path
        if path in ("/ping", "/replicas_status") or (path == "/" and request.method == "HEAD"):
            return PlainTextResponse("Ok.\n")
        if path == "/" and request.method == "GET" and not request.query_params.get("query"):
            return PlainTextResponse("Ok.\n")
        if path not in ("/", "/query"):
            return PlainTextResponse(f"There is no handle {path}\n", status_code=404)
        user = self._authenticate(request)
        call, statement, text, data = await _read(request)
        if statement.writes_a_file(text):
            raise ClickHouseError.of(
                358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed over HTTP"
            )
        if user == ANALYST and not statement.reads and statement.kind not in ("SET", "USE"):
            # The engine lets a read-only session stop the queries of others and write backups.
            raise ClickHouseError.of(
                164, "READONLY", f"{user}: Cannot execute query in readonly mode."
            )
        if request.method == "GET" and not statement.reads:
            raise ClickHouseError.of(
                164,
                "READONLY",
                "Cannot execute query in readonly mode. For queries over HTTP, method GET implies "
                "readonly. You should use method POST for modifying queries",
            )
        if statement.kind == "KILL":
            text = await self._on_thread(lambda: self._running.with_engine_ids(text))
        execution = Execution(
            self._connection(call, statement.kind, _ACCOUNT_SETTINGS.get(user, {})),
            call,
            statement,
            text,
            self._engine.spool_file(),
        )
        try:
            with self._running.registered(call):
                if statement.data_start is None:
                    return await self._answer(request, send, execution)
                async for piece, last in _pieces(data):
                    await self._on_thread(functools.partial(execution.feed, piece, last=last))
                return Response(headers=self._headers(execution))
        finally:
            if execution.is_open:
                await self._on_thread(execution.close)

    def _authenticate(self, request: Request) -> str:
        """The user who asks; without a password, every name but `analyst` is `default`."""
        given = credentials(request)
        if not self._passwords["default"]:
            return ANALYST if given is not None and given[0] == ANALYST else "default"
        if given is None:
            raise ClickHouseError.of(
                194, "REQUIRED_PASSWORD", "default: Authentication failed: a password is required"
            )
        user, password = given
        expected = self._passwords.get(user)
        if not expected or not secrets.compare_digest(password.encode(), expected.encode()):
            raise ClickHouseError.of(
                516,
                "AUTHENTICATION_FAILED",
                f"{user}: Authentication failed: password is incorrect, or there is no user with "
                "such name",
            )
        return user

    async def _answer(self, request: Request, send: Send, execution: Execution) -> Response | None:
        """Run a statement and give its response, or None where it is sent already."""
        call = execution.call
        start = functools.partial(execution.start, _OUTPUT_PIECE_BYTES)
        if call.cancel_on_close and execution.statement.reads:
            watch = asyncio.create_task(self._cancel_on_close(request, call))
            try:
                data = await self._on_thread(start)
            finally:
                watch.cancel()
        else:
            data = await self._on_thread(start)
        headers = self._headers(execution)
        encoder = None
        if call.compress and (not execution.output.finished or len(data) >= _COMPRESS_FROM_BYTES):
            encoding = compression.accepted(request.headers.get("accept-encoding", ""))
            if encoding is not None:
                encoder = compression.encoder(encoding)
                headers["Content-Encoding"] = encoding
        if execution.output.finished:
            if encoder is not None:
                data = await self._on_thread(lambda: encoder.compress(data) + encoder.flush())
            return Response(data, headers=headers)
        tag = secrets.token_hex(8)
        headers["X-ClickHouse-Exception-Tag"] = tag
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        closed = asyncio.create_task(_client_closed(request))
        try:
            await self._stream(
                send=send, encoder=encoder, data=data, execution=execution, tag=tag, closed=closed
            )
        finally:
            closed.cancel()
        return None

    async def _stream(
        self,
        *,
        send: Send,
        encoder: compression.Encoder | None,
        data: bytes,
        execution: Execution,
        tag: str,
        closed: "asyncio.Task[None]",
    ) -> None:
        """Send the body of an answer that is still being made, of which `data` is the first piece.

        An error in the middle is told as ClickHouse does: a block between marks with the tag, and a
        body that breaks off without its proper end.
        """
        failed = False
        while True:
            if encoder is not None:
                data = await self._on_thread(functools.partial(encoder.compress, data))
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            if failed or execution.output.finished:
                break
            # Sending to a client that left is silent, and the query might never end.
            if closed.done():
                return
            try:
                data = await self._on_thread(lambda: execution.output.read(_OUTPUT_PIECE_BYTES))
            except ClickHouseError as error:
                data, failed = _exception_block(error.body(self._engine.version), tag), True
        rest = encoder.flush() if encoder is not None else b""
        await send({"type": "http.response.body", "body": rest, "more_body": failed})

    async def _cancel_on_close(self, request: Request, call: Call) -> None:
        await _client_closed(request)
        await self._on_thread(functools.partial(self._running.cancel, call))

    async def _on_thread(self, work: Callable[[], T]) -> T:
        """Do something that waits for the engine."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @contextmanager
    def _connection(
        self, call: Call, kind: str, account: Mapping[str, str]
    ) -> Iterator[Connection]:
        """A connection with the account's and the request's settings: fresh, or its session's."""
        self._sessions.drop_expired()
        if call.session_id is not None:
            with self._sessions.enter(
                call.session_id, call.session_timeout_s, call.session_check, account
            ) as session:
                session.name_query(call.query_id)
                if kind in ("SET", "USE"):
                    session.uncover()
                else:
                    session.overlay(call.settings, call.database)
                yield session.connection
            return
        connection = self._engine.connect(
            {"log_comment": call.query_id, **call.settings, **account}
        )
        try:
            if call.database is not None and call.database != "default":
                connection.use(call.database)
            yield connection
        finally:
            connection.close()

    def _headers(self, execution: Execution) -> dict[str, str]:
        summary = {name: str(value) for name, value in asdict(execution.progress).items()}
        return {
            "Content-Type": formats.content_type(execution.format),
            "X-ClickHouse-Query-Id": execution.call.query_id,
            "X-ClickHouse-Format": execution.format,
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


async def _read(request: Request) -> tuple[Call, sql.Statement, bytes, AsyncIterator[bytes]]:
    """What is asked, the statement, its text and, for an INSERT, its data.

    The text is the parameter `query` and the body, one after the other.
    """
    encoding = request.headers.get("content-encoding", "").lower()
    body = compression.decoded(request.stream(), encoding)
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        call = read_call(request, *multipart(await _rest(body), content_type))
        body = _only(b"")
    else:
        call = read_call(request, {}, {})
    text = call.query + b"\n" if call.query else b""
    statement = sql.parse(text)
    if statement.data_start is None:
        async for piece in body:
            text += piece
            if len(text) >= _HEAD_BYTES:
                break
        statement = sql.parse(text)
    if statement.data_start is None:
        if rest := await _rest(body):
            text += rest
            statement = sql.parse(text)
        if not text.strip():
            raise ClickHouseError.of(62, "SYNTAX_ERROR", "Empty query")
        return call, statement, text, body
    data = _only(text[statement.data_start :])
    return call, statement, text[: statement.data_start], _chained(data, body)


async def _client_closed(request: Request) -> None:
    """Wait until the client is gone; the request's body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _only(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data


async def _chained(*streams: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for stream in streams:
        async for piece in stream:
            yield piece


async def _rest(body: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in body])


async def _pieces(body: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bool]]:
    """The body in pieces of a size worth a thread's turn, each with whether it is the last."""
    pieces: list[bytes] = []
    size = 0
    async for piece in body:
        if size >= _INPUT_PIECE_BYTES:
            yield b"".join(pieces), False
            pieces, size = [], 0
        pieces.append(piece)
        size += len(piece)
    yield b"".join(pieces), True


def _exception_block(text: str, tag: str) -> bytes:
    message = text.encode()
    head = f"\r\n__exception__\r\n{tag}\r\n".encode()
    return head + message + f"{len(message)} {tag}\r\n__exception__\r\n".encode()
