"""The checks are checked: each seeded corruption is found by the expectation for it, and no other;
fifty clean worlds are found to be clean.

One warehouse with one world; each corruption is taken back by cloning the tables anew.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from random import Random
from typing import Any

import pytest

from expectations import catalogue
from expectations.engine import validate
from expectations.suite import Suite
from orchestration.lib.dbt import state_folder
from simulator.events import document
from simulator.world import World
from tests.platform import Platform, running_platform

WORLD = World(seed=3, users=40, days=20, start=date(2026, 3, 1))
CLEAN_WORLDS = 50
RAW = ("events", "round_events", "arrivals", "ingest_ledger", "dead_letters", "event_ids")
TABLES = (
    *("raw.events", "raw.arrivals", "raw.ingest_ledger", "raw.dead_letters"),
    *("marts.user_days", "marts.user_game_days", "published.user_days"),
)

# A free key for an event that is made of another one.
_NEW = "generateUUIDv4() as event_id"
_NEXT = "(select max(last_offset) + 1 from raw.ingest_ledger)"


@dataclass(frozen=True)
class Corruption:
    """SQL that breaks one rule, and the expectation that has to tell."""

    caught_by: str
    table: str
    sql: str


def event(caught_by: str, replaced: str, where: str = "action_type = 'LOGOUT'") -> Corruption:
    """One event of `where` with other columns: in its place unless a column of its key is new."""
    return Corruption(
        caught_by,
        "raw.events",
        f"insert into raw.events select * replace ({replaced}) from "
        f"(select * from raw.events final where {where} order by event_id limit 1)",
    )


def day(caught_by: str, replaced: str, mart: str = "user_days", where: str = "true") -> Corruption:
    """One row of a mart with other numbers, as a newer version."""
    return Corruption(
        caught_by,
        f"marts.{mart}",
        f"insert into marts.{mart} select * replace ({replaced}, version + 1 as version) from "
        f"(select * from marts.{mart} final where {where} order by user_id, date limit 1)",
    )


def batch(caught_by: str, columns: str, values: str) -> Corruption:
    """A row of the ledger for messages that nobody has stored."""
    return Corruption(
        caught_by,
        "raw.ingest_ledger",
        f"insert into raw.ingest_ledger (stream, kind, first_offset, last_offset, {columns}) "
        f"select any(stream), 'stored', {values} from raw.ingest_ledger",
    )


def dead_letters(caught_by: str, reason: str, error: str, number: int = 1) -> Corruption:
    return Corruption(
        caught_by,
        "raw.dead_letters",
        "insert into raw.dead_letters (stream, offset, received_at, reason, error) "
        f"select 'other', number, now64(3), '{reason}', '{error}' from numbers({number})",
    )


_WON = "round_state = 'settled' and position(context, '\"result\":\"win\"') > 0"
_LOST = "round_state = 'settled' and payout = 0 and position(context, '\"result\":\"loss\"') > 0"
_BOUGHT = "action_type = 'SHOP_BUY' and position(context, '\"state\":\"success\"') > 0"
_RECENT_RPS = (
    "game_type = 'rps' and round_state = 'settled' and bet > 0 and occurred_at > "
    "(select max(occurred_at) - interval 7 day from raw.events)"
)

CORRUPTIONS = (
    event("event_ids_are_unique", "occurred_at + interval 1 second as occurred_at"),
    event("user_ids_are_in_range", f"toUInt64(0) as user_id, {_NEW}"),
    event("action_types_are_names", "'X' as action_type"),
    event("initiators_are_known", "'nobody' as initiator"),
    event("round_states_are_known", "'paused' as round_state"),
    event("game_types_are_known", "'poker' as game_type, 'r' as round_id"),
    event(
        "occurred_at_is_after_2014", f"toDateTime64('2010-01-01', 3, 'UTC') as occurred_at, {_NEW}"
    ),
    event("no_event_is_of_the_future", f"received_at + interval 1 hour as occurred_at, {_NEW}"),
    event("contexts_are_small", "repeat('x', 20000) as context"),
    event("schema_versions_are_known", "toUInt8(2) as schema_version"),
    event("sources_are_short", "'' as source"),
    event("rounds_have_an_id", "'slot' as game_type"),
    event("bets_are_not_negative", "toInt64(-1) as bet", _WON),
    event("payouts_are_not_negative", "toInt64(-1) as payout", _LOST),
    event("rounds_have_units", "toUInt32(0) as units", _WON),
    event(
        "declared_results_follow_the_stakes",
        "replaceOne(context, '\"loss\"', '\"win\"') as context",
        _LOST,
    ),
    event(
        "a_receipt_pays_once",
        'replaceRegexpOne(context, \'"purchase_id":"[^"]*"\', \'"purchase_id":"p2"\') as '
        f"context, {_NEW}",
        _BOUGHT,
    ),
    event(
        "a_receipt_has_one_buyer",
        "replaceOne(context, '\"success\"', '\"failed\"') as context, user_id + 1 as user_id, "
        + _NEW,
        _BOUGHT,
    ),
    event(
        "purchases_cost_something",
        "replaceRegexpOne(context, '\"amount\":[0-9]+', '\"amount\":-1') as context",
        _BOUGHT,
    ),
    event(
        "no_balance_was_negative",
        "replaceRegexpOne(context, '\"balance_after\":[0-9]+', '\"balance_after\":-5') as context",
        "action_type = 'REWARD_GRANTED'",
    ),
    Corruption(
        "no_login_during_a_lockout",
        "raw.events",
        "insert into raw.events select * replace (generateUUIDv4(number) as event_id, "
        "['LOGIN_LOCKED', 'LOGIN'][number + 1] as action_type, "
        "occurred_at + toIntervalMinute(5 * number) as occurred_at) except (number) from ("
        "select events.*, number from (select * from raw.events final where "
        "action_type = 'LOGOUT' order by event_id limit 1) as events "
        "cross join numbers(2) as numbers)",
    ),
    Corruption(
        "rtp_is_in_its_interval",
        "raw.events",
        "insert into raw.events select * replace (payout * 50 as payout) from "
        f"(select * from raw.events final where {_RECENT_RPS} and payout > bet)",
    ),
    Corruption(
        "outcomes_are_distributed_as_before",
        "raw.events",
        "insert into raw.events select * replace ("
        "multiIf(payout > bet, bet, payout = 0, intDiv(bet * 86, 100), payout) as payout, "
        'replaceOne(context, \'"result":"win"\', \'"result":"draw"\') as context) '
        f"from (select * from raw.events final where {_RECENT_RPS})",
    ),
    Corruption(
        "volume_is_near_its_baseline",
        "raw.events",
        "insert into raw.events select * replace (generateUUIDv4(number) as event_id, "
        "now64(3) - interval 3 day as received_at) except (number) from ("
        "select events.*, number from (select * from raw.events final where "
        "action_type = 'LOGOUT' limit 1) as events cross join numbers(300000) as numbers)",
    ),
    Corruption(
        "replays_are_idempotent",
        "raw.events",
        "insert into raw.events select * replace (occurred_at + toIntervalSecond(number) as "
        "occurred_at, now64(3) - interval 3 day as received_at) except (number) from ("
        "select events.*, number from (select * from raw.events final where "
        "action_type = 'DAILY_LOGIN' order by event_id limit 1) as events "
        "cross join numbers(2) as numbers)",
    ),
    Corruption(
        "no_arrival_is_missing",
        "raw.arrivals",
        "alter table raw.arrivals delete where offset = 5 settings mutations_sync = 2",
    ),
    Corruption(
        "no_arrival_is_stored_twice",
        "raw.arrivals",
        "insert into raw.arrivals select * from raw.arrivals where offset = 5",
    ),
    batch(
        "no_dead_letter_is_missing",
        "newest_appended_at, dead",
        f"{_NEXT}, {_NEXT}, now64(3), 1",
    ),
    batch(
        "the_ledger_has_no_holes",
        "newest_appended_at, accepted",
        f"{_NEXT} + 9, {_NEXT} + 9, now64(3), 0",
    ),
    batch(
        "messages_are_readable_in_time",
        "newest_appended_at",
        f"{_NEXT}, {_NEXT}, now64(3) - interval 10 minute",
    ),
    batch(
        "marts_are_published_in_time",
        "newest_appended_at, stored_at",
        f"{_NEXT}, {_NEXT}, now64(3) - interval 1 hour, now64(3) - interval 1 hour",
    ),
    dead_letters("dead_letter_reasons_are_known", "because", "it is so"),
    dead_letters("dead_letters_say_why", "schema", ""),
    dead_letters("few_messages_are_dead_letters", "schema", "user_id: missing", 2_000),
    Corruption(
        "columns_have_their_types",
        "published.user_days",
        "alter table published.user_days modify column payout_amount Int128",
    ),
    day("user_days_have_events", "toUInt64(0) as events"),
    day("user_days_rounds_add_up", "wins + 1 as wins"),
    day("login_days_are_active_days", "false as is_active, true as has_daily_login"),
    day("no_day_is_of_the_future", "toDate(now('UTC'), 'UTC') + 5 as date"),
    day("user_days_bet_amount_is_not_negative", "toInt64(-1) as bet_amount"),
    day("user_days_payout_amount_is_not_negative", "toInt64(-1) as payout_amount"),
    day("every_user_has_an_event", "toUInt64(999999) as user_id"),
    day(
        "user_game_days_are_of_known_games",
        "'poker' as game_type",
        "user_game_days",
        "game_type = 'slot'",
    ),
    day(
        "user_game_days_rounds_add_up", "draws + 1 as draws", "user_game_days", "game_type = 'slot'"
    ),
    day(
        "only_gacha_has_no_outcome",
        "played + 1 as played, no_outcome + 1 as no_outcome",
        "user_game_days",
        "game_type = 'slot'",
    ),
    day("user_game_days_bet_amount_is_not_negative", "toInt64(-1) as bet_amount", "user_game_days"),
    day(
        "user_game_days_payout_amount_is_not_negative",
        "toInt64(-1) as payout_amount",
        "user_game_days",
    ),
    day("every_game_day_has_its_day", "toDate('2020-01-01') as date", "user_game_days"),
)

# What no statement can break: the engine of the mart gives one row a key, a contract its columns.
_UNBREAKABLE = {
    "user_days_are_unique",
    "user_days_have_their_columns",
    "user_game_days_are_unique",
    "columns_have_a_type",
}


def live(platform: Platform, world: World) -> None:
    """Store what happens in a world; a part of it is delivered twice."""
    events = takewhile(lambda event: event.at < world.ends, world.events())
    actions = [document(event) for event in events]
    platform.store(actions)
    platform.store(each for each in actions if each["action_type"] == "DAILY_LOGIN")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("quality")) as running:
        live(running, WORLD)
        running.materialize()
        running.client.command("create database backup")
        for table in TABLES:
            _clone(running, table, _backup(table))
        yield running


def _backup(table: str) -> str:
    return f"backup.{table.replace('.', '_')}"


def _clone(platform: Platform, table: str, into: str) -> None:
    platform.client.command(f"create or replace table {into} clone as {table}")


def failures(platform: Platform, suites: Iterable[Suite] = catalogue.SUITES) -> dict[str, str]:
    return {
        outcome.expectation.name: outcome.observed
        for outcome in validate(platform.settings, suites)
        if not outcome.passed
    }


@pytest.fixture(scope="module")
def sources(platform: Platform) -> dict[str, frozenset[str]]:
    """By suite's relation, every relation that is read for it."""
    manifest = json.loads((state_folder(platform.settings) / "manifest.json").read_text())
    nodes = {**manifest["nodes"], **manifest["sources"]}
    names = {key: f"{node['schema']}.{node['name']}" for key, node in nodes.items()}

    def above(key: str) -> frozenset[str]:
        parents = nodes[key].get("depends_on", {}).get("nodes", ())
        return frozenset({names[key]}.union(*map(above, parents)))

    return {names[key]: above(key) for key in nodes if names[key].startswith("quality.")}


def reads(sources: frozenset[str], table: str) -> bool:
    """Whether a relation with these sources reads the table; one that has none reads all."""
    return table in sources or len(sources) == 1


def test_a_clean_world_fails_no_expectation(platform: Platform) -> None:
    assert failures(platform) == {}


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda each: each.caught_by)
def test_a_corruption_is_caught_by_its_expectation_alone(
    platform: Platform, sources: dict[str, frozenset[str]], corruption: Corruption
) -> None:
    """Suites that do not read the corrupted table cannot tell, and are left out for their time."""
    suites = [each for each in catalogue.SUITES if reads(sources[each.relation], corruption.table)]
    platform.client.command(corruption.sql)
    try:
        assert list(failures(platform, suites)) == [corruption.caught_by]
    finally:
        _clone(platform, _backup(corruption.table), corruption.table)


def test_every_expectation_that_can_be_broken_is() -> None:
    names = {expectation.name for _, expectation in catalogue.named()}
    assert {each.caught_by for each in CORRUPTIONS} == names - _UNBREAKABLE


def test_no_clean_world_fails_an_expectation(platform: Platform) -> None:
    """What is a figure of a whole world, of each world alone; what is of a user, of all at once."""
    random = Random(6)
    command = platform.client.command
    of_a_world = [each for each in catalogue.SUITES if each.relation == "quality.game_returns"]
    found: dict[int, Any] = {}
    for table in RAW:
        _clone(platform, f"raw.{table}", f"backup.all_{table}")
    for nth in range(CLEAN_WORLDS):
        for table in RAW:
            command(f"truncate table raw.{table}")
        world = World(
            seed=random.getrandbits(32),
            users=random.randint(10, 30),
            days=random.randint(10, 18),
            start=date(2026, random.randint(1, 8), random.randint(1, 28)),
            first_user_id=10_000 * (nth + 1),
        )
        live(platform, world)
        if failed := failures(platform, of_a_world):
            found[world.seed] = failed
        for table in RAW:
            command(f"insert into backup.all_{table} select * from raw.{table}")
    for table in RAW:
        _clone(platform, f"backup.all_{table}", f"raw.{table}")
    platform.materialize()
    assert platform.client.command("select uniqExact(user_id) from marts.user_days") > 1_000
    found[0] = failures(platform)
    assert found == {0: {}}
