"""Migrations against a real warehouse."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver import Client

from ingest.migrations.chain import read_chain
from ingest.migrations.runner import migrate, pending
from tally.errors import TallyError
from tally.settings import Settings
from tally.warehouse import connect
from tests.servers import start_clickhouse


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with start_clickhouse(tmp_path / "warehouse") as server:
        yield connect(Settings(home=tmp_path, clickhouse_url=server.url))


def write(folder: Path, name: str, sql: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(sql)


def test_each_migration_is_applied_once(client: Client) -> None:
    assert next(m.name for m in list(migrate(client))) == "0001_raw.sql"
    assert list(migrate(client)) == []
    assert pending(client) == []
    assert client.command("select count() from raw.schema_migrations final") == len(read_chain())


def test_a_changed_file_is_an_error(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "chain"
    write(folder, "0001_a.sql", "create table raw.a (x Int8) engine = Memory;")
    list(migrate(client, read_chain(folder)))
    write(folder, "0001_a.sql", "create table raw.a (x Int16) engine = Memory;")
    with pytest.raises(TallyError, match=r"0001_a\.sql was changed after it was applied"):
        list(migrate(client, read_chain(folder)))


def test_a_migration_of_a_newer_version_is_an_error(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "chain"
    write(folder, "0001_a.sql", "select 1;")
    write(folder, "0002_b.sql", "select 1;")
    list(migrate(client, read_chain(folder)))
    (folder / "0002_b.sql").unlink()
    with pytest.raises(TallyError, match="does not know"):
        pending(client, read_chain(folder))


def test_a_failed_statement_is_named_and_the_next_run_goes_on_there(
    client: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "chain"
    write(
        folder,
        "0001_a.sql",
        "create table raw.a (x Int8) engine = Memory;"
        "insert into raw.a values (1);"
        "insert into raw.missing values (1);",
    )
    with pytest.raises(TallyError, match=r"0001_a\.sql, statement 3 of 3, failed"):
        list(migrate(client, read_chain(folder)))
    client.command("create table raw.missing (x Int8) engine = Memory")
    assert [m.name for m in migrate(client, read_chain(folder))] == ["0001_a.sql"]
    assert client.command("select count() from raw.a") == 1


def test_a_statement_that_was_applied_but_not_recorded_is_taken_as_done(
    client: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "chain"
    write(folder, "0001_a.sql", "create table raw.a (x Int8) engine = Memory; select 1;")
    list(migrate(client, read_chain(folder)))
    # As if it had died right behind its first statement.
    client.command("alter table raw.schema_migrations delete where statements_done > 0",
                   settings={"mutations_sync": 2})  # fmt: skip
    assert [m.name for m in migrate(client, read_chain(folder))] == ["0001_a.sql"]


def test_a_table_that_somebody_else_made_is_not_taken_for_ours(
    client: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "chain"
    write(folder, "0001_a.sql", "create table raw.a (x Int8) engine = Memory;")
    client.command("create database raw")
    client.command("create table raw.a (y String) engine = Memory")
    with pytest.raises(TallyError, match="statement 1 of 1, failed"):
        list(migrate(client, read_chain(folder)))
