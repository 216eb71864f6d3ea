"""Whether ingestion lives and works, over HTTP: /healthz, /readyz and /metrics on one port.

Ready means: it is in the group, no step waits for something outside, and it was not paused.
"""

import http.server
import json
import threading
import time
from contextlib import suppress

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

# A step that fails once and then succeeds is everyday life; one that fails for longer is not.
WAITING_AFTER_S = 2.0
# The event loop ticks each second; validation stands in its way for milliseconds.
DEAD_AFTER_S = 30.0


class Health:
    """What the process knows about itself. Written by the event loop, read by the HTTP threads."""

    def __init__(self) -> None:
        self.partitions: int | None = None  # None: not in the group yet
        self.paused: str | None = None
        self._waiting: dict[str, tuple[float, str]] = {}
        self._ticked = time.monotonic()

    def tick(self) -> None:
        """The event loop turns."""
        self._ticked = time.monotonic()

    def waits(self, step: str, reason: str) -> None:
        """A step failed and is tried again."""
        since, _ = self._waiting.get(step, (time.monotonic(), ""))
        self._waiting[step] = (since, reason)

    def goes_on(self, step: str) -> None:
        """The step succeeded or was given up."""
        self._waiting.pop(step, None)

    @property
    def is_alive(self) -> bool:
        """Whether the event loop turns."""
        return time.monotonic() - self._ticked < DEAD_AFTER_S

    def waiting(self) -> list[str]:
        """The steps that have waited for a while, and for what."""
        now = time.monotonic()
        return [
            f"{step}, for {now - since:.0f} s: {reason}"
            for step, (since, reason) in list(self._waiting.items())
            if now - since >= WAITING_AFTER_S
        ]

    def report(self) -> dict[str, object]:
        """What /readyz answers."""
        waiting = self.waiting()
        return {
            "ready": self.is_alive
            and self.partitions is not None
            and self.paused is None
            and not waiting,
            "partitions": self.partitions,
            "paused": self.paused,
            "waiting": waiting,
        }


HEALTH = Health()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest())
        elif path == "/healthz":
            self._answer_json(200 if HEALTH.is_alive else 503, {"alive": HEALTH.is_alive})
        elif path == "/readyz":
            report = HEALTH.report()
            self._answer_json(200 if report["ready"] else 503, report)
        else:
            self._answer_json(404, {"detail": "/metrics, /healthz and /readyz are here"})

    def _answer_json(self, status: int, document: dict[str, object]) -> None:
        self._answer(status, "application/json", json.dumps(document).encode())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - overridden
        """Probes are not news."""


def serve(host: str, port: int) -> None:
    """Serve from threads that end with the process."""
    server = http.server.ThreadingHTTPServer((host, port), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
