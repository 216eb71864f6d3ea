"""The lint of the models refuses what depends on a clock, a zone or a sketch, and nothing else."""

import pytest

from tests.lint_exactness import ALLOWED, PROJECT, findings, lint


@pytest.mark.parametrize(
    ("sql", "function"),
    [
        ("select today()", "today"),
        ("select toDate(now(), 'UTC')", "now"),
        ("select now64(3, 'UTC')", "now64"),
        ("select yesterday()", "yesterday"),
        ("select date from days where date = current_date", "current_date"),
        ("select date from days where date = CURRENT_DATE()", "current_date"),
        ("select current_timestamp at time zone 'UTC'", "current_timestamp"),
        ("select toDate(occurred_at)", "todate"),
        ("select toDate({{ column }})", "todate"),
        ("select toDate(occurred_at, 'Asia/Seoul')", "todate"),
        ("select toDate(toDateTime(x, 'UTC'))", "todate"),
        ("select toDateTime(occurred_at)", "todatetime"),
        ("select toDateTime64(occurred_at, 3)", "todatetime64"),
        ("select toStartOfHour(occurred_at)", "tostartofhour"),
        ("select toStartOfInterval(occurred_at, interval 1 hour)", "tostartofinterval"),
        ("select toYYYYMM(occurred_at)", "toyyyymm"),
        ("select toHour(occurred_at)", "tohour"),
        ("select formatDateTime(occurred_at, '%F')", "formatdatetime"),
        ("select date_trunc('hour', occurred_at)", "date_trunc"),
        ("select uniq(user_id)", "uniq"),
        ("select uniqIf(user_id, is_active)", "uniqif"),
        ("select uniqCombined64(user_id)", "uniqcombined64"),
        ("select uniqHLL12(user_id)", "uniqhll12"),
        ("select approx_count_distinct(user_id)", "approx_count_distinct"),
        ("select hll_count_distinct(user_id)", "hll_count_distinct"),
        ("select topK(10)(item_id)", "topk"),
    ],
)
def test_what_is_not_exact_is_refused(sql: str, function: str) -> None:
    assert [found.function for found in findings("models/a.sql", sql)] == [function]


@pytest.mark.parametrize(
    "template",
    [
        "{{% if target.type == 'postgres' %}}\n{sql}\n{{% endif %}}",
        "{{% macro postgres__day() -%}}\n{sql}\n{{%- endmacro %}}",
        "{{% do run_query(\n'{sql}') %}}",
        '{{% do run_query(\n"insert into x {sql} where model = \'" ~ name ~ "\'") %}}',
    ],
    ids=["branch", "macro", "string", "piece of a statement"],
)
def test_it_is_found_wherever_jinja_puts_it(template: str) -> None:
    (found,) = findings("macros/a.sql", template.format(sql="select today()"))
    assert (found.line, found.function) == (2, "today")


@pytest.mark.parametrize(
    "sql",
    [
        "select toDate(occurred_at, 'UTC')",
        "select toStartOfHour({{ column }}, 'UTC')",
        "select toDateTime64({{ first }}, 3, 'UTC')",
        "select date_trunc('hour', occurred_at at time zone 'UTC')",
        "select toDate('2015-01-01')",
        "select uniqExact(user_id), count(distinct user_id)",
        "select {{ utc_today() }} as as_of",
        "select today, now from days",
        "-- as of today()\nselect 'now()' as text",
        "{# uniq() is an estimate #}select 1",
    ],
)
def test_what_is_exact_is_let_through(sql: str) -> None:
    assert list(findings("models/a.sql", sql)) == []


def test_the_project_is_clean() -> None:
    assert [str(found) for found in lint(PROJECT)] == []


def test_every_exception_is_one_that_is_needed() -> None:
    used = {
        (name, found.function)
        for name in {path for path, _ in ALLOWED}
        for found in findings(name, (PROJECT / name).read_text())
    }
    assert set(ALLOWED) <= used
