"""Every model beside the same thing folded from the same events in plain Python.

The world is the simulator's, with its faults: sent twice, late, out of order, with skewed clocks,
lost. The folds below know the definitions in words and share nothing with dbt.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Any

import pyarrow as pa
import pytest

from orchestration.lib.dbt import run_dbt
from simulator.events import DAY, HOUR, MINUTE, SECOND, Event
from simulator.faults import Verdict, deliver, profile
from simulator.world import World
from tests.platform import STREAM, Platform, running_platform

WORLD = World(seed=6, users=60, days=45, start=date(2026, 8, 15))
BATCH = 4_000
GAMES = {"SLOT_SPIN": "slot", "GACHA_SPIN": "gacha", "RPS_PLAY": "rps", "CRASH_ROUND": "crash"}
SYSTEM = {
    *("LOGIN_FAILED", "LOGIN_LOCKED", "TOKEN_REFRESHED", "REWARD_GRANTED", "FRAUD_BLOCKED"),
    *("ADMIN_ACTION", "WS_CONNECTED", "WS_DISCONNECTED", "DEPRECATED_ENDPOINT_CALLED"),
    "API_REQUEST",
}
LETTERS = ["schema", "schema", "not_json", "conflict"]

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Story:
    """The distinct accepted events in the order (time, id), and today's date in UTC."""

    events: list[Event]
    today: date

    def of(self, *action_types: str) -> list[Event]:
        return [event for event in self.events if event.action_type in action_types]

    def active_days(self, *action_types: str) -> dict[int, list[date]]:
        """Per user the sorted dates with one of the actions; with none, of the user's own."""
        days: dict[int, set[date]] = defaultdict(set)
        for event in self.events:
            if event.action_type in action_types or (
                not action_types and event.action_type not in SYSTEM
            ):
                days[event.user_id].add(day(event.at))
        return {user: sorted(dates) for user, dates in days.items()}


def moment(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)


def day(at: int) -> date:
    return moment(at).date()


def hour(at: int) -> datetime:
    return moment(at - at % HOUR)


def ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def returns(bet: int, payout: int) -> Row:
    rtp = ratio(payout, bet)
    return (bet, payout, rtp, None if rtp is None else 1 - rtp, bet - payout)


def grouped(events: Iterable[Event], key: Callable[[Event], Any]) -> dict[Any, list[Event]]:
    groups: dict[Any, list[Event]] = defaultdict(list)
    for event in events:
        groups[key(event)].append(event)
    return groups


@dataclass(frozen=True)
class Round:
    user: int
    round_id: str
    state: str
    opened: int
    changed: int
    facts: Event
    settled: bool

    @property
    def context(self) -> dict[str, Any]:
        return self.facts.context

    @property
    def is_played(self) -> bool:
        return self.state == "settled" and not self.context.get("is_demo", False)

    @property
    def game(self) -> str:
        return GAMES[self.facts.action_type]

    @property
    def outcome(self) -> str | None:
        if not self.settled:
            return None
        bet, payout = self.context["bet"], self.context["payout"]
        if self.game == "gacha":
            return "none"
        if payout > bet:
            return "win"
        return "draw" if payout == bet > 0 else "loss"


def rounds(story: Story) -> list[Round]:
    found = []
    groups = grouped(story.of(*GAMES), lambda event: (event.user_id, event.context["round_id"]))
    for (user, round_id), history in groups.items():
        settled = [e for e in history if e.context.get("state", "settled") == "settled"]
        found.append(
            Round(
                *(user, round_id, history[-1].context.get("state", "settled")),
                *(history[0].at, history[-1].at, settled[-1] if settled else history[-1]),
                bool(settled),
            )
        )
    return found


def played(story: Story) -> list[Round]:
    return [one for one in rounds(story) if one.is_played]


def game_rounds(story: Story) -> Iterator[Row]:
    for one in rounds(story):
        settled, context = one.settled, one.context
        yield (
            *(one.user, one.round_id, one.state, one.game, context["config_version"]),
            *(context.get("is_demo", False), one.is_played, moment(one.opened)),
            *(moment(one.changed), moment(one.facts.at) if settled else None),
            *(day(one.facts.at) if settled else None, context.get("units", 1)),
            *(context["bet"] if settled else None, context["payout"] if settled else None),
            one.outcome,
        )


def totals(group: list[Round]) -> Row:
    outcomes = Counter(one.outcome for one in group)
    return (
        *(len(group), outcomes["win"], outcomes["loss"], outcomes["draw"], outcomes["none"]),
        *returns(
            sum(one.context["bet"] for one in group), sum(one.context["payout"] for one in group)
        ),
    )


def daily_game_metrics(story: Story) -> Iterator[Row]:
    groups: dict[Any, list[Round]] = defaultdict(list)
    for one in played(story):
        groups[day(one.facts.at), one.game, one.context["config_version"]].append(one)
    for key, group in groups.items():
        units = sum(one.context.get("units", 1) for one in group)
        yield (*key, len({one.user for one in group}), units, *totals(group))


def daily_metrics(story: Story) -> Iterator[Row]:
    populations = [story.active_days(), story.active_days("DAILY_LOGIN")]
    events = Counter(day(event.at) for event in story.events)
    groups: dict[date, list[Round]] = defaultdict(list)
    for one in played(story):
        groups[day(one.facts.at)].append(one)
    at = min(events)
    while at <= story.today:
        counts: list[Any] = []
        for dates_of_users in populations:
            dau, wau, mau = (
                sum(
                    any(at - timedelta(days=window) < x <= at for x in dates)
                    for dates in dates_of_users.values()
                )
                for window in (1, 7, 30)
            )
            counts += [dau, wau, mau, ratio(dau, mau)]
        new = sum(dates[0] == at for dates in populations[0].values())
        yield (at, *counts, new, counts[0] - new, events[at], *totals(groups[at]))
        at += timedelta(days=1)


def hourly_metrics(story: Story) -> Iterator[Row]:
    groups: dict[datetime, list[Round]] = defaultdict(list)
    for one in played(story):
        groups[hour(one.facts.at)].append(one)
    for at, events in grouped(story.events, lambda event: hour(event.at)).items():
        active = {event.user_id for event in events if event.action_type not in SYSTEM}
        rounds_of_hour = totals(groups[at])
        yield (at, len(events), len(active), rounds_of_hour[0], *rounds_of_hour[5:])


def retention(story: Story) -> Iterator[Row]:
    cohorts: dict[date, list[list[date]]] = defaultdict(list)
    for dates in story.active_days().values():
        cohorts[dates[0]].append(dates)
    for cohort, users in cohorts.items():
        for n in range(1, 31):
            on = cohort + timedelta(days=n)
            if on < story.today:
                retained = sum(on in dates for dates in users)
                yield (cohort, n, len(users), retained, retained / len(users))


def sessions(story: Story) -> Iterator[Row]:
    actions = [event for event in story.events if event.action_type not in SYSTEM]
    for user, history in grouped(actions, lambda event: event.user_id).items():
        cuts = [
            nth
            for nth, (before, after) in enumerate(pairwise(history), start=1)
            if after.at - before.at > 30 * MINUTE
        ]
        for number, (begin, end) in enumerate(pairwise([0, *cuts, len(history)]), start=1):
            visit = history[begin:end]
            first, last = visit[0].at, visit[-1].at
            found = {e.context["round_id"] for e in visit if e.action_type in GAMES}
            yield (
                *(user, number, moment(first), moment(last), day(first)),
                *(last // SECOND - first // SECOND, len(visit), len(found)),
            )


def hourly_logins(story: Story) -> Iterator[Row]:
    attempts = story.of("LOGIN", "LOGIN_FAILED", "LOGIN_LOCKED")
    for at, events in grouped(attempts, lambda event: hour(event.at)).items():
        kinds = Counter(event.action_type for event in events)
        locked = {event.user_id for event in events if event.action_type == "LOGIN_LOCKED"}
        logins, failed = kinds["LOGIN"], kinds["LOGIN_FAILED"]
        yield (
            *(at, logins, failed, kinds["LOGIN_LOCKED"], len(locked)),
            ratio(failed, logins + failed),
        )


def lockouts(story: Story) -> Iterator[Row]:
    for lock in story.of("LOGIN_LOCKED"):
        own = [event for event in story.events if event.user_id == lock.user_id]
        failed = sum(
            event.action_type == "LOGIN_FAILED" and 0 <= lock.at - event.at <= 10 * MINUTE
            for event in own
        )
        after = [e.at for e in own if e.action_type == "LOGIN" and e.at > lock.at]
        yield (
            *(lock.user_id, moment(lock.at), lock.context["reason"], failed),
            moment(after[0]) if after else None,
        )


def streaks(story: Story) -> Iterator[Row]:
    logins = story.of("DAILY_LOGIN")
    for user, dates in story.active_days("DAILY_LOGIN").items():
        length = 0
        for nth, on in enumerate(dates):
            length = length + 1 if nth and on - dates[nth - 1] == timedelta(days=1) else 1
            (*_, last) = (e for e in logins if e.user_id == user and day(e.at) == on)
            reported = last.context["streak_count"]
            yield (user, on, length, reported, length == reported)


def achievements(story: Story) -> Iterator[Row]:
    steps = story.of("ACHIEVEMENT_PROGRESS")
    key = lambda event: (event.user_id, event.context["achievement_code"])  # noqa: E731
    for code, history in grouped(steps, key).items():
        unlocked = [event.at for event in history if event.context["unlocked"]]
        yield (
            *(*code, float(history[-1].context["progress"])),
            float(max(event.context["progress"] for event in history)),
            *(bool(unlocked), moment(unlocked[0]) if unlocked else None),
            *(moment(history[0].at), moment(history[-1].at)),
        )


def battle_pass(story: Story) -> Iterator[Row]:
    steps = story.of("BATTLE_PASS_PROGRESS")
    key = lambda event: (event.user_id, event.context["season"])  # noqa: E731
    for season, history in grouped(steps, key).items():
        last = history[-1].context
        highest = max(event.context["tier"] for event in history)
        ends = (moment(history[0].at), moment(history[-1].at))
        yield (*season, last["tier"], last["xp"], highest, *ends)


def purchase_histories(story: Story) -> dict[tuple[int, str], list[Event]]:
    return grouped(
        story.of("SHOP_BUY"), lambda event: (event.user_id, event.context["purchase_id"])
    )


def purchases(story: Story) -> Iterator[Row]:
    for key, history in purchase_histories(story).items():
        last = history[-1].context
        successes = [e.context for e in history if e.context["state"] == "success"]
        yield (
            *(*key, last["state"], last["item_id"], last["amount"], last.get("limited", False)),
            *(last.get("reason", ""), moment(history[0].at), moment(history[-1].at)),
            *(day(history[0].at), len(successes)),
            len({context["receipt_hash"] for context in successes}),
        )


def purchase_counts(histories: list[list[Event]]) -> Row:
    states = Counter(history[-1].context["state"] for history in histories)
    bought = [history[-1] for history in histories if history[-1].context["state"] == "success"]
    return (
        *(states["success"], states["failed"], states["pending"]),
        len({event.user_id for event in bought}),
        sum(event.context["amount"] for event in bought),
        ratio(states["success"], states["success"] + states["failed"]),
    )


def hourly_purchases(story: Story) -> Iterator[Row]:
    groups: dict[datetime, list[list[Event]]] = defaultdict(list)
    for history in purchase_histories(story).values():
        groups[hour(history[-1].at)].append(history)
    for at, histories in groups.items():
        yield (at, *purchase_counts(histories))


def purchase_funnel(story: Story) -> Iterator[Row]:
    groups: dict[Any, list[list[Event]]] = defaultdict(list)
    for history in purchase_histories(story).values():
        groups[day(history[0].at), history[-1].context["item_id"]].append(history)
    for key, histories in groups.items():
        yield (*key, len(histories), *purchase_counts(histories))


def gold_ledger(story: Story) -> Iterator[Row]:
    for event in story.of("REWARD_GRANTED"):
        context = event.context
        yield (
            *(event.event_id, event.user_id, moment(event.at), day(event.at)),
            *(context["reward_type"], context["amount"], context["balance_after"]),
            context.get("reference_id", ""),
        )


def gold_balances(story: Story) -> Iterator[Row]:
    ledger = grouped(story.of("REWARD_GRANTED"), lambda event: event.user_id)
    for user, history in ledger.items():
        amounts = [event.context["amount"] for event in history]
        balances = [event.context["balance_after"] for event in history]
        yield (
            *(user, balances[-1], min(balances), sum(a for a in amounts if a > 0)),
            *(-sum(a for a in amounts if a < 0), len(history), moment(history[-1].at)),
        )


def firsts(story: Story) -> dict[int, list[int | None]]:
    """Per user the first sign-up, login, played round and successful purchase."""
    steps: list[list[tuple[int, int]]] = [
        [(event.user_id, event.at) for event in story.of("SIGN_UP")],
        [(event.user_id, event.at) for event in story.of("LOGIN")],
        [(one.user, one.facts.at) for one in played(story)],
        [
            (user, history[-1].at)
            for (user, _), history in purchase_histories(story).items()
            if history[-1].context["state"] == "success"
        ],
    ]
    users = {user for step in steps for user, _ in step}
    return {
        user: [min((at for who, at in step if who == user), default=None) for step in steps]
        for user in users
    }


def user_journeys(story: Story) -> Iterator[Row]:
    for user, times in firsts(story).items():
        yield (user, *(None if at is None else moment(at) for at in times))


def journey_funnel(story: Story) -> Iterator[Row]:
    cohorts: dict[date, list[list[int | None]]] = defaultdict(list)
    for times in firsts(story).values():
        if times[0] is not None:
            cohorts[day(times[0])].append(times)
    for on, users in cohorts.items():
        reached = [
            sum(all(at is not None for at in times[:steps]) for times in users)
            for steps in (1, 2, 3, 4)
        ]
        yield (on, *reached, *(count / reached[0] for count in reached[1:]))


def realtime_connections(story: Story) -> Iterator[Row]:
    events = story.of("WS_CONNECTED", "WS_DISCONNECTED")
    key = lambda event: (event.user_id, event.session_id, event.context["path"])  # noqa: E731
    for socket, history in grouped(events, key).items():
        for event, after in zip(history, [*history[1:], None], strict=True):
            if event.action_type == "WS_DISCONNECTED":
                continue
            end = after if after and after.action_type == "WS_DISCONNECTED" else None
            yield (
                *(event.event_id, *socket, socket[2] == "/api/games/ws", moment(event.at)),
                *((moment(end.at), end.context["close_code"]) if end else (None, None)),
                end.at // SECOND - event.at // SECOND if end else None,
            )


def hourly_realtime(story: Story) -> Iterator[Row]:
    events = story.of("WS_CONNECTED", "WS_DISCONNECTED")
    for key, group in grouped(events, lambda e: (hour(e.at), e.context["path"])).items():
        codes = [e.context["close_code"] for e in group if e.action_type == "WS_DISCONNECTED"]
        yield (
            *(*key, len(group) - len(codes), len(codes)),
            sum(code not in (1000, 1001) for code in codes),
            len({event.user_id for event in group}),
        )


def deprecated_endpoint_calls(story: Story) -> Iterator[Row]:
    def key(event: Event) -> Row:
        context = event.context
        return (day(event.at), context["path"], context["method"], context["successor"])

    for call, events in grouped(story.of("DEPRECATED_ENDPOINT_CALLED"), key).items():
        yield (*call, len(events), len({e.user_id for e in events}), moment(events[-1].at))


def fraud_velocity(story: Story) -> Iterator[Row]:
    for (user, at), events in grouped(story.events, lambda e: (e.user_id, hour(e.at))).items():
        rules = [event.context["rule"] for event in events if event.action_type == "FRAUD_BLOCKED"]
        if not rules:
            continue
        minutes = Counter(e.at // MINUTE for e in events if e.action_type not in SYSTEM)
        settled = [
            event.context
            for event in events
            if event.action_type in GAMES and event.context.get("state", "settled") == "settled"
        ]
        kinds = Counter(event.action_type for event in events)
        yield (
            *(user, at, len(rules), ", ".join(sorted(set(rules))), minutes.total()),
            *(max(minutes.values(), default=0), len(settled)),
            sum(context["bet"] for context in settled if not context.get("is_demo", False)),
            *(kinds["LOGIN_FAILED"], kinds["SHOP_BUY"]),
        )


GAME_TOTALS = "rounds, wins, losses, draws, no_outcome, bet_amount, payout_amount, rtp, hold, ggr"

# The columns that are compared (all but keys that the fold has no word for), and the fold.
MODELS: dict[Callable[[Story], Iterator[Row]], str] = {
    game_rounds: "* except (version)",
    daily_game_metrics: f"date, game_type, config_version, players, units, {GAME_TOTALS}",
    daily_metrics: "*",
    hourly_metrics: "*",
    retention: "*",
    sessions: "*",
    hourly_logins: "*",
    lockouts: "* except (event_id, seconds_until_login)",
    streaks: "*",
    achievements: "*",
    battle_pass: "*",
    purchases: "*",
    hourly_purchases: "*",
    purchase_funnel: "*",
    gold_ledger: "* replace (toString(event_id) as event_id)",
    gold_balances: "*",
    user_journeys: "*",
    journey_funnel: "*",
    realtime_connections: "* replace (toString(event_id) as event_id)",
    hourly_realtime: "*",
    deprecated_endpoint_calls: "*",
    fraud_velocity: "*",
}


def refuse(platform: Platform, reasons: list[str]) -> None:
    """Store dead letters as ingestion does, the last of them twice."""
    now = datetime.now(UTC)
    platform.client.insert_arrow(
        "raw.landing",
        pa.Table.from_pylist(
            [
                {
                    "cluster_id": "test",
                    "topic": "user-actions",
                    "partition": 0,
                    "offset": 10_000_000 + min(nth, len(reasons) - 1),
                    "stream": STREAM,
                    "appended_at": now,
                    "received_at": now,
                    "value": "{",
                    "reason": reason,
                }
                for nth, reason in enumerate([*reasons, reasons[-1]])
            ]
        ),
    )


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("models")) as running:
        yield running


@pytest.fixture(scope="module")
def story(platform: Platform) -> Story:
    """A world as it arrived, of which the marts saw two thirds before they saw the rest."""
    lived = takewhile(lambda event: event.at < WORLD.ends, WORLD.events())
    accepted = [
        delivery
        for delivery in deliver(lived, profile("chaos"), WORLD.seed)
        if delivery.verdict is Verdict.ACCEPTED and delivery.value is not None
    ]
    batches = range(0, len(accepted), BATCH)
    for begin in batches:
        platform.store(json.loads(one.value) for one in accepted[begin : begin + BATCH])
        if begin == batches[len(batches) * 2 // 3]:
            platform.materialize()
    refuse(platform, LETTERS)
    run_dbt(["run"], platform.settings)
    distinct = {one.event.event_id: one.event for one in accepted}
    events = sorted(distinct.values(), key=lambda event: (event.at, event.event_id))
    assert len(accepted) > len(events) > 20_000
    assert max(event.at for event in events) - min(event.at for event in events) > 30 * DAY
    return Story(events, datetime.now(UTC).date())


@pytest.mark.parametrize("fold", MODELS, ids=lambda fold: fold.__name__)
def test_a_model_is_what_the_events_fold_to(
    platform: Platform, story: Story, fold: Callable[[Story], Iterator[Row]]
) -> None:
    final = "final" if fold is game_rounds else ""
    question = f"select {MODELS[fold]} from marts.{fold.__name__} {final}"
    found = Counter(tuple(row) for row in platform.client.query(question).result_rows)
    expected = Counter(fold(story))
    assert found.total() > 0
    assert found - expected == Counter()
    assert expected - found == Counter()


def test_ingestion_is_accounted_for_by_hour(platform: Platform, story: Story) -> None:
    answer = platform.client.query(
        "select sum(batches), sum(accepted), sum(lost), max(loss_ratio), min(max_lag_seconds) >= 0"
        " from marts.hourly_ingestion"
    )
    ((batches, accepted, lost, loss_ratio, has_lag),) = answer.result_rows
    assert batches == -(-accepted // BATCH)
    assert accepted == platform.next_offset >= len(story.events)
    assert (lost, loss_ratio, has_lag) == (0, 0, True)


@pytest.mark.usefixtures("story")
def test_a_dead_letter_counts_once_by_its_reason(platform: Platform) -> None:
    answer = platform.client.query(
        "select reason, sum(letters), sum(replayed), sum(bytes)"
        " from marts.hourly_dead_letters group by reason"
    )
    expected = {(reason, count, 0, count) for reason, count in Counter(LETTERS).items()}
    assert {tuple(row) for row in answer.result_rows} == expected


@pytest.mark.usefixtures("story")
def test_the_data_tests_hold_in_a_world_with_faults(platform: Platform) -> None:
    run_dbt(["test", "--exclude-resource-type", "unit_test"], platform.settings)
