"""Cutting statements at their seams: kind, FORMAT clause, beginning of the data."""

import time

import pytest

from tally.local.clickhouse import sql


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"select 1", "SELECT"),
        (b"  -- a comment\n/* and */ WITH 1 AS x SELECT x", "SELECT"),
        (b"((select 1)) union all (select 2)", "SELECT"),
        (b"from t select a", "SELECT"),
        (b"desc t", "DESCRIBE"),
        (b"SHOW TABLES", "SHOW"),
        (b"Kill Query where 1", "KILL"),
        (b"# a comment\ncreate table t (a Int8)", "CREATE"),
        (b"", ""),
        (b"-- nothing", ""),
    ],
)
def test_the_kind_is_the_first_word(text: bytes, kind: str) -> None:
    assert sql.parse(text).kind == kind


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"select 1 format JSON", "JSON"),
        (b"select 1\n FORMAT Native", "Native"),
        (b"select 1 format JSON;", "JSON"),
        (b"select 1 format JSON -- the end\n;", "JSON"),
        (b"select 1 format CSV settings max_threads = 1", "CSV"),
        (b"select 1 settings max_threads = 1 format CSV", "CSV"),
        (b"show tables format TSV", "TSV"),
        (b"select 1", None),
        (b"select format from t", None),
        (b"select a as format from t format XML", "XML"),
        (b"select 'x\n FORMAT JSON'", None),
        (b"select `a format b` from t", None),
        (b"select 1 -- format JSON", None),
        (b"select 1 /* \n format JSON */", None),
        (b"select * from (select 1 format JSON)", None),
        (b"select $a$ format JSON $a$", None),
        (b"select format('{} {}', a, b) from t", None),
        (b"select formatDateTime(now(), '%F')", None),
    ],
)
def test_the_output_format_is_the_clause_outside_of_everything(
    text: bytes, name: str | None
) -> None:
    assert sql.parse(text).format == name


def test_a_format_clause_can_be_exchanged() -> None:
    for text, expected in (
        (b"select 1 format JSON settings a = 1 ; -- end", b"select 1 X settings a = 1"),
        (b"select 1 -- end\n;", b"select 1X"),
        (b"select 1\nformat JSON\n;\n", b"select 1\nX"),
    ):
        assert sql.parse(text).with_format(text, b"X") == expected


@pytest.mark.parametrize(
    ("head", "data", "in_file"),
    [
        (b"insert into t format CSV\n", b"1,2", b"insert into t  FROM INFILE 'f' FORMAT CSV"),
        (b"INSERT INTO t FORMAT CSV ", b"1,2", b"INSERT INTO t  FROM INFILE 'f' FORMAT CSV"),
        (b"insert into t format CSV\r\n", b"\n1,2", b"insert into t  FROM INFILE 'f' FORMAT CSV"),
        (
            b"insert into d.t (a, format, values) values",
            b" (1, ')', 3);",
            b"insert into d.t (a, format, values)  FROM INFILE 'f' FORMAT Values",
        ),
        (
            b"insert into t (a) settings async_insert = 0, x = 'format Y' format Native\n",
            b"\x00\xff",
            (
                b"insert into t (a)  FROM INFILE 'f' settings async_insert = 0, x = 'format Y' "
                b"FORMAT Native"
            ),
        ),
        (
            b"insert into table function file('a') format TSV\n",
            b"1",
            b"insert into table function file('a')  FROM INFILE 'f' FORMAT TSV",
        ),
        (
            b"insert into format format TSV\n",
            b"1",
            b"insert into format  FROM INFILE 'f' FORMAT TSV",
        ),
        (
            b"insert into `values` values ",
            b"(1)",
            b"insert into `values`  FROM INFILE 'f' FORMAT Values",
        ),
    ],
)
def test_an_inserts_data_begins_where_clickhouse_says(
    head: bytes, data: bytes, in_file: bytes
) -> None:
    text = head + data
    statement = sql.parse(text)
    assert statement.data_start is not None
    assert text[statement.data_start :].lstrip() == data.lstrip()
    if statement.format != "Values":
        assert text[statement.data_start :] == data
    assert statement.with_data_in(text, b"'f'") == in_file


@pytest.mark.parametrize(
    ("text", "reads_input"),
    [
        (b"insert into t select 1 format CSV", False),
        (b"insert into t with 1 as x select x", False),
        (b"insert into t (a) from infile 'x' format CSV", False),
        (b"insert into t select 'values', input from u", False),
        (b"insert into t select * from input('a Int8') format CSV\n1", True),
    ],
)
def test_inserts_without_data_of_their_own(text: bytes, reads_input: bool) -> None:
    statement = sql.parse(text)
    assert (statement.data_start, statement.reads_input) == (None, reads_input)


def test_a_long_list_costs_clients_nothing() -> None:
    text = b"select * from t where id in (" + b"123456789," * 500_000 + b"1)\n FORMAT Native"
    start = time.process_time()
    assert sql.parse(text).format == "Native"
    assert time.process_time() - start < 0.1


def test_open_quotes_do_not_take_long() -> None:
    start = time.process_time()
    for text in (b"select '" + b"''" * 200_000, b"select '" + b"\\'" * 200_000, b"/*" * 200_000):
        sql.parse(text + b" format")
    assert time.process_time() - start < 1
