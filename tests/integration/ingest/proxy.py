"""A proxy before the warehouse that does to inserts what networks and administrators do to them."""

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from tests.forwarding import READ_BYTES, Forwarder

TOKEN = b"insert_deduplication_token="


class Proxy(Forwarder):
    """Forwards connections, with faults that may be changed while it runs."""

    def __init__(self, upstream: str) -> None:
        """Listen on a free loopback port."""
        self.loses_answers_about = ""  # what names it is done without an answer
        self.added_settings = ""  # to inserts with a token, as a profile would: readonly=1
        split = urlsplit(upstream)
        super().__init__((str(split.hostname), int(split.port or 80)))

    def serve(self, client: socket.socket) -> None:
        """Forward both ways, with the faults of now."""
        with socket.create_connection(self.upstream) as server:
            lost = threading.Event()
            back = threading.Thread(target=self._answer, args=(server, client, lost), daemon=True)
            back.start()
            while data := client.recv(READ_BYTES):
                if self.added_settings:
                    data = data.replace(TOKEN, self.added_settings.encode() + b"&" + TOKEN, 1)
                if self.loses_answers_about and self.loses_answers_about.encode() in data:
                    lost.set()
                server.sendall(data)

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(READ_BYTES):
                if lost.is_set():
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
