"""The statements that run now, by the query ids of their clients.

The engine gives every query an id of its own. A client's id travels as `log_comment`, by which its
query is found in `system.processes`.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tally.local.clickhouse.engine import Engine, quote
from tally.local.clickhouse.errors import ClickHouseError
from tally.local.clickhouse.request import Call


class Running:
    """What runs, and the ways to stop it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ids: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def registered(self, call: Call) -> Iterator[None]:
        """Hold the query id of a call for as long as it runs.

        Raises error 216 where a query of that id runs already.
        """
        with self._lock:
            if call.query_id in self._ids:
                raise ClickHouseError.of(
                    216,
                    "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
                    f"Query with id = {call.query_id} is already running.",
                )
            self._ids.add(call.query_id)
        try:
            yield
        finally:
            with self._lock:
                self._ids.discard(call.query_id)

    def cancel(self, call: Call) -> None:
        """Cancel a call's query."""
        self._kill(f"Settings['log_comment'] = {quote(call.query_id)}")

    def cancel_all(self) -> None:
        """Cancel everything."""
        self._kill("1")

    def with_engine_ids(self, text: bytes) -> bytes:
        """A KILL QUERY with the engine's ids in the place of the clients' ids in it."""
        with self._lock:
            ids = [one for one in self._ids if quote(one).encode() in text]
        if not ids:
            return text
        wanted = ", ".join(quote(one) for one in ids)
        connection = self._engine.connect()
        try:
            rows = connection.run(
                "SELECT Settings['log_comment'], query_id FROM system.processes "
                f"WHERE Settings['log_comment'] IN ({wanted})",
                "JSONCompactEachRow",
            )
        finally:
            connection.close()
        for line in rows.splitlines():
            client_id, engine_id = json.loads(line)
            text = text.replace(quote(client_id).encode(), quote(engine_id).encode())
        return text

    def _kill(self, condition: str) -> None:
        connection = self._engine.connect()
        try:
            connection.run(f"KILL QUERY WHERE {condition} ASYNC")
        finally:
            connection.close()
