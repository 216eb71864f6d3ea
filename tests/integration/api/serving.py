"""The API under test: the real application behind a real socket, with a clock to set."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from serving_api.app import create_app
from serving_api.clock import Clock, utc_now
from serving_api.commands import Server, server_config
from tally.settings import Settings
from tally.tokens import Role, mint

START_LIMIT_S = 20


class Client(httpx.Client):
    """Asks as somebody."""

    settings: Settings

    def as_user(self, user_id: int, role: Role = Role.STANDARD) -> dict[str, str]:
        """The headers of a request of `user_id`."""
        return {"Authorization": f"Bearer {mint(self.settings, user_id, role)}"}

    def stats(self, user_id: int, **parameters: str) -> httpx.Response:
        """The answer of `GET /api/users/stats`, not from a cache."""
        headers = {**self.as_user(user_id), "Cache-Control": "no-cache"}
        return self.get("/api/users/stats", params=parameters, headers=headers)


@contextmanager
def serving(settings: Settings, clock: Clock = utc_now) -> Iterator[Client]:
    """Serve the API of `settings` on a free loopback port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(server_config(create_app(settings, clock)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        limit = time.monotonic() + START_LIMIT_S
        while not server.started:
            assert thread.is_alive(), "the API did not start"
            assert time.monotonic() < limit, "the API took too long to start"
            time.sleep(0.01)
        with Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
            client.settings = settings
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
