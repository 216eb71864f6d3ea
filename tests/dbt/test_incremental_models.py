"""The incremental marts are what a brute-force fold of all events says, however they arrive."""

import random
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from orchestration.lib.dbt import run_dbt
from tests.platform import Platform, action, running_platform

FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 6
USERS = (1, 2, 3, 4)
GAMES = {
    "SLOT_SPIN": "slot",
    "GACHA_SPIN": "gacha",
    "RPS_PLAY": "rps",
    "CRASH_ROUND": "crash",
}
HISTORIES = (
    ["settled"],
    ["started"],
    ["started", "settled"],
    ["started", "cancelled"],
    ["settled", "voided"],
    ["started", "settled", "voided"],
    ["settled", "settled"],
)
OTHERS = ("LOGIN", "DAILY_LOGIN", "LOGIN_FAILED", "LEVEL_UP_UNKNOWN_TO_US")

Action = dict[str, Any]
Row = tuple[Any, ...]


def world(rng: random.Random) -> list[Action]:
    """Rounds with every history of states, other actions, and some of each sent more than once."""

    def moment() -> str:
        # Few distinct times, so that events of one round collide and event_id has to decide.
        at = FIRST_DAY + timedelta(days=rng.randrange(DAYS), hours=rng.choice((0, 12)))
        if rng.random() < 0.2:
            at -= timedelta(milliseconds=1)
        return at.isoformat()

    actions = [
        action(rng.choice(USERS), rng.choice(OTHERS), moment(), event_id=event_id(rng))
        for _ in range(80)
    ]
    for _ in range(120):
        user, game, round_id = rng.choice(USERS), rng.choice(list(GAMES)), event_id(rng)
        actions += [
            action(
                user,
                game,
                moment(),
                event_id=event_id(rng),
                round_id=round_id,
                state=state,
                bet=rng.choice((0, 10, 20)),
                payout=rng.choice((0, 5, 10, 20, 50)),
                is_demo=rng.random() < 0.1,
            )
            for state in rng.choice(HISTORIES)
        ]
    actions += rng.choices(actions, k=40)
    rng.shuffle(actions)
    return actions


def event_id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def expected(actions: list[Action]) -> tuple[set[Row], set[Row]]:
    """(user_days, user_game_days) by folding every event, from the definitions in words."""
    events = {one["event_id"]: one for one in actions}.values()
    days: dict[tuple[int, date], list[Action]] = defaultdict(list)
    rounds: dict[tuple[int, str], list[Action]] = defaultdict(list)
    for one in events:
        days[one["user_id"], day_of(one)].append(one)
        if "round_id" in one["context"]:
            rounds[one["user_id"], one["context"]["round_id"]].append(one)

    games: dict[tuple[int, date, str], list[int]] = {}
    for (user, _), history in rounds.items():
        for one in history:
            games.setdefault((user, day_of(one), GAMES[one["action_type"]]), [0] * 7)
        history.sort(key=lambda one: (one["occurred_at_time"], one["event_id"]))
        if history[-1]["context"]["state"] != "settled":
            continue
        last = history[-1]
        bet, payout = last["context"]["bet"], last["context"]["payout"]
        game = GAMES[last["action_type"]]
        if last["context"]["is_demo"]:
            continue
        if game == "gacha":
            outcome = 4
        elif payout > bet:
            outcome = 1
        elif payout < bet or bet == 0:
            outcome = 2
        else:
            outcome = 3
        sums = games[user, day_of(last), game]
        sums[0] += 1
        sums[outcome] += 1
        sums[5] += bet
        sums[6] += payout

    user_days = set()
    for (user, day), seen in days.items():
        totals = [
            sum(sums[i] for (u, d, _), sums in games.items() if (u, d) == (user, day))
            for i in range(7)
        ]
        active = any(one["action_type"] != "LOGIN_FAILED" for one in seen)
        daily_login = any(one["action_type"] == "DAILY_LOGIN" for one in seen)
        user_days.add((user, day, active, daily_login, len(seen), *totals))
    return user_days, {(*key, *sums) for key, sums in games.items()}


def day_of(one: Action) -> date:
    one["occurred_at_time"] = datetime.fromisoformat(one["occurred_at"]).astimezone(UTC)
    day: date = one["occurred_at_time"].date()
    return day


def marts(platform: Platform) -> tuple[set[Row], set[Row]]:
    active = "is_active, has_daily_login"
    games = "played, wins, losses, draws, no_outcome, bet_amount, payout_amount"
    queries = (
        f"select user_id, date, {active}, events, {games} from marts.user_days final",
        f"select user_id, date, game_type, {games} from marts.user_game_days final",
    )
    user_days, user_game_days = (set(platform.client.query(q).result_rows) for q in queries)
    return user_days, user_game_days


def dbt(platform: Platform, *arguments: str) -> None:
    run_dbt(["run", "--select", "user_days", "user_game_days", *arguments], platform.settings)


@pytest.fixture(scope="module")
def shared_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("dbt")) as running:
        yield running


@pytest.fixture
def platform(shared_platform: Platform) -> Platform:
    """A platform without an event; offsets and watermarks go on from the test before."""
    emptied = ("raw.events", "raw.round_events", "raw.arrivals", "raw.ingest_ledger")
    for table in (*emptied, "marts.user_days", "marts.user_game_days"):
        shared_platform.client.command(f"truncate table {table}")
    return shared_platform


@pytest.mark.parametrize("seed", [1, 2])
def test_any_order_duplication_and_split_gives_what_a_full_refresh_gives(
    platform: Platform, seed: int
) -> None:
    rng = random.Random(seed)
    actions = world(rng)
    cuts = sorted(rng.sample(range(1, len(actions)), 2))
    stored: list[Action] = []
    for begin, end in zip([0, *cuts], [*cuts, len(actions)], strict=True):
        part = [strip(one) for one in actions[begin:end]]
        # Several batches to a run, of which one repeats what an earlier one had.
        platform.store(part[: len(part) // 2])
        platform.store(part[len(part) // 2 :])
        platform.store(rng.sample(part, len(part) // 5))
        stored += part
        dbt(platform)
        assert marts(platform) == expected([dict(one) for one in stored])
    incremental = marts(platform)
    dbt(platform, "--full-refresh")
    assert marts(platform) == incremental


def strip(one: Action) -> Action:
    return {key: value for key, value in one.items() if key != "occurred_at_time"}


def test_a_run_that_dies_half_way_is_healed_by_the_next(platform: Platform) -> None:
    """A window that was opened and never closed moves no watermark."""
    login = action(1, "LOGIN", "2026-03-01T12:00:00Z")
    platform.store([login])
    platform.client.command(
        "insert into marts.materialization_windows"
        " (model, run_id, version, stream, from_offset, to_offset)"
        " select 'user_days', 'died', toUnixTimestamp64Micro(now64(6)), stream, -1,"
        " max(last_offset) from raw.ingest_ledger group by stream"
    )
    dbt(platform)
    assert marts(platform)[0] == expected([login])[0]


def test_a_run_with_nothing_new_appends_nothing(platform: Platform) -> None:
    platform.store([action(1, "LOGIN", "2026-03-01T12:00:00Z")])
    dbt(platform)
    count = "select count() from marts.user_days"
    before = platform.client.command(count)
    dbt(platform)
    assert platform.client.command(count) == before == 1


def test_only_touched_days_are_computed_again(platform: Platform) -> None:
    """A void touches the day on which its round was settled, and no other day of the user."""
    platform.store(
        [
            action(1, "LOGIN", "2026-03-01T12:00:00Z"),
            action(
                1,
                "SLOT_SPIN",
                "2026-03-02T12:00:00Z",
                round_id="r",
                state="settled",
                bet=1,
                payout=2,
            ),
        ]
    )
    dbt(platform)
    platform.store([action(1, "SLOT_SPIN", "2026-03-05T12:00:00Z", round_id="r", state="voided")])
    dbt(platform)
    touched = platform.client.query(
        "select date from marts.touched_user_days"
        " where model = 'user_days' and run_id ="
        " (select argMax(run_id, version) from marts.materialization_windows) order by date"
    ).result_rows
    assert touched == [(date(2026, 3, 2),), (date(2026, 3, 5),)]
    assert {row[:3] + row[5:6] for row in marts(platform)[0]} == {
        (1, date(2026, 3, 1), True, 0),
        (1, date(2026, 3, 2), True, 0),
        (1, date(2026, 3, 5), True, 0),
    }
