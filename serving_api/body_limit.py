"""Refuses bodies that are larger than any route takes, before they are in memory."""

from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving_api.problems import ProblemError

MAX_BODY_BYTES = 4 * 2**20  # a bulk of 1,000 events of 4 KiB; one event may have 256 KiB


class BodyTooLargeError(ProblemError):
    """413."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "body-too-large",
            "The body is too large",
            f"At most {MAX_BODY_BYTES:,} bytes are taken.",
        )


class BodyLimit:
    """Counts what arrives, whatever `Content-Length` says."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if _declared(scope) > MAX_BODY_BYTES:
            await BodyTooLargeError().response(scope["request_id"])(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise BodyTooLargeError
            return message

        await self.app(scope, counted, send)


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
