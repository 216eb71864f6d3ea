"""HTTP sessions: connections that keep temporary tables and SET values between requests."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tally.local.clickhouse.engine import Connection, Engine
from tally.local.clickhouse.errors import ClickHouseError

DEFAULT_TIMEOUT_S = 60


class Session:
    """A named connection with the settings of only the current request laid over its own."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lock = threading.Lock()
        self.expires_at = 0.0
        # What the session itself has under the settings and the database of the last request.
        self._covered: dict[str, str] = {}
        self._overlay: dict[str, str] = {}
        self._covered_database: str | None = None
        self._overlay_database: str | None = None

    def name_query(self, query_id: str) -> None:
        """Let the next query be found by its client's id, unless the session is read-only."""
        try:
            self.connection.set({"log_comment": query_id})
        except ClickHouseError as error:
            if error.name != "READONLY":
                raise

    def overlay(self, settings: Mapping[str, str], database: str | None) -> None:
        """Apply one request's settings and database, and take back those of the one before."""
        if dict(settings) == self._overlay and database == self._overlay_database:
            return
        self.uncover()
        if settings.get("readonly", "0") != "0":
            # It could not be taken back: a read-only connection changes no setting.
            raise ClickHouseError.of(
                48,
                "NOT_IMPLEMENTED",
                "The embedded server cannot make one request of a session read-only: leave out "
                "session_id, or SET readonly for the whole session",
            )
        if settings:
            names = ", ".join(f"'{name}'" for name in settings if name.isidentifier())
            rows = self.connection.run(
                f"SELECT name, value FROM system.settings WHERE name IN ({names})",
                "JSONCompactEachRow",
            )
            covered = dict(json.loads(row) for row in rows.splitlines())
            self.connection.set(settings)
            self._covered, self._overlay = covered, dict(settings)
        if database is not None:
            before = self.connection.run("SELECT currentDatabase()", "TSVRaw").decode()[:-1]
            self.connection.use(database)
            self._covered_database, self._overlay_database = before, database

    def uncover(self) -> None:
        """Show the session's own settings and database again."""
        self.connection.set(self._covered)
        self._covered, self._overlay = {}, {}
        if self._covered_database is not None:
            self.connection.use(self._covered_database)
        self._covered_database = self._overlay_database = None


class Sessions:
    """All sessions, by name. A session serves one request at a time, as on a server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._by_id: dict[tuple[str, frozenset[tuple[str, str]]], Session] = {}
        self._lock = threading.Lock()

    @contextmanager
    def enter(
        self, session_id: str, timeout_s: float, must_exist: bool, account: Mapping[str, str]
    ) -> Iterator[Session]:
        """The session for one request; accounts with other settings have sessions of their own.

        Raises error 373 where another request is in it, and 372 where it must exist and does not.
        """
        self.drop_expired()
        with self._lock:
            key = session_id, frozenset(account.items())
            session = self._by_id.get(key)
            if session is None:
                if must_exist:
                    raise ClickHouseError.of(
                        372, "SESSION_NOT_FOUND", f"Session {session_id} not found"
                    )
                session = Session(self._engine.connect(account))
                self._by_id[key] = session
            if not session.lock.acquire(blocking=False):
                raise ClickHouseError.of(
                    373,
                    "SESSION_IS_LOCKED",
                    f"Session {session_id} is locked by a client",
                )
            session.expires_at = float("inf")
        try:
            yield session
        finally:
            session.expires_at = time.monotonic() + timeout_s
            session.lock.release()

    def drop_expired(self) -> None:
        """Close the sessions that nobody used for as long as their timeout."""
        now = time.monotonic()
        with self._lock:
            expired = [name for name, one in self._by_id.items() if one.expires_at < now]
            closing = [self._by_id.pop(name) for name in expired]
        for session in closing:
            session.connection.close()

    def close(self) -> None:
        """Close them all."""
        with self._lock:
            closing = list(self._by_id.values())
            self._by_id.clear()
        for session in closing:
            session.connection.close()
