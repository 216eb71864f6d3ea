"""Takes sockets to their endpoints past the framework, which would keep frames of its own for each.

On the way through the middleware, the router and its exit stacks an open socket holds some 9 kB in
coroutines that only wait. With thousands of idle sockets that is a quarter of the memory.
"""

from collections.abc import Iterable

from fastapi.routing import APIWebSocketRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket


class SocketShortcut:
    """The outermost middleware; what is no socket of `routes` goes on as it came.

    The gate lets sockets pass and their endpoints ask for the token, so none is passed by.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self._routes = {
            route.path: route for route in routes if isinstance(route, APIWebSocketRoute)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if scope["type"] == "websocket" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        await route.endpoint(WebSocket(scope, receive, send))
