"""The brute force: facts from raw, what the marts must hold, and what the API must answer."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from tally.settings import ActiveDayDefinition
from tally.verify.proof import Proof

DEFINITIONS: tuple[ActiveDayDefinition, ...] = ("all_actions", "daily_login")


def _sql(name: str) -> str:
    return Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")


# What happened, then what follows from it.
_FACTS = tuple(
    _sql(name) for name in ("facts", "games", "players", "economy", "platform", "population")
)
_STATS = _sql("stats")


def derive_facts(database: duckdb.DuckDBPyConnection, today: date, proof: Proof) -> None:
    """Make from raw as exported the tables `expected_<mart>`, as of `today` in UTC."""
    database.execute("set timezone = 'UTC'")
    database.execute("set variable today = cast($today as date)", {"today": today})
    for statements in _FACTS:
        database.execute(statements)
    proof.users = _scalar(database, "select count(distinct user_id) from event")
    proof.events = _scalar(database, "select count(*) from event")
    proof.stored_rows = _scalar(database, "select count(*) from raw_event")
    proof.dead_letters = _scalar(
        database, 'select count(*) from (select distinct stream, "offset" from raw_dead_letter)'
    )


def expected_answers(
    database: duckdb.DuckDBPyConnection, as_of: date, definition: ActiveDayDefinition
) -> Iterator[dict[str, Any]]:
    """What the API must answer for each user, without `meta`."""
    # A cursor of its own: several of these may be read at once.
    cursor = database.cursor()
    cursor.execute(_STATS, {"as_of": as_of, "definition": definition})
    names = [column[0] for column in cursor.description or ()]
    while rows := cursor.fetchmany(1000):
        for row in rows:
            yield dict(zip(names, row, strict=True))


def _scalar(database: duckdb.DuckDBPyConnection, query: str) -> int:
    row = database.execute(query).fetchone()
    assert row is not None
    return int(row[0])
