"""`tally sql`: one question to the warehouse, its answer as a table or as text for a program.

The statement runs as it is, in a session that cannot change anything. The warehouse writes the
values, so a number or a time looks here as it does in every other client of it.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing

import click
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tally.cli import with_settings
from tally.errors import TallyError
from tally.settings import Settings
from tally.warehouse import ANALYTICS, connect

TABLE_ROWS = 1000

_PROGRAM_FORMATS = {
    "csv": ("CSVWithNames", {}),
    "json": ("JSONEachRow", {"output_format_json_array_of_rows": "1"}),
    "jsonl": ("JSONEachRow", {}),
}
_NULL = "\N{SYMBOL FOR NULL}"
_NUMBER = re.compile(r"(?:U?Int|Float|BFloat|Decimal)\d*")
_PIECE_BYTES = 2**20
_ANY_WIDTH = 1_000_000
_FORMAT_CLAUSE = re.compile(r"\bformat\s+\w+\Z", re.IGNORECASE)

_SERVER_WORDS = re.compile(r"Code: (?P<code>\d+)\. DB::Exception: (?P<message>.*)", re.DOTALL)
# The parser quotes what follows the error and names each of its hundred alternatives.
_ALTERNATIVES = re.compile(r"\s*(?:\n ?FORMAT |Expected one of|\(version ).*", re.DOTALL)
_HINTS = {
    81: "`tally prepare` makes the databases of the models.",
    60: "`tally sql 'show tables'` lists the views for analysts; the rest is `marts.<table>`.",
    164: "`tally sql` only reads.",
}


@click.command()
@click.argument("statement", required=False)
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", *_PROGRAM_FORMATS]),
    default="table",
    show_default=True,
)
@click.option(
    "--limit",
    type=click.IntRange(0),
    help=f"Rows to print at most, 0 for all. [default: {TABLE_ROWS} in a table, else all]",
)
@click.option("--database", default=ANALYTICS, show_default=True)
@with_settings
def sql(
    settings: Settings, *, statement: str | None, output: str, limit: int | None, database: str
) -> None:
    """Ask the warehouse: `tally sql "select * from daily_metrics"`, or the statement on stdin.

    Sessions are in UTC and read-only. Where rows are left out, stderr says so.
    """
    if statement is None:
        statement = "" if sys.stdin.isatty() else sys.stdin.read()
    # The format of the answer is appended to the statement.
    statement = statement.strip().rstrip(";")
    if not statement:
        raise TallyError("There is no statement.", hint='Try `tally sql "show tables"`.')
    if _FORMAT_CLAUSE.search(statement):
        raise TallyError("The statement ends with FORMAT.", hint="Use the option --format instead.")
    try:
        with closing(connect(settings, database)) as client:
            if output == "table":
                _print_table(client, statement, TABLE_ROWS if limit is None else limit)
            else:
                _print_text(client, statement, output, limit or 0)
    except DatabaseError as error:
        raise _readable(error) from error


def _read_only(client: Client) -> dict[str, str]:
    """What makes the session read-only; a read-only account may not even say it."""
    return {} if client.server_settings["readonly"].value != "0" else {"readonly": "2"}


def _print_table(client: Client, statement: str, limit: int) -> None:
    # One row more than is shown tells whether there are more.
    shown = {"limit": str(limit + 1)} if limit else {}
    answer = client.raw_query(
        statement,
        fmt="JSONCompactStringsEachRowWithNamesAndTypes",
        settings=_read_only(client) | shown,
    )
    lines: list[list[str]] = [json.loads(line) for line in answer.splitlines()]
    if not lines:
        return
    names, types, rows = lines[0], lines[1], lines[2:]
    left_out = bool(limit) and len(rows) > limit
    rows = rows[:limit] if limit else rows
    console = Console()
    table = as_table(names, types, rows)
    # Lines for people who scroll; for a file or a pipe none is broken.
    width = Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), table).maximum
    if not console.is_terminal:
        console = Console(width=width)
    if width <= console.width or not rows:
        console.print(table)
    else:
        for number, record in enumerate(as_records(names, rows), start=1):
            console.print(Text(f"row {number}", style="bold"))
            console.print(record)
    shown_rows = f"{len(rows):,} row{'' if len(rows) == 1 else 's'}"
    more = f"the first {shown_rows}, there are more: --limit 0 prints all"
    click.echo(more if left_out else shown_rows, err=True)


def as_table(names: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The rows, with numbers to the right."""
    table = Table()
    for name, kind in zip(names, types, strict=True):
        bare = re.sub(r"(?:Nullable|LowCardinality)\(", "", kind)
        table.add_column(Text(name), justify="right" if _NUMBER.match(bare) else "left")
    for row in rows:
        table.add_row(*map(_value, row))
    return table


def as_records(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Table]:
    """A table for each row, a line for each column: for rows that are wider than the terminal."""
    for row in rows:
        record = Table(show_header=False, box=None)
        for name, value in zip(names, row, strict=True):
            record.add_row(Text(name, style="bold"), _value(value))
        yield record


def _value(text: str) -> Text:
    # ClickHouse's own mark, of four letters that few fonts have.
    return Text(_NULL, style="dim") if text == "ᴺᵁᴸᴸ" else Text(text.expandtabs())


def _print_text(client: Client, statement: str, output: str, limit: int) -> None:
    format_name, options = _PROGRAM_FORMATS[output]
    settings = _read_only(client) | options | ({"limit": str(limit)} if limit else {})
    with client.raw_stream(statement, fmt=format_name, settings=settings) as answer:
        while piece := answer.read(_PIECE_BYTES):
            click.get_binary_stream("stdout").write(piece)


def _readable(error: DatabaseError) -> TallyError:
    """The server's words without its numbers, names and alternatives."""
    found = _SERVER_WORDS.search(str(error))
    if found is None:
        return TallyError(str(error))
    message = _ALTERNATIVES.sub("", found["message"]).strip()
    return TallyError(message, hint=_HINTS.get(int(found["code"])))
