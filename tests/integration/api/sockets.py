"""A player's socket in a test: frames as they come, and why it was closed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from serving_api.realtime.endpoints import SYNC
from tally.tokens import Role, mint
from tests.integration.api.serving import Client

LIMIT_S = 30.0


class Socket:
    """An open connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def frame(self, seconds: float = LIMIT_S) -> dict[str, Any]:
        """The next frame."""
        found: dict[str, Any] = json.loads(self.connection.recv(seconds))
        return found

    def until(self, kind: str, **data: Any) -> dict[str, Any]:
        """The next frame of a type, of which `data` holds; what comes before it is dropped."""
        limit = time.monotonic() + LIMIT_S
        while True:
            found = self.frame(max(0.01, limit - time.monotonic()))
            if found["type"] == kind and data.items() <= found["data"].items():
                return found

    def stats(self, **numbers: Any) -> dict[str, Any]:
        """The statistics of the first `stats_update` that says these numbers."""
        while True:
            stats: dict[str, Any] = self.until("stats_update")["data"]["stats"]
            if numbers.items() <= {**stats, **stats["meta"]}.items():
                return stats

    def say(self, **message: Any) -> None:
        """Send a message."""
        self.connection.send(json.dumps(message))

    def closed(self) -> tuple[int, str]:
        """Code and reason of the close that ends it."""
        with pytest.raises(ConnectionClosed) as caught:
            self._drop_all()
        close = caught.value.rcvd
        assert close is not None
        return close.code, close.reason

    def _drop_all(self) -> None:
        limit = time.monotonic() + LIMIT_S
        while True:
            self.connection.recv(max(0.01, limit - time.monotonic()))


@contextmanager
def opened(
    api: Client,
    user: int | None,
    path: str = SYNC,
    *,
    role: Role = Role.STANDARD,
    token: str | None = None,
    origin: str | None = None,
    **options: Any,
) -> Iterator[Socket]:
    """A socket with the token of `user` in its handshake; None sends none."""
    protocols = ["tally"]
    if user is not None:
        protocols.append("bearer." + (token or mint(api.settings, user, role)))
    with connect(
        str(api.base_url).replace("http", "ws").rstrip("/") + path,
        subprotocols=[Subprotocol(each) for each in protocols],
        origin=None if origin is None else Origin(origin),
        compression=None,
        **options,
    ) as connection:
        yield Socket(connection)
