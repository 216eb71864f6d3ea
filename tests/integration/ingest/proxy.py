"""A proxy before the warehouse that does to inserts what networks and administrators do to them."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

TOKEN = b"insert_deduplication_token="


class Proxy:
    """Forwards connections, with faults that may be changed while it runs."""

    def __init__(self, upstream: str) -> None:
        """Listen on a free loopback port."""
        split = urlsplit(upstream)
        self._upstream = (str(split.hostname), int(split.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.loses_answers_about = ""  # what names it is done without an answer
        self.added_settings = ""  # to inserts with a token, as a profile would: readonly=1
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._upstream) as server:
            lost = threading.Event()
            back = threading.Thread(target=self._answer, args=(server, client, lost), daemon=True)
            back.start()
            while data := client.recv(65_536):
                if self.added_settings:
                    data = data.replace(TOKEN, self.added_settings.encode() + b"&" + TOKEN, 1)
                if self.loses_answers_about and self.loses_answers_about.encode() in data:
                    lost.set()
                server.sendall(data)

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                if lost.is_set():
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
