"""The brute force: facts from raw, the marts against them, and what the API must answer."""

from collections.abc import Iterator
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb

from tally.settings import ActiveDayDefinition
from tally.verify.proof import Difference, Proof

DEFINITIONS: tuple[ActiveDayDefinition, ...] = ("all_actions", "daily_login")

_FACTS = Path(__file__).with_name("facts.sql").read_text(encoding="utf-8")
_STATS = Path(__file__).with_name("stats.sql").read_text(encoding="utf-8")

_GAME_METRICS = [
    "played",
    "wins",
    "losses",
    "draws",
    "no_outcome",
    "bet_amount",
    "payout_amount",
]
# Relation, its key, the metrics in it.
_MARTS = (
    ("user_days", ["user_id", "date"], ["is_active", "has_daily_login", "events", *_GAME_METRICS]),
    ("user_game_days", ["user_id", "date", "game_type"], _GAME_METRICS),
)


def derive_facts(database: duckdb.DuckDBPyConnection, proof: Proof) -> None:
    """Make the tables of `facts.sql` from the exported ones."""
    database.execute("set timezone = 'UTC'")
    database.execute(_FACTS)
    proof.users = _scalar(database, "select count(distinct user_id) from event")
    proof.events = _scalar(database, "select count(*) from event")
    proof.stored_rows = _scalar(database, "select count(*) from raw_event")
    proof.dead_letters = _scalar(
        database, 'select count(*) from (select distinct stream, "offset" from raw_dead_letter)'
    )


def compare_marts(database: duckdb.DuckDBPyConnection, proof: Proof) -> None:
    """Every row of the exported marts against the facts, both ways.

    A row that is missing on either side counts as zeros: a day that lost its last round keeps a row
    that says 0.
    """
    for relation, key, metrics in _MARTS:
        sides = {name: (_number("expected", name), _number("mart", name)) for name in metrics}
        joined = (
            f"from expected_{relation} as expected "
            f"full join mart_{relation} as mart using ({', '.join(key)})"
        )
        columns = ", ".join([*key, *chain.from_iterable(sides.values())])
        differs = " or ".join(f"{expected} <> {found}" for expected, found in sides.values())
        rows = _scalar(database, f"select count(*) {joined}")
        proof.compared(f"marts.{relation}", metrics, rows)
        database.execute(f"select {columns} {joined} where {differs} order by all")
        for row in database.fetchall():
            (user_id, *at), values = row[: len(key)], row[len(key) :]
            for metric, expected, found in zip(metrics, values[::2], values[1::2], strict=True):
                if expected != found:
                    proof.differences.append(
                        Difference(
                            f"marts.{relation}",
                            user_id,
                            metric,
                            " ".join(map(str, at)),
                            expected,
                            found,
                        )
                    )


def _number(side: str, metric: str) -> str:
    return f"coalesce(cast({side}.{metric} as bigint), 0)"


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
