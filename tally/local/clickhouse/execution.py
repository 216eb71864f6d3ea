"""One statement on its way through the engine: the side of a request that runs on threads."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from tally.local.clickhouse import formats
from tally.local.clickhouse.engine import (
    Connection,
    Progress,
    quote,
    quote_identifier,
)
from tally.local.clickhouse.errors import ClickHouseError
from tally.local.clickhouse.native import empty_block
from tally.local.clickhouse.request import Call
from tally.local.clickhouse.sql import Statement


class Output(Protocol):
    """What a statement answers, read piece by piece."""

    finished: bool

    def read(self, limit: int) -> bytes:
        """About the next `limit` bytes; `finished` tells whether more follow."""

    def close(self) -> None:
        """Let go of what it holds, stopping the query if it still runs."""


class WholeOutput:
    """Output that is all there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.finished = False

    def read(self, limit: int) -> bytes:
        """The next `limit` bytes."""
        data, self._data = self._data[:limit], self._data[limit:]
        self.finished = not self._data
        return data

    def close(self) -> None:
        """Nothing is held."""
        self._data = b""


class FileOutput:
    """Output that the engine wrote to a file, which goes when the answer is sent."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._left = path.stat().st_size
        path.unlink()
        self.finished = False

    def read(self, limit: int) -> bytes:
        """The next `limit` bytes."""
        data = self._file.read(limit)
        self._left -= len(data)
        self.finished = self._left <= 0
        return data

    def close(self) -> None:
        """Free the file."""
        self._file.close()


class Execution:
    """Runs one statement. Every method waits for the engine, so none belongs on the event loop."""

    def __init__(
        self,
        scope: AbstractContextManager[Connection],
        call: Call,
        statement: Statement,
        text: bytes,
        spool: Path,
    ) -> None:
        """`scope` gives the connection, `text` the statement and `spool` a name for a file."""
        self._scope = scope
        self.call = call
        self.statement = statement
        self._text = text
        self._spool = spool
        self._connection: Connection | None = None
        self._data: BinaryIO | None = None
        self.output: Output = WholeOutput(b"")
        self.progress = Progress()
        inserts = statement.kind == "INSERT"
        self.format = formats.canonical(
            call.default_format if inserts or not statement.format else statement.format
        )

    @property
    def is_open(self) -> bool:
        """Whether it holds a connection or a file."""
        return self._connection is not None or self._data is not None

    def start(self, limit: int) -> bytes:
        """Run the statement until about `limit` bytes of its output are there, and give those.

        What it reads is in `output`. Raises `ClickHouseError`.
        """
        if self.statement.reads_input:
            raise ClickHouseError.of(
                48,
                "NOT_IMPLEMENTED",
                "The embedded server cannot run INSERT ... SELECT FROM input(): insert the data "
                "into a table first, or into one of engine Null with a materialized view",
            )
        connection = self._open()
        if connection.statement_count(self._text) > 1:
            raise ClickHouseError.of(62, "SYNTAX_ERROR", "Multi-statements are not allowed")
        whole = self.call.wait_end_of_query
        if self.statement.kind == "SELECT" and formats.is_streamed(self.format) and not whole:
            self.output = connection.select(self._text, self.format, self.call.params)
        elif self.statement.kind == "SELECT" and (whole or formats.is_framed(self.format)):
            self.output = self._spooled(connection)
        else:
            self.output = WholeOutput(connection.run(self._text, self.format, self.call.params))
        data = self.output.read(limit)
        self.progress = connection.progress
        if not data and self.format == "Native" and self.statement.reads:
            data = self._empty_native(connection)
        if self.output.finished:
            self.close()
        return data

    def feed(self, data: bytes, *, last: bool) -> None:
        """Give an INSERT the next piece of its data; with the last one it is stored.

        The data goes through a file: chDB's own streaming insert reports rows as written although a
        constraint or a materialized view has refused them (4.4.0).
        """
        if self._data is None:
            self._data = self._spool.open("wb")
        self._data.write(data)
        if last:
            self._data.close()
            connection = self._open()
            file = quote(str(self._spool)).encode()
            connection.run(self.statement.with_data_in(self._text, file), params=self._params)
            self.progress = connection.progress
            self.close()

    def close(self) -> None:
        """Stop what still runs and let go of the connection."""
        if self._data is not None:
            self._data.close()
            self._data = None
            self._spool.unlink()
        if self._connection is None:
            return
        try:
            self.output.close()
            if self.call.session_id is not None:
                for table in self.call.tables:
                    self._connection.run(f"DROP TEMPORARY TABLE {quote_identifier(table.name)}")
        finally:
            self._connection = None
            self._scope.__exit__(None, None, None)

    def _open(self) -> Connection:
        self._connection = connection = self._scope.__enter__()
        for table in self.call.tables:
            name = quote_identifier(table.name)
            connection.run(
                f"CREATE OR REPLACE TEMPORARY TABLE {name} ({table.structure}) ENGINE = Memory"
            )
            self._spool.write_bytes(table.data)
            try:
                file = quote(str(self._spool))
                connection.run(f"INSERT INTO {name} FROM INFILE {file} FORMAT {table.format}")
            finally:
                self._spool.unlink()
        return connection

    def _spooled(self, connection: Connection) -> Output:
        """Let the engine write the output to a file, so that memory does not grow with it."""
        outfile = f"\nINTO OUTFILE {quote(str(self._spool))} FORMAT {self.format} ".encode()
        try:
            connection.run(self.statement.with_format(self._text, outfile), "Null", self._params)
            return FileOutput(self._spool)
        finally:
            self._spool.unlink(missing_ok=True)

    def _empty_native(self, connection: Connection) -> bytes:
        """The header block that chDB leaves out of an empty result."""
        bare = self.statement.with_format(self._text, b"\n")
        if self.statement.kind == "SELECT":
            answer = connection.run(
                b"DESCRIBE TABLE (\n" + bare + b"\n)", "JSONCompact", self._params
            )
            columns = [(row[0], row[1]) for row in json.loads(answer)["data"]]
        else:
            answer = connection.run(bare, "JSONCompact", self._params)
            columns = [(column["name"], column["type"]) for column in json.loads(answer)["meta"]]
        return empty_block(columns)

    @property
    def _params(self) -> Mapping[str, str]:
        return self.call.params
