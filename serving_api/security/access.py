"""Who may call what: one row a route, and whatever has no row is refused.

A new route is one more row here; the application does not start without it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import BaseRoute

from tally.errors import TallyError
from tally.tokens import Role

PLAYERS = frozenset(role for role in Role if role.is_player)
ANALYSTS = frozenset({Role.ANALYST, Role.DATA_ENGINEER, Role.ADMIN, Role.SERVICE})
WRITERS = frozenset({Role.SERVICE, Role.ADMIN})
EVERYONE = frozenset(Role)
NOBODY: frozenset[Role] = frozenset()


@dataclass(frozen=True, slots=True)
class Access:
    """Which roles a route is for.

    `own` may call it for themselves: where the path names a user, only for that user. `anyone` may
    call it for every user. A public route asks for no token.
    """

    own: frozenset[Role] = NOBODY
    anyone: frozenset[Role] = NOBODY
    public: bool = False

    @property
    def roles(self) -> frozenset[Role]:
        """Everyone who has any business here."""
        return self.own | self.anyone


PUBLIC = Access(public=True)

ACCESS: dict[tuple[str, str], Access] = {
    ("GET", "/docs"): PUBLIC,
    ("GET", "/docs/oauth2-redirect"): PUBLIC,
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/"): PUBLIC,
    ("GET", "/page/{name}"): PUBLIC,
    ("GET", "/api/metrics/definitions"): PUBLIC,
    ("GET", "/api/metrics/global"): Access(anyone=EVERYONE),
    ("GET", "/api/metrics/stream"): Access(anyone=EVERYONE),
    ("WEBSOCKET", "/api/realtime/sync"): Access(own=PLAYERS),
    ("WEBSOCKET", "/api/games/ws"): Access(own=PLAYERS),
    ("GET", "/api/olap/health"): Access(anyone=ANALYSTS),
    ("GET", "/api/users/stats"): Access(own=PLAYERS),
    ("GET", "/api/users/stats/explain"): Access(own=PLAYERS),
    ("GET", "/api/users/stats/history"): Access(own=PLAYERS),
    ("GET", "/api/auth/me"): Access(own=EVERYONE),
    ("GET", "/api/auth/profile"): Access(own=PLAYERS),
    ("GET", "/api/users/profile"): Access(own=PLAYERS),
    ("GET", "/api/users/{user_id}"): Access(anyone=EVERYONE),
    ("POST", "/api/actions"): Access(own=PLAYERS, anyone=WRITERS),
    ("POST", "/api/actions/bulk"): Access(own=PLAYERS, anyone=WRITERS),
    ("GET", "/api/actions/recent/{user_id}"): Access(own=PLAYERS, anyone=ANALYSTS),
}


def access_to(method: str, path: str) -> Access:
    """The row of a route, by its template; for one without a row, nobody's."""
    return ACCESS.get((method, path), Access())


def require_rows(routes: Iterable[BaseRoute]) -> None:
    """Raise `TallyError` for a route that nobody could call because the table forgot it."""
    missing = sorted(set(operations(routes)) - ACCESS.keys())
    if missing:
        raise TallyError(
            f"No row of serving_api/security/access.py says who may call {missing}.",
            hint="Add one; until then nobody may.",
        )


def operations(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Method and template of every route, `WEBSOCKET` for a socket."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield from ((method, route.path) for method in route.methods or ())
        elif isinstance(route, APIWebSocketRoute):
            yield "WEBSOCKET", route.path
