"""The clients that the project uses do with the embedded warehouse what they do with a server."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData
from clickhouse_connect.driver.query import QueryResult

from tests.servers import RunningServer, start_clickhouse

NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 123000, tzinfo=dt.UTC)


def address(server: RunningServer) -> tuple[str, int]:
    url = urlsplit(server.url)
    assert url.hostname is not None
    assert url.port is not None
    return url.hostname, url.port


def first_row(result: QueryResult) -> Sequence[Any]:
    row = result.first_row
    assert row is not None
    return row


@pytest.fixture(params=["sessions", "no sessions", "lz4", "gzip"])
def client(warehouse: RunningServer, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client, with the session of its own that it makes by default and without."""
    host, port = address(warehouse)
    client = clickhouse_connect.get_client(
        host=host,
        port=port,
        autogenerate_session_id=request.param == "sessions",
        compress=request.param if request.param in ("lz4", "gzip") else True,
        settings={"session_timezone": "UTC", "join_use_nulls": 1},
        tz_mode="aware",
    )
    client.command(
        "create or replace table every_type (id UInt64, name LowCardinality(String), "
        "at DateTime64(3, 'UTC'), day Date, note Nullable(String), key UUID, "
        "numbers Array(Int32), pairs Map(String, UInt8), price Decimal(9, 2), yes Bool) "
        "engine = MergeTree order by id"
    )
    yield client
    client.close()


ROWS = [
    [1, "a", NOON, NOON.date(), None, uuid.UUID(int=1), [1, -2], {"x": 1}, 1.5, True],
    [2, "it's", NOON, NOON.date(), "\\ \n \t ;", uuid.UUID(int=2), [], {}, 2, False],
]


def test_rows_come_back_as_they_went_in(client: Client) -> None:
    summary = client.insert("every_type", ROWS)
    assert summary.written_rows == 2
    result = client.query("select * from every_type order by id")
    assert [list(row) for row in result.result_rows] == [
        [*row[:8], pytest.approx(row[8]), row[9]] for row in ROWS
    ]
    # dt.timezone.utc or zoneinfo's UTC, but never naive.
    assert result.result_rows[0][2].utcoffset() == dt.timedelta(0)


def test_empty_results_keep_names_and_types(client: Client) -> None:
    for statement in ("select * from every_type", "select * from every_type limit 0"):
        result = client.query(statement)
        assert result.column_names[:2] == ("id", "name")
        assert [t.name for t in result.column_types][1] == "LowCardinality(String)"
        assert client.query_df(statement).empty
    assert client.query_arrow("select id from every_type").num_rows == 0
    assert client.query("show tables like 'none'").result_rows == []


def test_commands_answer_with_values(client: Client) -> None:
    assert client.command("select 1") == 1
    assert client.command("select 'a', 'b'") == ["a", "b"]
    assert client.command("exists table every_type") == 1
    assert client.ping()


def test_parameters_of_both_kinds(client: Client) -> None:
    text = "it's \\ a \n line\t;--"
    query = "select {text:String} as a, {ids:Array(UInt64)} as b, {at:DateTime64(3)} as c"
    given = {"text": text, "ids": [1, 2], "at": NOON}
    row = first_row(client.query(query, parameters=given))
    assert (row[0], row[1]) == (text, [1, 2])
    assert row[2].replace(tzinfo=dt.UTC) == NOON
    row = first_row(client.query("select %(text)s, %(n)s", parameters={"text": text, "n": 7}))
    assert row == (text, 7)


def test_parameters_may_be_long(client: Client) -> None:
    ids = list(range(20_000))
    query = "select count(), {text:String} from numbers(30000) where number in {ids:Array(UInt64)}"
    row = client.query(query, parameters={"ids": ids, "text": "x" * 10_000}).first_row
    assert row == (20_000, "x" * 10_000)


def test_data_frames_arrays_and_arrow(client: Client) -> None:
    client.command("create or replace table plain (id UInt64, name String) engine = Memory")
    client.insert_df("plain", pd.DataFrame({"id": [1, 2], "name": ["a", "b"]}))
    client.insert_arrow("plain", pa.table({"id": pa.array([3], pa.uint64()), "name": ["c"]}))
    client.raw_insert("plain", ["id", "name"], '{"id":4,"name":"d"}\n', fmt="JSONEachRow")
    client.raw_insert("plain", ["id", "name"], b"5,e\n", fmt="CSV")
    frame = client.query_df("select * from plain order by id")
    assert frame["name"].tolist() == ["a", "b", "c", "d", "e"]
    assert np.array_equal(client.query_np("select id from plain order by id")[:, 0], range(1, 6))
    table = client.query_arrow("select * from plain order by id")
    assert table.column("id").to_pylist() == [1, 2, 3, 4, 5]
    assert client.query_df_arrow("select id from plain").shape == (5, 1)


def test_large_results_stream(client: Client) -> None:
    rows = 500_000
    select = f"select number as n, toString(number) as s from numbers({rows})"
    with client.query_row_block_stream(select) as blocks:
        assert sum(len(block) for block in blocks) == rows
    with client.query_df_stream(select) as frames:
        assert sum(len(frame) for frame in frames) == rows
    with client.query_arrow_stream(select) as batches:
        assert sum(batch.num_rows for batch in batches) == rows
    assert len(client.query_np(select)) == rows


def test_large_inserts(client: Client) -> None:
    rows = 300_000
    client.command(
        "create or replace table big (id UInt64, name String) engine = MergeTree order by id"
    )
    columns: list[list[Any]] = [list(range(rows)), [f"{n:040}" for n in range(rows)]]
    client.insert("big", columns, column_names=["id", "name"], column_oriented=True)
    assert client.query("select count(), uniqExact(name) from big").first_row == (rows, rows)


def test_errors_name_their_code(client: Client) -> None:
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE") as missing:
        client.query("select * from nothing")
    assert missing.value.code == 60
    with pytest.raises(DatabaseError, match="BAD_QUERY_PARAMETER"):
        client.query("select {n:UInt8}", parameters={"n": "x"})
    with pytest.raises(DatabaseError, match=r"UNKNOWN_SETTING|unknown or readonly"):
        client.command("select 1", settings={"no_such_setting": 1})


def test_an_error_in_the_middle_of_a_stream_reaches_the_reader(client: Client) -> None:
    late = "select throwIf(number = 3000000), toString(number) from numbers(5000000)"
    with (
        pytest.raises((DatabaseError, StreamFailureError), match="FUNCTION_THROW_IF"),
        client.query_row_block_stream(late) as blocks,
    ):
        for _ in blocks:
            pass


def test_external_data(client: Client) -> None:
    data = ExternalData(file_name="ids.csv", data=b"1\n2\n", fmt="CSV", structure="id UInt64")
    result = client.query("select sum(id) from ids", external_data=data)
    assert result.first_row == (3,)


def test_context_inserts_and_settings(client: Client) -> None:
    client.command("create or replace table plain (id UInt64, name String) engine = Memory")
    context = client.create_insert_context("plain", data=[[1, "a"]])
    client.insert(context=context)
    context.data = [[2, "b"]]
    client.insert(context=context)
    assert client.command("select count() from plain") == 2
    assert client.query(
        "select getSetting('max_block_size')", settings={"max_block_size": 77}
    ).first_row == (77,)


def test_one_client_serves_many_threads(warehouse: RunningServer) -> None:
    host, port = address(warehouse)
    client = clickhouse_connect.get_client(host=host, port=port, autogenerate_session_id=False)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: client.command(f"select {n}"), range(200)))
    assert answers == list(range(200))


async def test_the_asynchronous_client(warehouse: RunningServer) -> None:
    host, port = address(warehouse)
    client = await clickhouse_connect.get_async_client(host=host, port=port)
    await client.command("create or replace table aio (id UInt64, name String) engine = Memory")
    await client.insert("aio", [[n, f"name {n}"] for n in range(1000)])
    answers = await asyncio.gather(
        *(
            client.query("select name from aio where id = {id:UInt64}", parameters={"id": n})
            for n in range(100)
        )
    )
    assert [first_row(answer)[0] for answer in answers] == [f"name {n}" for n in range(100)]
    assert (await client.query_df("select * from aio where 0")).empty
    select = "select number from numbers(300000)"
    async with await client.query_row_block_stream(select) as blocks:
        assert sum([len(block) async for block in blocks]) == 300_000
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        await client.query("select * from nothing")
    await client.close()


def test_the_sqlalchemy_dialect(warehouse: RunningServer) -> None:
    engine = sa.create_engine(warehouse.url.replace("http://", "clickhousedb://") + "/default")
    metadata = sa.MetaData()
    with engine.begin() as connection:
        connection.execute(sa.text("drop table if exists players"))
        connection.execute(
            sa.text("create table players (id UInt64, name String) engine = MergeTree order by id")
        )
        connection.execute(sa.text("insert into players values (1, 'a'), (2, 'b')"))
        players = sa.Table("players", metadata, autoload_with=connection)
        names = connection.execute(
            sa.select(players.c.name).where(players.c.id.in_([1, 2])).order_by(players.c.id)
        )
        assert names.scalars().all() == ["a", "b"]
        empty = connection.execute(sa.select(players).where(players.c.id == 9))
        assert empty.keys() == {"id": None, "name": None}.keys()
        assert empty.all() == []
        count = sa.select(sa.func.count()).select_from(players)
        assert connection.execute(count).scalar_one() == 2
    inspector = sa.inspect(engine)
    assert "players" in inspector.get_table_names()
    assert [column["name"] for column in inspector.get_columns("players")] == ["id", "name"]
    engine.dispose()


def test_a_password_is_refused_with_the_code_that_clients_know(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("secret") / "data"
    with start_clickhouse(path, password="right") as server:
        host, port = address(server)
        assert clickhouse_connect.get_client(host=host, port=port, password="right").ping()
        with pytest.raises(DatabaseError) as refused:
            clickhouse_connect.get_client(host=host, port=port, password="wrong")
        assert refused.value.code == 516
