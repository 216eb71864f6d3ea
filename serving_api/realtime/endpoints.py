"""`WS /api/realtime/sync`, its legacy path, `GET /api/metrics/global` and its stream."""

import asyncio
import uuid
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Depends, Header, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from serving_api.actions.schemas import RecentAction
from serving_api.parameters import refuse_parameters
from serving_api.problems import ProblemError, forbidden, problem_responses
from serving_api.realtime.closing import Close, close_of
from serving_api.realtime.connection import Connection, Numbers
from serving_api.realtime.frames import frame
from serving_api.realtime.schemas import GlobalMetrics
from serving_api.realtime.stream import Stream
from serving_api.security.gate import Caller, admit_socket
from serving_api.state import AppState, state_of
from serving_api.stats.asking import ask_stats
from serving_api.stats.schemas import StatsQuery
from serving_api.warehouse import answering

router = APIRouter(tags=["realtime"])

SYNC = "/api/realtime/sync"
LEGACY = "/api/games/ws"
LEGACY_HEADERS = {
    "Deprecation": f"@{int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())}",
    "Sunset": format_datetime(datetime(2027, 6, 1, tzinfo=UTC), usegmt=True),
    "Link": f'<{SYNC}>; rel="successor-version"',
}

SUBPROTOCOL = "tally"
# A browser's WebSocket can set no header but this one: `new WebSocket(url, ["tally", "bearer.…"])`.
TOKEN_PREFIX = "bearer."  # noqa: S105
TOKEN_SECONDS = 10.0
RECENT_ACTIONS = 20
MESSAGES_A_MINUTE = 120

_QUERY = StatsQuery(include="by_game")
_PROBLEMS = problem_responses(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)


class _Said(msgspec.Struct):
    """What a client may say: `authenticate` first, where the handshake had no token; `ping`."""

    type: str
    token: str = ""


_decode = msgspec.json.Decoder(_Said).decode


class _ClosedError(Exception):
    """The socket is to be closed."""

    def __init__(self, code: Close, why: str) -> None:
        super().__init__(why)
        self.close = code, why


@router.websocket(SYNC)
async def sync(socket: WebSocket) -> None:
    """The player's own events and numbers, pushed."""
    await _serve(socket, {})


@router.websocket(LEGACY)
async def legacy(socket: WebSocket) -> None:
    """The same by its old path, while `ENABLE_LEGACY_GAMES_WS` is true."""
    state: AppState = socket.state.tally
    enabled = state.settings.enable_legacy_games_ws
    state.realtime.legacy.labels("accepted" if enabled else "refused").inc()
    if not enabled:
        gone = ProblemError(
            HTTPStatus.GONE,
            "legacy-path-off",
            "This path is switched off",
            f"Connect to {SYNC}.",
            headers=LEGACY_HEADERS,
        )
        await socket.send_denial_response(gone.response(str(uuid.uuid4())))
        return
    await _serve(socket, LEGACY_HEADERS)


@router.get(
    "/api/metrics/global",
    summary="The platform's numbers, today and in all",
    response_model=GlobalMetrics,
    responses=_PROBLEMS,
    dependencies=[Depends(refuse_parameters)],
)
async def global_metrics(request: Request) -> GlobalMetrics:
    """As of the last materialization, usually less than a minute ago. Days are UTC dates."""
    async with answering(request):
        return await state_of(request).platform.snapshot()


@router.get(
    "/api/metrics/stream",
    summary="The platform's numbers as they change",
    response_class=StreamingResponse,
    responses={
        **_PROBLEMS,
        200: {
            "description": "Server-sent events: `snapshot`, whose data is the answer of "
            "`/api/metrics/global`, at the start and whenever it is another one; `close`, whose "
            "data is `{code, reason}`, before the server ends the stream; a comment every 15 "
            "seconds.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
    },
    dependencies=[Depends(refuse_parameters)],
)
async def stream_metrics(
    request: Request,
    caller: Caller,
    last_event_id: Annotated[
        str | None,
        Header(
            max_length=64,
            description="The `id` of the last event that was read: the ones after it follow, or "
            "the newest where they are not known any more.",
        ),
    ] = None,
) -> StreamingResponse:
    """Ends when the token expires. The token goes into the header, so read it with `fetch`."""
    state = state_of(request)
    state.hub.require_room(caller)
    async with answering(request):
        await state.platform.snapshot()
    token = request.headers["authorization"].partition(" ")[2]
    stream = Stream(state.platform, state.realtime, token, caller)
    return StreamingResponse(
        stream.events(state.hub, last_event_id),
        media_type="text/event-stream",
        # nginx would keep the events until its buffer is full.
        headers={"X-Accel-Buffering": "no"},
    )


async def _serve(socket: WebSocket, headers: dict[str, str]) -> None:
    """One connection, from the handshake to its end."""
    state: AppState = socket.state.tally
    if (refusal := _refused_handshake(socket, state)) is not None:
        await socket.send_denial_response(refusal.response(str(uuid.uuid4())))
        return
    offered = socket.scope["subprotocols"]
    await socket.accept(
        subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None,
        headers=[(name.encode(), value.encode()) for name, value in headers.items()],
    )
    # Nobody asks for them again, and they would be kept for as long as the socket is open.
    socket.scope["headers"] = []
    try:
        connection = await _signed_in(socket, state, offered)
        with state.hub.listening(connection):
            await _hear(socket, state, connection)
    except WebSocketDisconnect:
        return
    except _ClosedError as closed:
        await _close(socket, state, *closed.close)
    except ProblemError as problem:
        await _close(socket, state, *close_of(problem))


def _refused_handshake(socket: WebSocket, state: AppState) -> ProblemError | None:
    if socket.scope["query_string"]:
        # An address ends up in logs and histories; whoever put a token there must notice.
        return ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            "The request has parameters that are not valid",
            "A socket takes no query parameters; its token goes into the subprotocol or the first "
            "message.",
        )
    origin = socket.headers.get("origin")
    if origin is None or origin in state.settings.api_cors_origins.split(","):
        return None
    # Programs send no origin. A page of this API has the host that the socket asks for.
    if urlsplit(origin).netloc == socket.headers.get("host"):
        return None
    return forbidden(f"Pages of {origin[:100]} may not connect.")


async def _signed_in(socket: WebSocket, state: AppState, offered: list[str]) -> Connection:
    tokens = [each for each in offered if each.startswith(TOKEN_PREFIX)]
    token = tokens[0].removeprefix(TOKEN_PREFIX) if tokens else await _first_message(socket)
    bearer, user_id = await admit_socket(socket, token)
    state.hub.require_room(bearer)
    await socket.send_text(frame("sync_connected", user_id, {}, state.clock()))
    numbers = _numbers_of(state, user_id)
    return Connection(socket, token, bearer, user_id, numbers=numbers, metrics=state.realtime)


async def _first_message(socket: WebSocket) -> str:
    try:
        async with asyncio.timeout(TOKEN_SECONDS):
            said = _parsed(await socket.receive())
    except TimeoutError:
        raise _ClosedError(Close.NO_TOKEN, "No token came within 10 seconds.") from None
    if said.type != "authenticate" or not said.token:
        raise _ClosedError(
            Close.BAD_MESSAGE, 'The first message is {"type": "authenticate", "token": "..."}.'
        )
    return said.token


async def _hear(socket: WebSocket, state: AppState, connection: Connection) -> None:
    """Answer pings until the client leaves."""
    messages = f"{connection.bearer.name}/messages"
    while True:
        said = _parsed(await socket.receive())
        if said.type != "ping":
            raise _ClosedError(Close.BAD_MESSAGE, 'After the token a client says only "ping".')
        if state.rates.take(messages, MESSAGES_A_MINUTE).retry_after_seconds:
            state.realtime.throttled.labels("messages").inc()
            raise _ClosedError(Close.TOO_MANY, f"At most {MESSAGES_A_MINUTE} messages a minute.")
        await socket.send_text(frame("pong", connection.user_id, {}, state.clock()))


def _parsed(message: Message) -> _Said:
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    try:
        return _decode(str(message.get("text") or ""))
    except (msgspec.MsgspecError, RecursionError):
        raise _ClosedError(Close.BAD_MESSAGE, "A message is a JSON object with a type.") from None


async def _close(socket: WebSocket, state: AppState, code: Close, why: str) -> None:
    state.realtime.closed.labels(str(int(code))).inc()
    try:
        await socket.close(int(code), why)
    except (WebSocketDisconnect, RuntimeError):
        return  # the client was faster


def _numbers_of(state: AppState, user_id: int) -> Numbers:
    async def numbers(whole: bool) -> str:
        """The answer that a GET would have now, in a frame."""
        asked = ask_stats(state, user_id, _QUERY)
        if not whole:
            stats = msgspec.Raw((await asked).body())
            return frame("stats_update", user_id, {"stats": stats}, state.clock())
        stats_asked, actions = await asyncio.gather(
            asked, state.actions.recent(user_id, RECENT_ACTIONS)
        )
        recent = [RecentAction.of(row).model_dump(mode="json") for row in actions]
        data = {"stats": msgspec.Raw(stats_asked.body()), "recent_actions": recent}
        return frame("initial_state", user_id, data, state.clock())

    return numbers
