"""Every query of docs/analysts.md runs on a simulated world and gives the columns that it says."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from ingest.migrations.chain import split_statements
from tally.warehouse import ANALYTICS, connect
from tests.platform import Platform

# Several runs of dbt come before the first of these tests.
pytestmark = pytest.mark.timeout(600)

PAGE = (Path(__file__).parents[2] / "docs" / "analysts.md").read_text()
COOKBOOK, _, REST = PAGE.partition("## Cookbook")[2].partition("\n## ")


class Recipe(NamedTuple):
    query: str
    columns: list[str]


def recipes() -> list[Recipe]:
    found = re.findall(r"```sql\n(.*?)```\n\nColumns: (.*?)\n\n", COOKBOOK + "\n\n", re.DOTALL)
    assert len(found) == COOKBOOK.count("```sql"), "a query does not say its columns"
    return [Recipe(query.strip(), re.findall("`(.*?)`", columns)) for query, columns in found]


def ask(world: Platform, query: str) -> list[dict[str, object]]:
    client = connect(world.settings, ANALYTICS)
    try:
        return list(client.query(query.rstrip(";")).named_results())
    finally:
        client.close()


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.query[:40])
def test_a_query_gives_rows_with_its_columns(world: Platform, recipe: Recipe) -> None:
    rows = ask(world, recipe.query)
    assert rows
    assert list(rows[0]) == recipe.columns


ACTIONS_OF_THE_LAST_HOUR = (
    "SELECT action_type, count() FROM events WHERE ts > now() - INTERVAL 1 HOUR"
    " GROUP BY action_type ORDER BY count() DESC;"
)
WINNERS = (
    "SELECT user_id, sum(wins) AS w, sum(losses) AS l FROM game_stats"
    " WHERE date >= today()-7 GROUP BY user_id ORDER BY w DESC LIMIT 50;"
)


@pytest.mark.parametrize("query", [ACTIONS_OF_THE_LAST_HOUR, WINNERS])
def test_the_acceptance_queries_are_on_the_page_as_they_are(query: str) -> None:
    assert query in [recipe.query for recipe in recipes()]


def test_yesterdays_dau_is_that_of_the_events(world: Platform) -> None:
    (row,) = ask(world, recipes()[0].query)
    (counted,) = ask(
        world,
        "select uniqExact(user_id) as dau from events"
        " where toDate(ts, 'UTC') = yesterday() and initiator = 'user'",
    )
    assert row["dau"] == counted["dau"] > 0  # type: ignore[operator]


def test_the_seven_day_form_spans_seven_dates(world: Platform) -> None:
    dates = "select uniqExact(date) as dates from game_stats where date {} today() - 7"
    assert ask(world, dates.format(">")) == [{"dates": 7}]
    assert ask(world, dates.format(">=")) == [{"dates": 8}]


def test_the_rtp_by_game_is_that_of_the_settled_rounds(world: Platform) -> None:
    (recipe,) = [r for r in recipes() if r.columns == ["game_type", "rounds", "rtp", "ggr"]]
    counted = ask(
        world,
        """
        with latest as (
            select
                user_id, round_id, argMax(round_state, (ts, toString(event_id))) as state,
                argMaxIf((ts, game_type, bet, payout, is_demo), (ts, toString(event_id)),
                    round_state = 'settled') as settled
            from events where round_id != '' group by user_id, round_id
        )
        select
            toString(settled.2) as game_type, count() as rounds,
            round(sum(settled.4) / sum(settled.3), 4) as rtp, sum(settled.3) - sum(settled.4) as ggr
        from latest
        where state = 'settled' and not settled.5 and toDate(settled.1, 'UTC') > today() - 30
        group by game_type
        """,
    )
    by_game = {row["game_type"]: row for row in counted}
    assert {row["game_type"]: row for row in ask(world, recipe.query)} == by_game
    assert len(by_game) == 4


def test_the_statements_for_an_account_are_clickhouses(world: Platform) -> None:
    script = re.findall(r"```sql\n(.*?)```", REST, re.DOTALL)
    statements = split_statements("".join(script))
    assert len(statements) == 10
    for statement in statements:
        parsed = world.client.query(
            "select formatQuery({sql:String})", parameters={"sql": statement}
        )
        assert parsed.result_rows
