"""`tally sql` against a real warehouse, as a person runs it."""

import csv
import io
import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from tally.cli import tally
from tally.errors import TallyError
from tests.integration.clickhouse.plain import Http
from tests.servers import RunningServer

Ask = Callable[..., Result]


@pytest.fixture
def ask(warehouse: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.setenv("TALLY_CLICKHOUSE_URL", warehouse.url)

    def run(*arguments: str, stdin: str = "") -> Result:
        command = ["sql", "--database", "default", *arguments]
        return CliRunner().invoke(tally, command, input=stdin)

    return run


def test_a_table_has_the_values_as_the_warehouse_writes_them(ask: Ask) -> None:
    told = ask(
        "select 9007199254740991 as big, toDecimal64(1.10, 2) as exact, 'a\tb ñ' as text,"
        " null as nothing, toDateTime64('2026-03-01 23:59:59.999', 3) as at, [1, 2] as list;"
    )
    lines = told.stdout.splitlines()
    assert [cell.strip() for cell in lines[1].strip("┃").split("┃")] == [
        *("big", "exact", "text", "nothing", "at", "list")
    ]
    assert [cell.strip() for cell in lines[3].strip("│").split("│")] == [
        *("9007199254740991", "1.1", "a       b ñ", "␀", "2026-03-01 23:59:59.999", "[1,2]")
    ]
    assert told.stderr == "1 row\n"


def test_what_a_table_leaves_out_is_told(ask: Ask) -> None:
    told = ask("select number from numbers(1001)")
    assert "999" in told.stdout
    assert "1000" not in told.stdout
    assert told.stderr == "the first 1,000 rows, there are more: --limit 0 prints all\n"
    assert ask("select number from numbers(1000)").stderr == "1,000 rows\n"
    assert ask("select number from numbers(1001)", "--limit", "0").stderr == "1,001 rows\n"
    assert ask("select number from numbers(9)", "--limit", "2").stderr.startswith("the first 2")


def test_a_piped_table_breaks_no_line(ask: Ask) -> None:
    told = ask("select repeat('x', 300) as a, repeat('y', 300) as b")
    assert f"{'x' * 300} │ {'y' * 300}" in told.stdout


def test_no_row_is_a_header(ask: Ask) -> None:
    told = ask("select 1 as one where 0")
    assert "one" in told.stdout
    assert told.stderr == "0 rows\n"


def test_programs_get_every_row(ask: Ask) -> None:
    query = "select number as n, 'a \"b\", c' as text from numbers(3000)"
    rows = list(csv.DictReader(io.StringIO(ask(query, "--format", "csv").stdout)))
    assert len(rows) == 3000
    assert rows[-1] == {"n": "2999", "text": 'a "b", c'}
    assert len(json.loads(ask(query, "--format", "json").stdout)) == 3000
    lines = ask(query, "--format", "jsonl", "--limit", "2").stdout.splitlines()
    assert [json.loads(line)["n"] for line in lines] == [0, 1]


def test_the_statement_may_come_from_stdin(ask: Ask) -> None:
    assert "42" in ask(stdin="-- a comment\nselect 42;\n").stdout


def test_a_day_is_of_utc(ask: Ask) -> None:
    assert "UTC" in ask("select timezone()").stdout


def test_nothing_is_changed(ask: Ask, http: Http, table: str) -> None:
    told = ask(f"insert into {table} values (1, 'a')")
    assert isinstance(told.exception, TallyError)
    assert told.exception.hint == "`tally sql` only reads."
    assert isinstance(ask(f"drop table {table}").exception, TallyError)
    assert http.text(f"select count() from {table}") == "0"


def test_a_read_only_account_may_ask(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_CLICKHOUSE_USER", "analyst")
    assert ask("select number from numbers(5)", "--limit", "2").stderr.startswith("the first 2")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("selec 1", r"Syntax error: failed at position 1 \(selec\)[^\n]*selec 1"),
        ("select nope", "Unknown expression identifier `nope`"),
        ("select * from nope", "(?s)'nope'.*show tables"),
        ("select 1; select 2", "Multi-statements are not allowed"),
        ("select 1 format CSV", "(?s)ends with FORMAT.*--format"),
        (" ; ", "There is no statement"),
    ],
)
def test_an_error_says_what_is_wrong_and_not_more(ask: Ask, statement: str, message: str) -> None:
    error = ask(statement).exception
    assert isinstance(error, TallyError)
    with pytest.raises(TallyError, match=message):
        raise error
    assert len(str(error)) < 250
    assert "DB::Exception" not in str(error)


def test_a_warehouse_without_models_says_how_to_make_them(ask: Ask) -> None:
    error = ask("select 1", "--database", "analytics").exception
    assert isinstance(error, TallyError)
    assert "tally prepare" in str(error)
