"""Applies the chain to a warehouse; ClickHouse has no transaction, so each statement is recorded.

A run that dies half way goes on at the statement where it died.
"""

import re
from collections.abc import Iterator, Sequence

from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from msgspec import Struct

from ingest.migrations.chain import Migration, read_chain
from tally.errors import TallyError

_TABLE = """
create table if not exists raw.schema_migrations (
    version UInt32,
    name String,
    checksum FixedString(64),
    statements_done UInt32,
    statements UInt32,
    recorded_at DateTime64(3, 'UTC') default now64(3, 'UTC')
) engine = ReplacingMergeTree(statements_done)
order by version
"""

# What a statement that was applied, but died before it was recorded, answers the second time:
# DUPLICATE_COLUMN, TABLE_ALREADY_EXISTS, DATABASE_ALREADY_EXISTS.
_DONE_BEFORE = re.compile(r"code: (?:15|57|82)\b", re.IGNORECASE)


class _Recorded(Struct, frozen=True):
    name: str
    checksum: str
    done: int
    statements: int


def _recorded(client: Client) -> dict[int, _Recorded]:
    if not client.command("exists table raw.schema_migrations"):
        return {}
    rows = client.query(
        "select version, name, checksum, statements_done, statements "
        "from raw.schema_migrations final order by version"
    ).result_rows
    return {
        version: _Recorded(name, _text(checksum), done, statements)
        for version, name, checksum, done, statements in rows
    }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def pending(client: Client, chain: Sequence[Migration] | None = None) -> list[Migration]:
    """The migrations that are not wholly applied.

    Raises `TallyError` where an applied file was changed or is missing in the chain.
    """
    chain = read_chain() if chain is None else chain
    recorded = _recorded(client)
    by_version = {migration.version: migration for migration in chain}
    for version, applied in recorded.items():
        migration = by_version.get(version)
        if migration is None:
            raise TallyError(
                f"The warehouse has migration {applied.name}, which this version does not know.",
                hint="It was migrated by a newer version of Tally: use that one.",
            )
        if migration.checksum != applied.checksum:
            state = "was applied" if applied.done == applied.statements else "is half applied"
            raise TallyError(
                f"{migration.name} was changed after it {state}.",
                hint="Restore the file and put the change into a migration of its own.",
            )
    return [m for m in chain if _done(recorded, m) < len(m.statements)]


def _done(recorded: dict[int, _Recorded], migration: Migration) -> int:
    found = recorded.get(migration.version)
    return 0 if found is None else found.done


def migrate(client: Client, chain: Sequence[Migration] | None = None) -> Iterator[Migration]:
    """Apply what is pending, yielding each migration when it is wholly applied.

    Raises `TallyError` naming the statement that failed; the next run goes on there.
    """
    client.command("create database if not exists raw")
    client.command(_TABLE)
    recorded = _recorded(client)
    for migration in pending(client, chain):
        done = _done(recorded, migration)
        begun = migration.version in recorded
        if not begun:
            _record(client, migration, 0)
        for number, statement in enumerate(migration.statements[done:], start=done + 1):
            _apply(client, migration, number, statement, again=begun and number == done + 1)
            _record(client, migration, number)
        yield migration


def _record(client: Client, migration: Migration, done: int) -> None:
    client.command(
        "insert into raw.schema_migrations (version, name, checksum, statements_done, statements) "
        f"values ({migration.version}, '{migration.name}', '{migration.checksum}', {done}, "
        f"{len(migration.statements)})"
    )


def _apply(
    client: Client, migration: Migration, number: int, statement: str, *, again: bool
) -> None:
    try:
        client.command(statement)
    except DatabaseError as error:
        if again and _DONE_BEFORE.search(str(error)):
            return
        raise TallyError(
            f"{migration.name}, statement {number} of {len(migration.statements)}, failed:\n"
            f"{statement}\n{error}",
            hint="The statements before it are applied and recorded; fix the cause and run "
            "`tally migrate` again.",
        ) from error
