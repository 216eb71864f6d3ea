"""A network between the page and the API that can be cut."""

import socket
import threading
from contextlib import suppress
from types import TracebackType

from tests.forwarding import READ_BYTES, Forwarder


class Network(Forwarder):
    """Forwards connections to a port until it is cut, and again once it is mended."""

    def __init__(self, port: int) -> None:
        self._open: set[socket.socket] = set()
        self._is_cut = False
        super().__init__(("127.0.0.1", port))

    def cut(self) -> None:
        """End every connection, and every one that is tried."""
        self._is_cut = True
        for each in tuple(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self.cut()

    def serve(self, client: socket.socket) -> None:
        """Forward both ways, unless it is cut."""
        if self._is_cut:
            return
        with socket.create_connection(self.upstream) as server:
            self._open |= {client, server}
            back = threading.Thread(target=_forward, args=(server, client), daemon=True)
            back.start()
            _forward(client, server)
            back.join()
            self._open -= {client, server}


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(READ_BYTES):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
