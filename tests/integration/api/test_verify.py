"""`tally verify` end to end: it agrees with right numbers, and with no wrong one.

The tests are one story over one platform and run in their order: empty, behind, right, broken.
"""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from tally.errors import TallyError
from tally.verify import verify
from tests.integration.api.serving import serving
from tests.platform import Platform, action, running_platform

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
    with pytest.raises(TallyError, match="34 messages behind"):
        outcome(run(verified))


def test_3_right_numbers_are_proven_in_every_field(verified: Platform) -> None:
    verified.materialize()
    verified.store([action(3, "LOGIN_FAILED", "2026-02-01T00:00:00Z"), *everything(2)])
    verified.materialize()
    result = run(verified, *AS_OF)
    proof = outcome(result)
    assert proof["differences"] == 0, proof["first_differences"]
    assert result.exit_code == 0
    assert proof["users"] == 3
    assert proof["as_of"] == ["2026-02-01", "2026-03-02"]
    assert set(proof["comparisons_by_source"]) == {"marts.user_days", "marts.user_game_days", "API"}
    assert {"current_streak_days", "win_rate", "crash.payout_amount", "has_daily_login"} <= set(
        proof["metrics"]
    )


def differences(platform: Platform) -> list[tuple[str, int, str]]:
    """Source, user and metric of the differences that are found now."""
    result = run(platform, *AS_OF)
    assert result.exit_code == 1
    return [
        (found["source"], found["key"]["user_id"], found["metric"])
        for found in outcome(result)["first_differences"]
    ]


def test_4_a_corrupted_mart_row_is_found_in_the_mart_and_in_the_api(verified: Platform) -> None:
    verified.client.command(
        "insert into marts.user_days select * replace (true as has_daily_login, "
        "version + 1 as version) from marts.user_days final "
        "where user_id = 1 and date = '2026-03-02'"
    )
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


def test_6_without_an_api_it_says_so(verified: Platform) -> None:
    write_stack_settings(verified, "http://127.0.0.1:1")
    with pytest.raises(TallyError, match="stopped answering"):
        outcome(run(verified))
