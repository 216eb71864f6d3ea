"""Every panel of the warehouse is seen with data: its SQL on the live engine, as user `grafana`.

Macros and variables are expanded as the plugin of ClickHouse and Grafana do it.
"""

import inspect
import math
import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver import Client

from grafana.dashboards.board import Board
from grafana.dashboards.generate import BOARDS
from grafana.dashboards.panels import Panel
from grafana.dashboards.queries import Sql
from tests.deployed.accounts import Deployment

LIMIT_S = 1.0

# A number (that may be null), or what only tables show.
NUMBER = re.compile(r"(Nullable\()?(U?Int\d+|Float\d+|Decimal)")
TIME = re.compile(r"DateTime")

QUERIES = [
    pytest.param(board, panel, query, id=f"{board.uid}: {panel.title}")
    for board in BOARDS
    for panel in board.panels
    for query in panel.queries
    if isinstance(query, Sql)
]


@pytest.fixture(scope="module")
def grafana(deployment: Deployment) -> Iterator[Client]:
    """Asks as Grafana does."""
    with deployment.as_account("grafana") as platform:
        yield platform.client


@pytest.fixture(scope="module")
def player(grafana: Client) -> int:
    """One of whom there is something in every panel of the support."""
    found = grafana.query(
        """
        select user_id from marts.purchases
        where user_id in (select user_id from marts.gold_ledger)
            and user_id in (select user_id from analytics.events where action_type = 'LOGIN'
                and ts > now() - interval 29 day)
            and changed_at > now() - interval 29 day
        order by user_id limit 1
        """
    )
    return int(found.result_rows[0][0])


def period(text: str) -> timedelta:
    """`now-45d` to `now` is 45 days."""
    unit = {"h": "hours", "d": "days"}[text[-1]]
    return timedelta(**{unit: int(text[:-1])})


def expanded(board: Board, query: Sql, variables: dict[str, Any]) -> str:
    """The SQL that reaches the warehouse."""
    now = datetime.now(UTC)
    since = now - period(board.period)
    text = inspect.cleandoc(query.text)
    text = re.sub(
        r"\$__timeFilter\((\w+)\)",
        rf"\1 >= toDateTime({int(since.timestamp())}) and "
        rf"\1 <= toDateTime({int(now.timestamp())})",
        text,
    )
    text = re.sub(
        r"\$__dateFilter\((\w+)\)",
        rf"\1 >= toDate('{since.date()}') and \1 <= toDate('{now.date()}')",
        text,
    )
    for name, value in variables.items():
        text = text.replace(f"${{{name}:sqlstring}}", f"'{value}'")
    assert "$" not in text, f"not expanded: {text}"
    return text


@pytest.mark.parametrize(("board", "panel", "query"), QUERIES)
def test_a_panel_has_data(
    grafana: Client, player: int, board: Board, panel: Panel, query: Sql
) -> None:
    text = expanded(board, query, {"user_id": player})
    seconds = []
    for _ in range(3):  # the machine of the tests is shared: one of three looks is undisturbed
        started = time.perf_counter()
        answer = grafana.query(text)
        seconds.append(time.perf_counter() - started)
    assert answer.result_rows, "no rows"
    assert min(seconds) < LIMIT_S
    types = dict(zip(answer.column_names, (t.name for t in answer.column_types), strict=True))
    if query.kind == "timeseries":
        assert TIME.match(types["time"]), types
        assert any(NUMBER.match(kind) for name, kind in types.items() if name != "time")
    if panel.kind in {"stat", "bars"}:
        assert all(NUMBER.match(kind) for kind in types.values()), types
        assert len(answer.result_rows) == 1
    told = [value for row in answer.result_rows for value in row if is_told(value)]
    assert told, "nothing but nulls"
    for value in told:
        assert not isinstance(value, float) or math.isfinite(value)


def is_told(value: object) -> bool:
    """Whether a cell shows something; a time by itself does not."""
    return value is not None and not isinstance(value, date)


def test_a_user_id_that_is_no_number_is_nobody(grafana: Client) -> None:
    support = next(board for board in BOARDS if board.uid == "tally-support")
    for panel in support.panels:
        (query,) = panel.queries
        assert isinstance(query, Sql)
        assert grafana.query(expanded(support, query, {"user_id": "1 or 1"})).result_rows == []
