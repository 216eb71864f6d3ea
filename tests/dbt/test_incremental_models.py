"""The incremental marts are what a brute-force fold of all events says, however they arrive."""

import itertools
import random
import re
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from clickhouse_connect.driver import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.dbt.warm_dbt import WarmDbt, When, warm_dbt
from tests.platform import STREAM, Platform, action, running_platform

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
        if last["context"].get("is_demo"):
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


def tables(platform: Platform) -> list[str]:
    """The marts that are materialized by touched days, whatever their number."""
    found = platform.client.query(
        "select name from system.tables where database = 'marts' and engine = 'ReplacingMergeTree'"
        " and name not in ('materialization_windows', 'touched_user_days', 'watermarks')"
    ).result_rows
    return [name for (name,) in found]


def every_mart(platform: Platform) -> dict[str, set[Row]]:
    """The latest rows of every table, without the version that tells one run from another."""
    rows = {}
    for table in tables(platform):
        answer = platform.client.query(
            f"select * except version apply toString from marts.{table} final"
        )
        rows[table] = set(answer.result_rows)
    return rows


@pytest.fixture(scope="module")
def shared_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("dbt")) as running:
        yield running


@pytest.fixture(scope="module")
def dbt(shared_platform: Platform) -> Iterator[WarmDbt]:
    with warm_dbt(shared_platform.settings, shared_platform.folder) as warm:
        yield warm


@pytest.fixture
def platform(shared_platform: Platform) -> Platform:
    emptied(shared_platform)
    return shared_platform


def emptied(platform: Platform) -> None:
    """Take every event away; offsets and watermarks go on from the test before."""
    for table in ("events", "round_events", "arrivals", "ingest_ledger"):
        platform.client.command(f"truncate table raw.{table}")
    for table in tables(platform):
        platform.client.command(f"truncate table marts.{table}")


BOTH = ("run", "--select", "user_game_days", "user_days", "--threads", "1")
ALL = ("run", "--select", "config.materialized:incremental", "--threads", "1")


@dataclass(frozen=True, repr=False)
class Recording:
    """The statements of dbt's own runs, by model, to be run again under another run's id.

    A run of dbt takes a second of which its statements are a tenth: without the rest, many more
    histories can be tried.
    """

    client: Client
    incremental: dict[str, list[str]]
    refresh: dict[str, list[str]]

    @property
    def models(self) -> list[str]:
        """In the order in which dbt builds them: one may take what one before it recorded."""
        return list(self.incremental)

    def run(
        self,
        models: Sequence[str],
        *,
        anew: Collection[str] = (),
        dies_after: int | None = None,
    ) -> None:
        """Run the models one after the other, or only the first statements of that.

        `anew`: those that are built from nothing.
        """
        for _ in itertools.islice(self.statements(models, anew), dies_after):
            pass

    def statements(self, models: Sequence[str], anew: Collection[str] = ()) -> Iterator[None]:
        """The same run, halting after each statement."""
        run_id = str(uuid.uuid4())
        for model in models:
            for statement in (self.refresh if model in anew else self.incremental)[model]:
                if "materialization_windows\n" in statement:
                    # What dbt drops where it finds it, left by a run that died.
                    for left_over in ("__dbt_tmp", "__dbt_backup"):
                        self.client.command(f"drop table if exists marts.{model}{left_over}")
                self.client.command(_RUN_ID.sub(run_id, statement))
                yield


_RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def by_model(writes: list[str]) -> dict[str, list[str]]:
    """The statements of one run; each model begins by opening its window."""
    found: dict[str, list[str]] = {}
    for statement in writes:
        opened = re.search(r"insert into marts\.materialization_windows.*?'(\w+)'", statement, re.S)
        if opened:
            model = opened[1]
        found.setdefault(model, []).append(re.sub(r"^\s*/\*.*?\*/\s*", "", statement, flags=re.S))
    return found


@pytest.fixture(scope="module")
def recording(shared_platform: Platform, dbt: WarmDbt) -> Recording:
    emptied(shared_platform)
    shared_platform.store([action(1, "LOGIN", "2026-03-01T12:00:00Z")])
    refresh, incremental = dbt.run(*ALL, "--full-refresh"), dbt.run(*ALL)
    return Recording(shared_platform.client, by_model(incremental.writes), by_model(refresh.writes))


class Step(NamedTuple):
    """What happens to the marts after a batch: a run, of all or of one, that may die half way."""

    only: int | None
    anew: frozenset[int]
    dies_after: int | None


STEPS = st.builds(
    Step,
    only=st.none() | st.integers(0, 2),
    anew=st.just(frozenset()) | st.frozensets(st.integers(0, 2)),
    dies_after=st.none() | st.integers(0, 16),
)


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.none() | STEPS, min_size=3, max_size=6))
def test_any_order_duplication_split_and_run_times_give_what_a_full_refresh_gives(
    platform: Platform, recording: Recording, seed: int, steps: list[Step | None]
) -> None:
    emptied(platform)
    rng = random.Random(seed)
    actions = world(rng)
    models = recording.models
    cuts = sorted(rng.sample(range(1, len(actions)), len(steps) - 1))
    stored: list[Action] = []
    for begin, end, step in zip([0, *cuts], [*cuts, len(actions)], steps, strict=True):
        part = [strip(one) for one in actions[begin:end]]
        # Several batches to a run, of which one repeats what an earlier one had.
        platform.store(part[: len(part) // 2])
        platform.store(part[len(part) // 2 :])
        platform.store(rng.sample(part, len(part) // 5))
        stored += part
        if step is None:
            continue
        before = marts(platform)
        chosen = models if step.only is None else [models[step.only]]
        anew = [models[each] for each in step.anew]
        recording.run(chosen, anew=anew, dies_after=step.dies_after)
        told = expected([dict(one) for one in stored])
        readers_see_one_state_or_the_other(marts(platform), before, told)
        if step.only is None and step.dies_after is None:
            assert marts(platform) == told
    recording.run(models)
    assert marts(platform) == expected([dict(one) for one in stored])
    incremental = every_mart(platform)
    recording.run(models, anew=models)
    assert every_mart(platform) == incremental


def readers_see_one_state_or_the_other(
    now: tuple[set[Row], set[Row]],
    before: tuple[set[Row], set[Row]],
    after: tuple[set[Row], set[Row]],
) -> None:
    """However a run ended, each row is that of before or that of after, and no row is missing."""
    for found, old, new, key in zip(now, before, after, (2, 3), strict=True):
        assert found <= old | new
        assert {row[:key] for row in found} >= {row[:key] for row in old}


def strip(one: Action) -> Action:
    return {key: value for key, value in one.items() if key != "occurred_at_time"}


@pytest.mark.parametrize(
    ("write", "when"),
    [
        *[(1, "before"), (1, "after"), (2, "after"), (3, "after"), (4, "after"), (6, "during")],
        *[(7, "after"), (8, "after"), (13, "during"), (13, "after"), (14, "after")],
    ],
)
def test_a_run_killed_half_way_shows_readers_nothing_wrong_and_is_healed_by_the_next(
    platform: Platform, dbt: WarmDbt, write: int, when: When
) -> None:
    """`kill -9` at window, touched days, rounds, rows and watermark of a model and the next."""
    login = action(1, "LOGIN", "2026-03-01T12:00:00Z")
    platform.store([login])
    dbt.run(*BOTH)
    spin = {"round_id": "r", "state": "settled", "bet": 1, "payout": 2}
    later = [
        action(1, "SLOT_SPIN", "2026-03-01T13:00:00Z", **spin),
        action(2, "LOGIN", "2026-03-02T12:00:00Z"),
    ]
    platform.store(later)
    old, new = expected([login]), expected([login, *later])
    dbt.run(*BOTH, die=(when, write))
    for mart, its_rows in enumerate((13, 6)):
        if (write, when) != (its_rows, "during"):
            is_stored = write > its_rows or (write == its_rows and when == "after")
            assert marts(platform)[mart] == (new if is_stored else old)[mart]
    dbt.run(*BOTH)
    assert marts(platform) == new


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_two_runs_whose_statements_take_turns_in_any_way_are_healed_by_the_next(
    platform: Platform, recording: Recording, seed: int
) -> None:
    """Events come all the while, so that what one run has recorded is old when the other asks."""
    emptied(platform)
    rng = random.Random(seed)
    actions = [strip(one) for one in world(rng)]
    platform.store(actions[:100])
    recording.run(recording.models)
    stored = 100
    running = [recording.statements(recording.models) for _ in range(2)]
    while running:
        one = rng.choice(running)
        if rng.random() < 0.3:
            platform.store(actions[stored : stored + 20])
            stored += 20
        if next(one, running) is running:
            running.remove(one)
    platform.store(actions[stored:])
    recording.run(recording.models)
    assert marts(platform) == expected([dict(one) for one in actions])
    incremental = every_mart(platform)
    recording.run(recording.models, anew=recording.models)
    assert every_mart(platform) == incremental


def test_two_runs_at_once_leave_what_one_would_have_left(platform: Platform, dbt: WarmDbt) -> None:
    """Nothing but a lock of one machine keeps two apart, so the marts may not depend on it."""
    actions = world(random.Random(3))
    for begin in range(0, len(actions), 150):
        platform.store([strip(one) for one in actions[begin : begin + 150]])
        runs = [dbt.start(*ALL), dbt.start(*ALL)]
        assert [run.wait() for run in runs] == [0, 0], dbt.log()
    assert marts(platform) == expected([dict(one) for one in actions])


def test_a_run_with_nothing_new_appends_nothing(platform: Platform, dbt: WarmDbt) -> None:
    platform.store([action(1, "LOGIN", "2026-03-01T12:00:00Z")])
    dbt.run(*ALL)
    count = "select count() from marts.user_days"
    before = platform.client.command(count)
    dbt.run(*ALL)
    assert platform.client.command(count) == before == 1


HISTORY = 300_000


def test_a_run_reads_what_arrived_and_not_all_of_raw(
    platform: Platform, recording: Recording
) -> None:
    """What a new event and a void of an old round cost is a few granules of each table."""
    first, platform.next_offset = platform.next_offset, platform.next_offset + HISTORY
    platform.client.command(
        "insert into raw.landing (stream, offset, event_id, user_id, action_type, initiator,"
        " occurred_at, round_id, round_state, game_type, bet, payout)"
        f" select '{STREAM}', {first} + number, generateUUIDv4(number), 1 + number % 3000,"
        " 'SLOT_SPIN', 'user', toDateTime64('2026-01-01 00:00:00', 3, 'UTC')"
        f" + interval number second, toString(number), 'settled', 'slot', 1, 2"
        f" from numbers({HISTORY})"
    )
    platform.client.command(
        "insert into raw.ingest_ledger (stream, first_offset, last_offset, kind) values"
        f" ('{STREAM}', {first}, {first + HISTORY - 1}, 'stored')"
    )
    models = recording.models
    recording.run(models)
    assert len(marts(platform)[0]) > 3000
    platform.store(
        [
            action(1, "LOGIN", "2026-01-05T12:00:00Z"),
            action(7, "SLOT_SPIN", "2026-01-03T00:00:00Z", round_id="6", state="voided"),
        ]
    )
    before = rows_read(platform)
    recording.run(models)
    assert rows_read(platform) - before < HISTORY / 2


def rows_read(platform: Platform) -> int:
    """Rows that all statements together have read from tables of this server so far."""
    (row,) = platform.client.query(
        "select value from system.events where event = 'SelectedRows'"
    ).result_rows
    return int(row[0])


def test_only_touched_days_are_computed_again(platform: Platform, dbt: WarmDbt) -> None:
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
    dbt.run(*ALL)
    platform.store([action(1, "SLOT_SPIN", "2026-03-05T12:00:00Z", round_id="r", state="voided")])
    dbt.run(*ALL)
    touched = platform.client.query(
        "select date from marts.touched_user_days"
        " where model = 'user_game_days' and run_id ="
        " (select argMax(run_id, version) from marts.materialization_windows) order by date"
    ).result_rows
    assert touched == [(date(2026, 3, 2),), (date(2026, 3, 5),)]
    assert {row[:3] + row[5:6] for row in marts(platform)[0]} == {
        (1, date(2026, 3, 1), True, 0),
        (1, date(2026, 3, 2), True, 0),
        (1, date(2026, 3, 5), True, 0),
    }


def test_rounds_whose_keys_collide_are_computed_whole(platform: Platform, dbt: WarmDbt) -> None:
    """A lookup by `round_key` finds one round more, of the same player, and no number changes."""
    one, other = platform.client.query(
        "select min(id), max(id) from (select toString(number) as id from numbers(300000))"
        " group by toUInt32(cityHash64(id)) having count() = 2 order by min(id) limit 1"
    ).result_rows[0]

    def spin(user: int, day: int, round_id: str, state: str) -> Action:
        at = f"2026-03-0{day}T12:00:00Z"
        return action(user, "SLOT_SPIN", at, round_id=round_id, state=state, bet=1, payout=2)

    stored = [
        spin(1, 1, one, "settled"),
        spin(1, 2, other, "started"),
        spin(1, 3, other, "settled"),
        spin(2, 4, other, "settled"),
    ]
    platform.store(stored)
    dbt.run(*ALL)
    before = every_mart(platform)["game_rounds"]
    void = spin(1, 5, one, "voided")
    platform.store([void])
    dbt.run(*ALL)
    found = platform.client.query(
        "select distinct user_id, toDayOfMonth(occurred_at) from marts.touched_round_events"
        " where model = 'user_game_days' and run_id ="
        " (select argMax(run_id, version) from marts.materialization_windows) order by all"
    ).result_rows
    assert found == [(1, 1), (1, 2), (1, 3), (1, 5)], "the other round was not looked up"
    assert marts(platform) == expected([*stored, void])
    assert len(every_mart(platform)["game_rounds"] - before) == 1
    incremental = every_mart(platform)
    dbt.run(*ALL, "--full-refresh")
    assert every_mart(platform) == incremental


def test_what_one_model_recorded_serves_the_other_only_if_both_take_the_same(
    platform: Platform, dbt: WarmDbt
) -> None:
    """A backfill's request that the one has taken already is still to be taken by the other."""

    def recorded_by() -> str:
        """Who recorded what the latest run of user_days took."""
        return str(
            platform.client.command(
                "select argMax(recorded_by, version) from marts.materialization_windows"
                " where model = 'user_days'"
            )
        )

    platform.store([action(1, "LOGIN", "2026-03-01T12:00:00Z")])
    dbt.run(*BOTH)
    platform.store([action(2, "LOGIN", "2026-03-02T12:00:00Z")])
    dbt.run(*BOTH)
    assert recorded_by() == "user_game_days"
    platform.client.command(
        "insert into marts.requested_arrivals (version, user_id, occurred_date)"
        " select toUnixTimestamp64Micro(now64(6)), 1, toDate('2026-03-01')"
    )
    dbt.run("run", "--select", "user_game_days")
    platform.store([action(3, "LOGIN", "2026-03-03T12:00:00Z")])
    dbt.run(*BOTH)
    assert recorded_by() == "user_days"
    versions = platform.client.query("select user_id, version from marts.user_days final")
    newest = dict(versions.result_rows)
    assert newest[1] == newest[3] > newest[2]
    platform.store([action(4, "LOGIN", "2026-03-04T12:00:00Z")])
    dbt.run("run", "--select", "user_game_days")
    platform.store([action(5, "LOGIN", "2026-03-05T12:00:00Z")])
    dbt.run(*BOTH)
    assert {user for user, *_ in marts(platform)[0]} == {1, 2, 3, 4, 5}
