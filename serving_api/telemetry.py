"""What every request passes through: an id, security headers, metrics, the last catch.

Pure ASGI, because a `BaseHTTPMiddleware` costs a task and two queues a request.
"""

import logging
import re
import time
import uuid

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving_api.problems import internal_error

logger = logging.getLogger(__name__)

_GIVEN_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # An answer is one player's; it must not outlive its request in any shared place.
    "Cache-Control": "no-store",
}

# Swagger UI starts from a script in its page and draws its icons from data.
DOCUMENTATION_PATH = "/docs"
_DOCUMENTATION_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'"
)

# Below the 25 ms and 60 ms goals it is fine, above it only tells slow from stuck. The objectives'
# thresholds have to be among them: reads 25 and 250 ms, writes 50 and 400 ms.
_DURATION_BUCKETS = (
    *(0.002, 0.005, 0.01, 0.025, 0.04, 0.05, 0.06),
    *(0.1, 0.25, 0.4, 0.5, 1, 2.5, 5, 10),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """Rate, errors and duration of requests by route template.

    Every label is bounded: a path that no route matches is `unmatched`, a strange method `other`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "tally_http_requests",
            "Requests answered, by route template and status.",
            ("route", "method", "status"),
            registry=registry,
        )
        self.duration = Histogram(
            "tally_http_request_duration_seconds",
            "From the first byte of a request to the last byte of its answer.",
            ("route",),
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )
        self.in_progress = Gauge(
            "tally_http_requests_in_progress", "Requests under way.", registry=registry
        )

    def record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one answered request."""
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.requests.labels(route, method, str(status)).inc()
        self.duration.labels(route).observe(seconds)


class RequestEnvelope:
    """The outermost middleware; gives every request `scope["request_id"]`."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = request_id = _request_id(scope)
        # A caller that leaves before the answer starts is recorded as nginx does.
        status = 499
        started = time.perf_counter()

        async def send_wrapped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                if scope["path"] == DOCUMENTATION_PATH:
                    headers["Content-Security-Policy"] = _DOCUMENTATION_POLICY
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.update(scope.get("answer_headers", {}))
                headers["X-Request-Id"] = request_id
            await send(message)

        with self.metrics.in_progress.track_inprogress():
            try:
                await self.app(scope, receive, send_wrapped)
            except Exception:
                logger.exception("request %s failed: %s", request_id, scope["path"])
                if status != 499:  # half an answer is out: only closing the connection tells
                    raise
                await internal_error().response(request_id)(scope, receive, send_wrapped)
            finally:
                self.metrics.record(scope, status, time.perf_counter() - started)


def _request_id(scope: Scope) -> str:
    """The caller's `X-Request-Id` where it is harmless in a log, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_REQUEST_ID.fullmatch(value):
            given: bytes = value
            return given.decode("ascii")
    return str(uuid.uuid4())
