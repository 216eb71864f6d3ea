"""`tally verify` end to end: it agrees with right numbers, and with no wrong one.

The tests are one story over one platform and run in their order: empty, behind, right, broken.
"""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from orchestration.lib import erasure
from orchestration.lib.dbt import DEEP, manifest, run_dbt
from orchestration.lib.publication import publish
from tally.cli import tally
from tally.errors import TallyError
from tally.verify import verify
from tally.verify.marts import MARTS
from tests.integration.api.serving import serving
from tests.platform import STREAM, Platform, action, running_platform

AS_OF = ["--as-of", "2026-03-02", "--as-of", "2026-02-01"]


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform of its own, because these tests break it."""
    with (
        running_platform(tmp_path_factory.mktemp("verified")) as platform,
        serving(platform.settings) as api,
    ):
        write_stack_settings(platform, str(api.base_url).rstrip("/"))
        yield platform


def write_stack_settings(platform: Platform, api_url: str) -> None:
    """Tell commands where the stack is, as `tally up` does."""
    stack = {
        "clickhouse_url": platform.settings.clickhouse_url,
        "jwks": platform.settings.jwks,
        "api_url": api_url,
    }
    (platform.settings.home / "settings.json").write_text(json.dumps(stack))


def run(platform: Platform, *arguments: str) -> Result:
    return CliRunner().invoke(
        verify, ["--home", str(platform.settings.home), "--json", "--wait", "0", *arguments]
    )


def outcome(result: Result) -> dict:
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    found: dict = json.loads(result.stdout)
    return found


def test_1_without_an_event_there_is_no_proof(verified: Platform) -> None:
    with pytest.raises(TallyError, match="nothing to prove"):
        outcome(run(verified))


def everything(user: int) -> list[dict]:
    """A user who does what can go wrong."""
    first = action(user, "DAILY_LOGIN", "2026-02-28T23:59:59.999Z")
    return [
        first,
        first,
        action(user, "DAILY_LOGIN", "2026-03-01T00:00:00.000Z"),
        action(user, "LOGIN_FAILED", "2026-01-05T00:00:00Z"),
        action(user, "LOGIN", "2026-01-05T00:59:59.999Z"),
        action(user, "LOGIN_LOCKED", "2026-01-05T01:00:00Z"),
        *(
            action(
                user, "SHOP_BUY", at, purchase_id=purchase, state=state, item_id="skin", amount=700
            )
            for at, purchase, state in (
                ("2026-02-28T23:59:00Z", "p", "pending"),
                ("2026-03-01T00:01:00Z", "p", "success"),
                ("2026-03-01T00:02:00Z", "q", "failed"),
                ("2026-03-01T02:00:00Z", "r", "pending"),
            )
        ),
        *(
            action(
                user, "REWARD_GRANTED", at, reward_type="daily", amount=amount, balance_after=after
            )
            for at, amount, after in (
                ("2026-03-01T00:02:00Z", -30, 70),
                ("2026-03-01T00:01:00Z", 100, 100),
            )
        ),
        action(user, "SIGN_UP", f"2026-01-0{user}T00:00:00Z"),
        *(
            action(
                *(user, "ACHIEVEMENT_PROGRESS", f"2026-03-01T10:0{minute}:00Z"),
                achievement_code="first",
                progress=progress,
                unlocked=progress == 1,
            )
            for minute, progress in ((2, 0.25), (1, 1))
        ),
        action(user, "BATTLE_PASS_PROGRESS", "2026-03-01T10:00:00Z", season=3, tier=1, xp=50),
        action(user, "WS_CONNECTED", "2026-03-01T10:00:00Z", path=f"/ws/{user}"),
        action(
            user, "WS_DISCONNECTED", "2026-03-01T10:00:59.9Z", path=f"/ws/{user}", close_code=1006
        ),
        action(
            *(user, "DEPRECATED_ENDPOINT_CALLED", "2026-03-01T10:00:00Z"),
            path=f"/v1/{user}",
            method="GET",
            successor="/v2",
        ),
        action(user, "FRAUD_BLOCKED", "2026-03-01T10:00:30Z", rule="velocity"),
        action(user, "SOMETHING_NEW", "2025-12-01T00:00:00Z"),
        action(user, "SLOT_SPIN", "2026-03-01T10:00:00Z", round_id="a", bet=10, payout=30),
        action(user, "SLOT_SPIN", "2026-03-02T10:00:00Z", round_id="a", state="voided"),
        action(user, "SLOT_SPIN", "2026-03-01T10:00:00Z", round_id="b", state="cancelled"),
        action(user, "SLOT_SPIN", "2026-03-01T11:00:00Z", round_id="b", state="started", bet=10),
        action(user, "RPS_PLAY", "2026-03-01T10:00:00Z", round_id="c", bet=10, payout=10),
        action(user, "RPS_PLAY", "2026-03-01T10:00:00Z", round_id="d", bet=0, payout=0),
        action(user, "RPS_PLAY", "2026-03-01T10:00:00Z", round_id="e", bet=0, payout=5),
        action(user, "CRASH_ROUND", "2026-03-01T10:00:00Z", round_id="f", bet=10, payout=4),
        action(user, "CRASH_ROUND", "2026-03-01T23:59:00Z", round_id="g", state="started", bet=9),
        action(user, "CRASH_ROUND", "2026-03-02T00:01:00Z", round_id="g", bet=9, payout=99),
        action(user, "GACHA_SPIN", "2026-02-01T10:00:00Z", round_id="h", bet=100, payout=0),
        action(
            user, "SLOT_SPIN", "2026-03-01T10:00:00Z", round_id="i", bet=1, payout=2, is_demo=True
        ),
    ]


def test_2_the_marts_must_have_seen_the_whole_ledger(verified: Platform) -> None:
    verified.store(everything(1) + everything(2))
    with pytest.raises(TallyError, match="66 messages behind"):
        outcome(run(verified))


def test_3_right_numbers_are_proven_in_every_field(verified: Platform) -> None:
    verified.materialize()
    verified.store([action(3, "LOGIN_FAILED", "2026-02-01T00:00:00Z"), *everything(2)])
    verified.client.command(
        "insert into raw.dead_letters (stream, offset, received_at, value, reason) values"
        f" ('{STREAM}', 1, '2026-03-01 00:00:00', 'ab', 'schema'),"
        f" ('{STREAM}', 2, '2026-03-01 00:00:00', 'abc', 'not_json')"
    )
    verified.client.command(
        "insert into raw.ingest_ledger (stream, first_offset, last_offset, kind, stored_at) values"
        f" ('{STREAM}', 1, 3, 'lost', '2026-03-01 00:00:00')"
    )
    verified.client.command(
        "insert into raw.recorded_hours (hour, recorded, arrived, compared_at) values"
        " ('2026-03-01 12:00:00', 8, 2, '2026-03-01 13:10:00'),"
        " ('2026-03-01 12:00:00', 9, 6, '2026-03-01 14:10:00'),"
        " ('2026-03-01 13:00:00', 5, 5, '2026-03-01 14:10:00')"
    )
    verified.materialize()
    run_dbt(["run", "--select", DEEP], verified.settings)
    result = run(verified, "--deep", *AS_OF)
    proof = outcome(result)
    assert proof["differences"] == 0, proof["first_differences"]
    assert result.exit_code == 0
    assert proof["users"] == 3
    assert proof["as_of"] == ["2026-02-01", "2026-03-02"]
    marts = {f"marts.{mart.relation}" for mart in MARTS}
    assert set(proof["comparisons_by_source"]) == {*marts, "API"}
    assert all(count > 0 for count in proof["comparisons_by_source"].values())
    assert {
        *("current_streak_days", "win_rate", "crash.payout_amount", "has_daily_login"),
        *("dau", "wau", "mau", "stickiness", "new_users", "returning_users", "retention"),
        *("rtp", "hold", "ggr", "duration_seconds", "outcome", "failure_rate", "success_rate"),
        *("balance", "streak_days"),
    } <= set(proof["metrics"])


def test_3a_the_nightly_marts_are_left_out_until_they_are_asked_for(verified: Platform) -> None:
    verified.store([action(4, "LOGIN", "2026-03-02T00:00:00Z")])
    verified.materialize()
    proof = outcome(run(verified))
    assert proof["differences"] == 0, proof["first_differences"]
    assert proof["not_compared"] == ["marts.sessions"]
    deep = outcome(run(verified, "--deep"))
    assert [(d["source"], d["metric"], d["found"]) for d in deep["first_differences"]] == [
        ("marts.sessions", "row", "absent")
    ]


def rows_of(platform: Platform, user: int) -> dict[str, int]:
    """The rows of a user in every table with users that there is, but the list of the erased."""
    tables = platform.client.query(
        "select database, table from system.columns where name = 'user_id'"
        " and (database, table) in (select database, name from system.tables"
        " where engine like '%MergeTree') and table != 'erased_users'"
    ).result_rows
    return {
        f"{database}.{table}": count
        for database, table in tables
        for (count,) in platform.client.query(
            f"select count() from {database}.{table} where user_id = {user}"
        ).result_rows
    }


def erase(platform: Platform, *arguments: object) -> Result:
    home = ["--home", str(platform.settings.home)]
    return CliRunner().invoke(tally, ["erase", *map(str, arguments), *home])


def test_3b_erased_users_are_gone_from_every_table_and_every_number_is_right_without_them(
    verified: Platform,
) -> None:
    """One of them all but leads every table, the other never was; a third stays."""
    erased, never, stays = 6, 2**53 - 1, 7
    played = everything(erased)
    verified.store(played + played)
    verified.materialize()
    verified.store([action(stays, "LOGIN", "2026-03-01T00:00:00Z")])
    offset = verified.next_offset
    bad = json.dumps({"user_id": erased, "source": "전진"})
    verified.client.command(
        "insert into raw.dead_letters (stream, offset, received_at, key, value, reason, error)"
        f" values ('{STREAM}', {offset}, '2026-03-01', '{erased}', '{bad}', 'schema', 'x'),"
        f" ('{STREAM}', {offset + 1}, '2026-03-01', '{stays}', '{{', 'not_json', 'x')"
    )
    verified.materialize()
    run_dbt(["run", "--select", DEEP], verified.settings)
    verified.client.command(
        "insert into marts.requested_arrivals (version, user_id, occurred_date)"
        " select toUnixTimestamp64Micro(now64(6)), 6, '2026-03-01'"
    )
    full = rows_of(verified, erased)
    # A table of sums over users would have to be built again.
    without_users = verified.client.query(
        "select name from system.tables where database in ('marts', 'published')"
        " and engine like '%MergeTree' and (database, name) not in"
        " (select database, table from system.columns where name = 'user_id')"
    ).result_rows
    assert {name for (name,) in without_users} == {
        *("materialization_windows", "watermarks", "check_results", "publications"),
        "verifications",
    }
    assert {name for name, rows in full.items() if not rows} == set()
    of_others = "select * from published.user_days final where user_id != 6 order by user_id, date"
    others = verified.client.query(of_others).result_rows

    refused = erase(verified, erased, never)
    assert refused.exit_code == 1
    assert "user 6: 32 events from 2025-12-01 to 2026-03-02" in refused.output
    assert f"user {never}: no event is stored" in refused.output
    assert rows_of(verified, erased) == full

    told = erase(verified, erased, never, "--yes")
    assert told.exit_code == 0, told.output
    assert set(rows_of(verified, erased).values()) == {0}
    assert verified.client.query(of_others).result_rows == others
    for name, rows in full.items():
        assert f"{name}: {rows:,} rows erased" in told.output
    assert "raw.dead_letters: 1 rows erased" in told.output
    letters = verified.client.query(
        "select key, value, reason from raw.dead_letters final"
        f" where offset >= {offset} order by offset"
    ).result_rows
    assert letters == [("", "", "erased_user"), (str(stays), "{", "not_json")]
    again = erase(verified, erased, "--yes")
    assert again.exit_code == 0
    assert "rows erased" not in again.output

    proof = outcome(run(verified, "--deep", *AS_OF))
    assert proof["differences"] == 0, proof["first_differences"]
    verified.materialize()
    proof = outcome(run(verified, "--deep", *AS_OF))
    assert proof["differences"] == 0, proof["first_differences"]
    run_dbt(["test", "--select", "assert_nothing_is_left_of_erased_users"], verified.settings)


def test_3c_what_comes_back_is_found_and_the_next_run_finishes(verified: Platform) -> None:
    """As after a restore; and the first run ends after its first table."""
    row = "select * replace (6 as user_id) from (select * from {0} where user_id = 1 limit 1)"
    for table in ("raw.round_events", "published.user_days", "marts.game_rounds"):
        verified.client.command(f"insert into {table} " + row.format(table))
    databases = erasure.databases(manifest(verified.settings))
    killed = erasure.erase(verified.client, databases, print)
    assert next(killed).table == "marts.game_rounds"
    killed.close()
    found = erase(verified, "--check")
    assert found.exit_code == 1
    assert "published.user_days: 1 rows are left" in found.output
    with pytest.raises(TallyError, match="assert_nothing_is_left_of_erased_users"):
        run_dbt(
            ["--warn-error", "test", "--select", "assert_nothing_is_left_of_erased_users"],
            verified.settings,
        )
    finished = erase(verified)
    assert finished.exit_code == 0, finished.output
    assert "raw.round_events: 1 rows erased" in finished.output
    assert erase(verified, "--check").exit_code == 0
    assert set(rows_of(verified, 6).values()) == {0}


def differences(platform: Platform) -> list[tuple[str, int, str]]:
    """Source, user and metric of the differences of single users that are found now."""
    result = run(platform, *AS_OF)
    assert result.exit_code == 1
    return [
        (found["source"], found["key"]["user_id"], found["metric"])
        for found in outcome(result)["first_differences"]
        if "user_id" in found["key"]
    ]


def test_4_a_corrupted_mart_row_is_found_in_the_mart_and_in_the_api(verified: Platform) -> None:
    verified.client.command(
        "insert into marts.user_days select * replace (true as has_daily_login, "
        "version + 1 as version) from marts.user_days final "
        "where user_id = 1 and date = '2026-03-02'"
    )
    publish(verified.client, run_id="test")
    found = differences(verified)
    assert ("marts.user_days", 1, "has_daily_login") in found
    assert ("API", 1, "current_streak_days") in found
    assert {user for _, user, _ in found} == {1}


def test_5_a_row_lost_from_raw_is_found(verified: Platform) -> None:
    verified.client.command(
        "delete from raw.events where user_id = 2 and round_id = 'f' settings mutations_sync = 2"
    )
    found = differences(verified)
    assert ("marts.user_days", 2, "events") in found
    assert ("marts.user_game_days", 2, "losses") in found
    assert ("API", 2, "total_losses") in found
    assert ("API", 2, "crash.losses") in found


# In each mart one row with a wrong number and one row that is gone.
WRONG = {
    "user_days": ("events", "user_id = 1 and date = '2026-03-01'", "user_id = 2"),
    "user_game_days": ("wins", "user_id = 1 and game_type = 'rps'", "user_id = 2"),
    "game_rounds": ("payout_amount", "user_id = 1 and round_id = 'c'", "round_id = 'h'"),
    "sessions": ("actions", "user_id = 1 and session_number = 1", "user_id = 2"),
    "daily_metrics": ("mau", "date = '2026-03-01'", "date = '2026-02-01'"),
    "daily_game_metrics": ("ggr", "game_type = 'rps'", "game_type = 'gacha'"),
    "hourly_metrics": ("active_users", "hour = '2026-03-01 10:00:00'", "toHour(hour, 'UTC') = 11"),
    "streaks": ("streak_days", "user_id = 1 and date = '2026-03-01'", "user_id = 2"),
    "purchases": ("amount", "user_id = 1 and purchase_id = 'p'", "purchase_id = 'q'"),
    "purchase_funnel": ("opened", "date = '2026-03-01'", "date = '2026-02-28'"),
    "gold_ledger": ("amount", "user_id = 1", "user_id = 2"),
    "gold_balances": ("balance", "user_id = 1", "user_id = 2"),
    "lockouts": ("failed_attempts", "user_id = 1", "user_id = 2"),
    "achievements": ("progress", "user_id = 1", "user_id = 2"),
    "battle_pass": ("xp", "user_id = 1", "user_id = 2"),
    "user_journeys": ("signed_up_at", "user_id = 1", "user_id = 2"),
    "journey_funnel": ("signed_up", "date = '2026-01-01'", "date = '2026-01-02'"),
    "realtime_connections": ("duration_seconds", "user_id = 1", "user_id = 2"),
    "deprecated_endpoint_calls": ("calls", "path = '/v1/1'", "path = '/v1/2'"),
    "fraud_velocity": ("actions", "user_id = 1", "user_id = 2"),
    "hourly_realtime": ("abnormal_closes", "path = '/ws/1'", "path = '/ws/2'"),
    "hourly_ingestion": ("accepted", "batches > 0", "lost > 0"),
    "hourly_record": ("arrived", "recorded = 9", "recorded = 5"),
    "hourly_dead_letters": ("letters", "reason = 'schema'", "reason = 'not_json'"),
    "hourly_logins": ("failed_logins", "hour = '2026-01-05 00:00:00'", "locked_users > 0"),
    "hourly_purchases": ("succeeded", "hour = '2026-03-01 00:00:00'", "pending > 0"),
    "retention": ("retained", "cohort_date = '2025-12-01' and day_n = 7", "day_n = 8"),
}


def test_6_a_wrong_row_and_a_lost_row_are_named_in_every_mart(verified: Platform) -> None:
    assert set(WRONG) == {mart.relation for mart in MARTS}
    # All are copied before one is broken: some are views of others.
    for mart in MARTS:
        name = f"marts.{mart.relation}"
        verified.client.command(
            f"create table {name}_right engine = Memory as select * from {name}"
        )
    for mart in MARTS:
        name, key = f"marts.{mart.relation}", ", ".join(mart.key)
        metric, wrong, lost = WRONG[mart.relation]
        columns = f"* replace (if({wrong}, assumeNotNull({metric}) + 1, {metric}) as {metric})"
        verified.client.command(f"drop table {name}")
        verified.client.command(
            f"create table {name} engine = ReplacingMergeTree order by ({key}) "
            f"as select {columns} from {name}_right where not ({lost})"
        )
    found = outcome(run(verified, "--deep", *AS_OF))["first_differences"]
    for relation, (metric, _, _) in WRONG.items():
        named = [one for one in found if one["source"] == f"marts.{relation}"]
        assert any(one["metric"] == metric and one["found"] for one in named), relation
        # Where no row is the same as zeros, a lost one is named by each of its numbers.
        assert any(one["found"] in ("absent", 0) for one in named), relation


def test_7_without_an_api_it_says_so(verified: Platform) -> None:
    write_stack_settings(verified, "http://127.0.0.1:1")
    with pytest.raises(TallyError, match="stopped answering"):
        outcome(run(verified))
