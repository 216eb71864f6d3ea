"""Great Expectations checks a table of the embedded warehouse through SQLAlchemy."""

import importlib
from typing import Any

from tests.integration.clickhouse.plain import Http
from tests.servers import RunningServer


def test_expectations_on_a_table_tell_right_from_wrong(
    http: Http, warehouse: RunningServer
) -> None:
    # The import costs 6 s and 256 MB, so it happens in the test that needs it.
    gx: Any = importlib.import_module("great_expectations")

    http.text(
        "create table rounds (id UInt64, game String, bet Int64) engine = MergeTree order by id"
    )
    http.text("insert into rounds select number, 'slot', number % 10 from numbers(1000)")
    context = gx.get_context(mode="ephemeral")
    source = context.data_sources.add_sql(
        "warehouse",
        connection_string=warehouse.url.replace("http://", "clickhousedb://") + "/default",
        create_temp_table=False,
    )
    definition = source.add_table_asset(
        "rounds", table_name="rounds"
    ).add_batch_definition_whole_table("all")
    batch = definition.get_batch()
    right = (
        gx.expectations.ExpectColumnValuesToNotBeNull(column="id"),
        gx.expectations.ExpectColumnValuesToBeUnique(column="id"),
        gx.expectations.ExpectColumnValuesToBeBetween(column="bet", min_value=0, max_value=9),
        gx.expectations.ExpectColumnValuesToBeInSet(column="game", value_set=["slot", "crash"]),
        gx.expectations.ExpectTableRowCountToEqual(value=1000),
        gx.expectations.ExpectTableColumnsToMatchSet(column_set=["id", "game", "bet"]),
    )
    for expectation in right:
        assert batch.validate(expectation).success, expectation
    wrong = gx.expectations.ExpectColumnValuesToBeBetween(column="bet", min_value=1)
    outcome = batch.validate(wrong)
    assert not outcome.success
    assert outcome.result["unexpected_count"] == 100
