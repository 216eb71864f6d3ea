"""Run the embedded warehouse: `python -m tally.local.clickhouse --path DIR --port N`."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
import uvicorn
import uvloop

from tally.errors import TallyError
from tally.settings import load_settings

# After SIGTERM running queries may go on for so long, then they are cancelled, then cut off.
_GRACE_S = 3
_STOP_S = 10


class _HttpServer(uvicorn.Server):
    """uvicorn's server, which ends by itself and not by the signal that stopped it."""

    def __init__(self, config: uvicorn.Config, cancel_running: Callable[[], None]) -> None:
        super().__init__(config)
        self._cancel_running = cancel_running

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        asyncio.get_running_loop().call_later(_GRACE_S, self._cancel_running)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


@click.command()
@click.option("--path", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--port", default=0, show_default=True, help="Loopback port; 0 takes a free one.")
@click.option("--port-file", type=click.Path(path_type=Path), help="Gets the URL when ready.")
@click.option("--password-file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A configuration file of ClickHouse; everybody is user `default` of its users file.",
)
def main(
    path: Path,
    port: int,
    port_file: Path | None,
    password_file: Path | None,
    config: Path | None,
) -> None:
    """Serve the warehouse kept in PATH on 127.0.0.1 until SIGTERM or SIGINT."""
    settings = load_settings()
    if password_file is not None:
        password = password_file.read_text().strip()
    else:
        password = settings.clickhouse_password.get_secret_value()
    analyst_password = settings.clickhouse_analyst_password.get_secret_value()
    try:
        uvloop.run(serve(path, port, port_file, password, analyst_password, config))
        if port_file is not None:
            port_file.unlink(missing_ok=True)
    except TallyError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(error.exit_code)


async def serve(  # noqa: PLR0917 - the options of the command
    path: Path,
    port: int,
    port_file: Path | None,
    password: str,
    analyst_password: str,
    config: Path | None = None,
) -> None:
    """Open the engine, tell the URL and answer requests until told to stop."""
    # The engine takes its time zone from the process when it is loaded, hence the late imports.
    os.environ["TZ"] = "UTC"
    time.tzset()
    from tally.local.clickhouse.engine import Engine
    from tally.local.clickhouse.errors import ClickHouseError
    from tally.local.clickhouse.server import Server

    try:
        engine = Engine(path, config)
    except (ClickHouseError, OSError) as error:
        raise TallyError(
            f"The warehouse in {path} cannot be opened: {error}",
            hint="One process owns a folder. Is another server running on it?",
        ) from None
    listener = _listen(port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    application = Server(engine, password, analyst_password)
    http = uvicorn.Config(
        application,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        timeout_keep_alive=60,
        timeout_graceful_shutdown=_STOP_S,
    )
    if port_file is not None:
        _write_atomically(port_file, url + "\n")
    print(f"ClickHouse {engine.version} (chDB) on {url}, data in {path}", flush=True)
    try:
        await _HttpServer(http, application.cancel_running).serve(sockets=[listener])
    finally:
        await application.close()
        engine.close()


def _listen(port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer waited 40 ms
    # for the client's delayed acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        raise TallyError(
            f"Port {port} of 127.0.0.1 cannot be used: {error.strerror}",
            hint="Choose another one, or 0 for a free one.",
        ) from None
    listener.listen(1024)
    return listener


def _write_atomically(file: Path, text: str) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text)
    partial.replace(file)


if __name__ == "__main__":
    main()
