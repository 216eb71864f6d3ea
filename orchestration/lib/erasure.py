"""Erasing users: no table of the warehouse keeps a row of theirs.

They are put on the list first. From then on ingestion refuses their messages, and takes back what
it was storing at that moment (`ingest/writer.py`), so what is found after the listing is all there
is. Whatever is done, is done for everyone on the list, and each step finds by itself what is left:
a run that was killed is finished by the next.

What is a table of users is asked of the warehouse: every one with a column `user_id`. Numbers of
everybody are views over such tables, so they need nothing.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver import Client

from ingest.erased import ERASURE, IS_LETTER
from tally.erasure import LISTED, USERS
from tally.errors import TallyError

LETTERS = "raw.dead_letters"
# Deleted from where their offsets are known to be those of the erased, and so accounted for.
BY_OFFSET = ("raw.events", "raw.arrivals")

# The second finds nothing, unless ingestion was just about to take back what it had stored.
PASSES = 5
POLL_SECONDS = 0.2

# Raw comes last: a run that dies half way must not leave users in the marts who are not in raw,
# because the checks that compare the two would hold what people read.
_TABLES = """
select concat(database, '.', table)
from system.columns
where
    name = 'user_id' and database in {databases:Array(String)}
    and (database, table) in (
        select database, name from system.tables where engine like '%MergeTree'
    )
    and concat(database, '.', table) != {listed:String}
order by database = 'raw', database, table
"""
_NEW_OFFSETS = f"""
insert into raw.erased_offsets (stream, offset)
select distinct stream, offset
from (
    select stream, offset from raw.events where user_id in ({USERS})
    union all
    select stream, offset from raw.arrivals where user_id in ({USERS})
)
where (stream, offset) not in (select stream, offset from raw.erased_offsets)
"""
_IS_THEIRS = f"user_id in ({USERS})"
_IS_KNOWN = "and (stream, offset) in (select stream, offset from raw.erased_offsets)"
_IS_THEIR_LETTER = f"reason != '{ERASURE.reason}' and {IS_LETTER}"
_BLANKED = f"key = '', value = '', reason = '{ERASURE.reason}', error = '{ERASURE.error}'"
_MUTATIONS = """
select coalesce(sum(parts_to_do), 0), any(latest_fail_reason)
from system.mutations
where database = {database:String} and table = {table:String} and not is_done
"""
_FOUND = """
select count(), min(occurred_at), max(occurred_at)
from raw.events final
where user_id = {user:UInt64}
"""
# The state that people read is another one now, though no run has made it: who follows it by its
# time, such as the platform's numbers of the API, reads it again.
_TOUCH = """
insert into published.watermarks (model, stream, to_offset, version)
select model, stream, to_offset, version from published.watermarks final
"""


@dataclass(frozen=True)
class Left:
    """Rows of erased users in a table."""

    table: str
    rows: int


def databases(manifest: Path) -> list[str]:
    """Tally's own databases: raw, what people read, and those of dbt, as its manifest has them."""
    nodes = json.loads(manifest.read_text())["nodes"].values()
    return sorted({"raw", "published", *(node["schema"] for node in nodes)})


def describe(client: Client, user: int) -> str:
    """What raw has of a user, for who is asked whether to erase them."""
    ((events, first, last),) = client.query(_FOUND, parameters={"user": user}).result_rows
    if not events:
        return f"user {user}: no event is stored"
    return f"user {user}: {events:,} events from {first:%Y-%m-%d} to {last:%Y-%m-%d}"


def listed(client: Client) -> set[int]:
    """Everyone who was ever erased."""
    return {user for (user,) in client.query(USERS).result_rows}


def put_on_list(client: Client, users: Collection[int]) -> None:
    """From now on nothing of these users is taken; who is on the list already stays as they are."""
    if new := sorted(set(users) - listed(client)):
        client.insert(
            LISTED,
            [[user] for user in new],
            column_names=["user_id"],
            settings={"async_insert": 0},
        )


def left(client: Client, databases: Collection[str]) -> list[Left]:
    """The tables that have rows of anyone on the list, in the order in which they are erased."""
    parameters = {"databases": sorted(databases), "listed": LISTED}
    tables = [table for (table,) in client.query(_TABLES, parameters=parameters).result_rows]
    conditions = {LETTERS: _IS_THEIR_LETTER} | dict.fromkeys(tables, _IS_THEIRS)
    counted = (
        Left(table, int(rows))
        for table, theirs in conditions.items()
        for (rows,) in client.query(f"select count() from {table} where {theirs}").result_rows
    )
    return [each for each in counted if each.rows]


def erase(
    client: Client, databases: Collection[str], progress: Callable[[str], None]
) -> Iterator[Left]:
    """Delete every row of who is listed, yielding each table when they are gone from it.

    No materialization may run meanwhile. Raises `TallyError` where rows keep coming or a table
    does not take the deletion.
    """
    for _ in range(PASSES):
        found = left(client, databases)
        if not found:
            break
        # Before anything is deleted: an offset is accounted for at every moment.
        client.command(_NEW_OFFSETS)
        for each in found:
            _mutate(client, each, progress)
            yield each
    else:
        raise TallyError(
            "Rows of erased users keep coming into the warehouse.",
            hint="Does an ingestion of an older version run? Stop it and run this again.",
        )
    if client.command("exists published.watermarks"):
        client.command(_TOUCH)


def _mutate(client: Client, found: Left, progress: Callable[[str], None]) -> None:
    """Rewrite the parts of a table without the rows: a lightweight delete would leave them there.

    The warehouse goes on with it also where who asked has died.
    """
    if found.table == LETTERS:
        change = f"update {_BLANKED} where {_IS_THEIR_LETTER}"
    else:
        change = f"delete where {_IS_THEIRS} {_IS_KNOWN if found.table in BY_OFFSET else ''}"
    client.command(
        f"alter table {found.table} {change}",
        # The second is for replicated tables, which take no subquery without it.
        settings={"mutations_sync": 0, "allow_nondeterministic_mutations": 1},
    )
    database, _, table = found.table.partition(".")
    while True:
        ((parts, failure),) = client.query(
            _MUTATIONS, parameters={"database": database, "table": table}
        ).result_rows
        if failure:
            raise TallyError(
                f"{found.table} does not take the deletion: {failure}",
                hint="The warehouse tries again by itself; mend the cause and run this again.",
            )
        if not parts:
            return
        progress(f"{found.table}: {found.rows:,} rows, {parts} parts to rewrite")
        time.sleep(POLL_SECONDS)
