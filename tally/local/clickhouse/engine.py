"""The engine itself: one chDB per process and a connection per request.

A connection costs 0.15 ms and carries its own settings, current database and temporary tables, so a
request that gets a fresh one cannot leak anything into the next.
"""

import importlib
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally.local.clickhouse.errors import ClickHouseError

# The binding under `chdb.connect`, whose wrapper drops a stream's last chunk, which has the totals.
_chdb: Any = importlib.import_module("chdb")._chdb

# chDB is made from clickhouse-local, whose settings differ from a server's in these.
SERVER_SETTINGS = {"implicit_select": "0"}

_SETTING_NAME = re.compile(r"\w+")


@dataclass
class Progress:
    """What a statement read and wrote so far, in rows and bytes."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise ClickHouseError.from_engine(error) from None


def quote(value: str) -> str:
    """A ClickHouse string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def quote_identifier(name: str) -> str:
    """A ClickHouse identifier in backticks."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


class Stream:
    """The rows of a running SELECT in pieces of about 65 thousand rows."""

    def __init__(self, connection: Any, result: Any, progress: Progress) -> None:
        self._connection = connection
        self._result = result
        self.progress = progress
        self.finished = False

    def read(self, limit: int) -> bytes:
        """The next `limit` bytes or a little more; all that is left when `finished`."""
        pieces: list[bytes] = []
        size = 0
        while not self.finished and size < limit:
            with _engine_errors():
                chunk = self._connection.streaming_fetch_result(self._result)
            data = chunk.bytes()
            rows = chunk.rows_read()
            self.finished = rows == 0
            self.progress.result_rows += rows
            self.progress.read_rows = max(chunk.storage_rows_read(), self.progress.result_rows)
            self.progress.read_bytes = chunk.storage_bytes_read()
            self.progress.elapsed_ns = int(chunk.elapsed() * 1e9)
            pieces.append(data)
            size += len(data)
        self.progress.result_bytes += size
        return b"".join(pieces)

    def close(self) -> None:
        """Stop the query if it still runs."""
        if not self.finished:
            self.finished = True
            with _engine_errors():
                self._connection.streaming_cancel_query(self._result)


class Connection:
    """One connection to the engine. It serves one statement at a time, from any thread."""

    def __init__(self, address: str) -> None:
        with _engine_errors():
            self._raw = _chdb.connect(address)
        self.progress = Progress()

    def set(self, settings: Mapping[str, str]) -> None:
        """Change settings of this connection, all or none.

        An unknown name is error 115, as on a server.
        """
        for name in settings:
            if not _SETTING_NAME.fullmatch(name):
                raise ClickHouseError.of(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'.")
        if settings:
            assignments = ", ".join(f"{name} = {quote(value)}" for name, value in settings.items())
            self.run(f"SET {assignments}")

    def use(self, database: str) -> None:
        """Change the current database."""
        self.run(f"USE {quote_identifier(database)}")

    def statement_count(self, sql: bytes) -> int:
        """How many statements the text holds; 0 where it does not parse."""
        count: int = self._raw.classify_query(sql)["statement_count"]
        return count

    def run(
        self,
        sql: str | bytes,
        format_name: str = "TabSeparated",
        params: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run a statement to its end and give all of its output."""
        self.progress = Progress()
        with _engine_errors():
            result = self._raw.query(sql, format_name, params=dict(params or {}))
        data: bytes = result.bytes()
        self.progress = Progress(
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read(),
            result_bytes=len(data),
            elapsed_ns=int(result.elapsed() * 1e9),
        )
        return data

    def select(self, sql: bytes, format_name: str, params: Mapping[str, str]) -> Stream:
        """Start a SELECT whose output comes in pieces.

        Raises error 36 and runs nothing where the statement is not a SELECT.
        """
        self.progress = Progress()
        with _engine_errors():
            result = self._raw.send_query(sql, format_name, params=dict(params))
        return Stream(self._raw, result, self.progress)

    def close(self) -> None:
        """Close it, dropping its temporary tables."""
        self._raw.close()


class Engine:
    """The engine that owns one folder for as long as it is open."""

    def __init__(self, path: Path, config: Path | None = None) -> None:
        """Open the folder, which is created where it does not exist.

        Backups go to `backups` in it, as in a server's own folder. `config` is a configuration of
        ClickHouse; its users file may limit what everybody, who is user `default`, can do.
        """
        self._path = path.resolve()
        backups = self._path / "backups"
        backups.mkdir(parents=True, exist_ok=True)
        self._spool = self._path / "spool"
        self._spool.mkdir(exist_ok=True)
        for left_over in self._spool.iterdir():
            left_over.unlink()
        # The engine lives as long as its last connection, and the first one configures it.
        options = [f"backups.allowed_path={backups}"]
        if config is not None:
            options.append(f"config-file={config.resolve()}")
        self._anchor = Connection(f"{self._path}?{'&'.join(options)}")
        self.version = self._anchor.run("SELECT version()").decode().strip()
        self.timezone = self._anchor.run("SELECT serverTimezone()").decode().strip()

    def connect(self, settings: Mapping[str, str] | None = None) -> Connection:
        """A fresh connection in database `default`, with a server's settings and these."""
        connection = Connection(str(self._path))
        try:
            connection.set({**SERVER_SETTINGS, **(settings or {})})
        except ClickHouseError:
            connection.close()
            raise
        return connection

    def spool_file(self) -> Path:
        """A name for a file that the engine may write."""
        return self._spool / uuid.uuid4().hex

    def close(self) -> None:
        """Stop the engine; every other connection must be closed before."""
        self._anchor.close()
