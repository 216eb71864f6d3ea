"""A container's health check: `probe.py http://host:port/path` or `probe.py tcp://host:port`.

Ends with 0 where it answers with a status below 400, or accepts. Standard library alone: importing
ours costs a second of CPU at each look.
"""

import socket
import sys
import urllib.request
from urllib.parse import urlsplit

LIMIT_S = 5


def main(address: str) -> None:
    """Raise where nothing answers."""
    url = urlsplit(address)
    if url.scheme == "tcp":
        socket.create_connection((url.hostname or "", url.port or 0), LIMIT_S).close()
    else:
        urllib.request.urlopen(address, timeout=LIMIT_S).close()  # noqa: S310


if __name__ == "__main__":
    main(sys.argv[1])
