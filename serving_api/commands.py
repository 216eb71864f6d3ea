"""`tally serve`: the API as a process. `tally audit`: its audit log."""

import gc
import logging
import resource
import socket

import click
import uvicorn
from fastapi import FastAPI

from serving_api.app import create_app, jwks_source
from serving_api.security.audit import verify_audit
from tally.cli import with_settings
from tally.errors import TallyError
from tally.settings import Settings

UNREAD_MS = 60_000

_LINES_OF_A_SOCKET = (
    '%s - "WebSocket',
    "connection open",
    "connection closed",
    "connection rejected",
    "ASGI callable returned without completing handshake",
)


@click.command()
@with_settings
def serve(settings: Settings) -> None:
    """Serve the API until it is told to stop (SIGTERM, Ctrl-C)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings.endpoint("clickhouse_url")
    jwks_source(settings)
    listener = _listen(settings.api_host, settings.api_port)
    host, port = listener.getsockname()[:2]
    click.echo(f"Serving on http://{host}:{port}", err=True)
    _take_as_many_connections_as_allowed()
    logging.getLogger("uvicorn.error").addFilter(_is_of_more_than_a_socket)
    app = create_app(settings)
    # What is there now stays: the collector need not look through it under load.
    gc.collect()
    gc.freeze()
    Server(server_config(app)).run(sockets=[listener])


@click.command()
@with_settings
def audit(settings: Settings) -> None:
    """Check the chain of the API's audit log, and print its length and its head."""
    lines, head = verify_audit(settings.audit_path)
    click.echo(f"{lines} lines, intact, head {head}")


class Server(uvicorn.Server):
    """Ends the open sockets and streams first: uvicorn waits for them, and they for events."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end what is open, and wait for requests under way."""
        self.config.app.state.end_connections()  # type: ignore[union-attr]
        await super().shutdown(sockets)


def server_config(app: FastAPI) -> uvicorn.Config:
    """How the API is served."""
    return uvicorn.Config(
        app,
        log_config=None,
        # Requests are counted by route; a line for each would cost more than it tells.
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
        # Longer than clients and proxies keep an idle connection (60 s as a rule), so that they
        # close it first: with uvicorn's 5 s, a request sent in that moment met no answer.
        timeout_keep_alive=75,
        # Of thousands of first requests at once, each waits for its turn and none is refused.
        backlog=4096,
        # What a client says to a socket is a token, at most.
        ws_max_size=16 * 1024,
        # Frames are small, and a window for each of thousands of connections is not.
        ws_per_message_deflate=False,
        ws_ping_interval=20,
        ws_ping_timeout=20,
    )


def _is_of_more_than_a_socket(record: logging.LogRecord) -> bool:
    """uvicorn writes lines for each socket, and calls one that was refused with 403 a bug."""
    return not str(record.msg).startswith(_LINES_OF_A_SOCKET)


def _take_as_many_connections_as_allowed() -> None:
    """A connection is an open file, of which a shell's soft limit is often 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets whose protocol is named.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # A client that reads nothing but keeps its connection would have it for ever: the server's
    # close waits until what was written before is read. Accepted sockets inherit this.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise TallyError(
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            hint="Another process may have the port; TALLY_API_PORT=0 takes a free one.",
        ) from error
    return listener
