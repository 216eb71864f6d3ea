"""A world: reproducible, in time order, valid by the contract, and with an economy that adds up."""

import tracemalloc
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from functools import cache
from hashlib import sha256
from itertools import pairwise, takewhile
from math import sqrt

import pytest

from simulator.events import DAY, MINUTE, Event, encode
from simulator.games import ACTION_TYPES, TABLES
from simulator.world import World
from tally.events.model import ACTIONS
from tally.events.parsing import Rejection, parse

SEEDS = (1, 2, 3)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
GAME_OF = {action: game for game, action in ACTION_TYPES.items()}


def play(world: World) -> list[Event]:
    return list(takewhile(lambda event: event.at < world.ends, world.events()))


@cache
def events_of(seed: int) -> list[Event]:
    return play(World(seed, users=60, days=40, start=date(2025, 1, 1)))


def by_user(events: list[Event]) -> dict[int, list[Event]]:
    lives: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        lives[event.user_id].append(event)
    return lives


def digest(events: list[Event]) -> str:
    return sha256(b"\n".join(map(encode, events))).hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    again = play(World(1, users=60, days=40, start=date(2025, 1, 1)))
    assert digest(again) == digest(events_of(1))
    assert digest(events_of(2)) != digest(events_of(1))


def test_worlds_of_one_seed_share_no_event_id() -> None:
    other = play(World(1, users=61, days=40, start=date(2025, 1, 1)))
    assert {e.event_id for e in events_of(1)}.isdisjoint(e.event_id for e in other)


@pytest.mark.parametrize("seed", SEEDS)
def test_events_come_in_time_order_with_ids_of_their_own(seed: int) -> None:
    events = events_of(seed)
    assert all(one.at <= next_.at for one, next_ in pairwise(events))
    assert len({event.event_id for event in events}) == len(events)
    for life in by_user(events).values():
        assert all(one.at < next_.at for one, next_ in pairwise(life))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_event_is_accepted_by_the_contract(seed: int) -> None:
    for event in events_of(seed):
        verdict = parse(encode(event), received_at=NOW)
        assert not isinstance(verdict, Rejection), (verdict, event)
        assert verdict.is_known


def test_every_action_type_of_the_contract_occurs() -> None:
    seen = {event.action_type for seed in SEEDS for event in events_of(seed)}
    assert seen == set(ACTIONS)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_ledger_adds_up_and_is_never_negative(seed: int) -> None:
    for life in by_user(events_of(seed)).values():
        gold = 0
        for event in life:
            context = event.context
            if event.action_type == "REWARD_GRANTED":
                gold += context["amount"]
                assert gold == context["balance_after"]
            elif "payout" in context and not context.get("is_demo"):
                assert context["bet"] <= gold
                gold += context["payout"] - context["bet"]
            assert gold >= 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_purchase_grants_its_gold_once_however_often_its_receipt_comes(seed: int) -> None:
    for life in by_user(events_of(seed)).values():
        states: dict[str, list[str]] = defaultdict(list)
        grants: Counter[str] = Counter()
        for event in life:
            context = event.context
            if event.action_type == "SHOP_BUY":
                states[context["purchase_id"]].append(context["state"])
            elif context.get("reward_type") == "purchase":
                grants[context["reference_id"]] += 1
        for purchase, history in states.items():
            assert history[0] == "pending"
            assert grants[purchase] == (1 if "success" in history else 0)


def test_some_receipts_come_twice() -> None:
    receipts = Counter(
        event.context["receipt_hash"]
        for seed in SEEDS
        for event in events_of(seed)
        if "receipt_hash" in event.context
    )
    assert set(receipts.values()) == {1, 2}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_limited_package_is_sold_once_to_a_player(seed: int) -> None:
    for life in by_user(events_of(seed)).values():
        sold = {
            event.context["purchase_id"]
            for event in life
            if event.context.get("limited") and event.context["state"] == "success"
        }
        assert len(sold) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sixth_wrong_password_within_ten_minutes_locks_for_a_quarter_of_an_hour(
    seed: int,
) -> None:
    locks = 0
    for life in by_user(events_of(seed)).values():
        wrong: list[int] = []
        locked_until = 0
        for number, event in enumerate(life):
            if event.action_type in ("LOGIN", "LOGIN_FAILED"):
                assert event.at >= locked_until
            if event.action_type == "LOGIN_FAILED":
                wrong = [at for at in wrong if at > event.at - 10 * MINUTE] + [event.at]
                is_locked = life[number + 1].action_type == "LOGIN_LOCKED"
                assert is_locked == (len(wrong) == 6)
            elif event.action_type == "LOGIN_LOCKED":
                locks += 1
                wrong = []
                locked_until = event.at + 15 * MINUTE
            elif event.action_type == "LOGIN":
                wrong = []
    assert locks > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_daily_logins_come_once_a_utc_day_and_count_the_streak(seed: int) -> None:
    for life in by_user(events_of(seed)).values():
        last, streak = -2, 0
        for event in life:
            if event.action_type != "DAILY_LOGIN":
                continue
            day = event.at // DAY
            assert day > last
            streak = streak + 1 if day == last + 1 else 1
            last = day
            assert event.context["streak_count"] == streak


@pytest.mark.parametrize("seed", SEEDS)
def test_rounds_follow_their_states(seed: int) -> None:
    allowed = {
        ("started", "settled"),
        ("started", "cancelled"),
        ("settled", "voided"),
    }
    seen = set()
    for life in by_user(events_of(seed)).values():
        state: dict[str, str] = {}
        for event in life:
            if event.action_type in GAME_OF:
                before = state.get(event.context["round_id"])
                after = event.context["state"]
                assert (before, after) in allowed or (before is None and after != "voided")
                seen.add((before, after))
                state[event.context["round_id"]] = after
    assert seen >= allowed


def test_everyone_signs_up_first_and_was_invited_by_someone_earlier() -> None:
    events = events_of(1)
    first: dict[int, int] = {}
    invited = 0
    for event in events:
        if event.user_id not in first:
            assert event.action_type == "SIGN_UP"
            code = event.context.get("invite_code_hash")
            if code is not None:
                invited += 1
                assert code in {sha256(b"%d" % user_id).hexdigest() for user_id in first}
            first[event.user_id] = event.at
    assert len(first) == 60
    assert 15 < invited < 55


@pytest.mark.parametrize("seed", SEEDS)
def test_played_rounds_return_what_their_games_are_configured_to(seed: int) -> None:
    excess: Counter[str] = Counter()
    variance: Counter[str] = Counter()
    for event in events_of(seed):
        bet = event.context.get("bet")
        if "payout" not in event.context or bet == 0:
            continue
        game = GAME_OF[event.action_type]
        units = event.context.get("units", 1)
        # The largest variance of the game's tables: the target of a crash round is not told.
        table = max(TABLES[game], key=lambda table: table.variance)
        excess[game] += event.context["payout"] - float(table.rtp) * bet
        variance[game] += float(table.variance) * (bet / units) ** 2 * units
    assert set(excess) == set(TABLES)
    for game, amount in excess.items():
        assert abs(amount) <= 3.2905 * sqrt(variance[game]), game


def test_traffic_has_a_night_and_an_evening() -> None:
    hours = Counter(event.at // (60 * MINUTE) % 24 for event in events_of(1))
    assert max(hours.values()) > 3 * min(hours.values())


def test_memory_does_not_follow_the_number_of_events() -> None:
    def peak(days: int) -> tuple[int, int]:
        world = World(5, users=30, days=10, start=date(2025, 1, 1))
        end = world.begins + days * DAY
        tracemalloc.start()
        count = sum(1 for _ in takewhile(lambda event: event.at < end, world.events()))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return count, most

    peak(10)  # what is cached at the first run
    few, small = peak(40)
    many, large = peak(150)
    assert many > 2 * few
    assert large < 1.3 * small
