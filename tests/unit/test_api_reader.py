"""When an answer comes from the cache, and what is said of it while the warehouse is away."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from serving_api.consistency import ConsistencyToken, is_stored, parse_token
from serving_api.stats.cache import MAX_QUESTIONS_OF_A_USER, Entry, StatsCache
from serving_api.stats.reader import CONFIRMED, ReaderMetrics, StatsReader
from serving_api.stats.repository import Freshness, MartsState, Question, Reading
from serving_api.warehouse import WarehouseUnavailableError

TODAY = Question(date(2026, 11, 22), "all_actions")
GAMES = replace(TODAY, by_game=True)
LOGINS = Question(date(2026, 11, 22), "daily_login")
STATE = MartsState([], [], Freshness(None, None, None))


class Source:
    """Numbers its readings; holds them while `gate` is closed; may be away."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Question]] = []
        self.newest: list[bool] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False
        self.holds = False
        self.marts: MartsState | None = STATE
        self.beyond: set[int] = set()

    def beyond_marts(self, user_ids: Collection[int]) -> set[int]:
        return self.beyond & set(user_ids)

    def keep_current(self) -> None: ...

    def confirm(self, reading: Reading, _followed_until: float) -> Reading | None:
        return reading if self.holds else None

    async def read(self, user_id: int, question: Question, *, newest: bool) -> Reading:
        self.asked.append((user_id, question))
        self.newest.append(newest)
        number = len(self.asked)
        await self.gate.wait()
        if self.away:
            raise WarehouseUnavailableError("away")
        return Reading({"number": number}, self.marts or STATE)


class Following:
    """What the reader sees of the ledger's follower."""

    def __init__(self) -> None:
        self.is_current = True
        self.is_reachable = True
        self.has_written = True
        self.followed_until = 0.0

    def tell(self, listener: Any) -> None:
        self.arrive = listener

    def want(self, seconds: float) -> None: ...

    async def wait_for(self, *_: Any) -> bool:
        return self.has_written


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Setup:
    def __init__(self, cache_seconds: float = 30) -> None:
        self.source, self.arrivals, self.clock = Source(), Following(), Clock()
        self.reader = StatsReader(
            self.source,  # type: ignore[arg-type]
            self.arrivals,  # type: ignore[arg-type]
            ReaderMetrics(CollectorRegistry()),
            cache_seconds=cache_seconds,
            monotonic=self.clock,
        )

    async def ask(self, user_id: int, question: Question = TODAY, **more: Any) -> tuple[int, str]:
        entry, _, status = await self.reader.read(user_id, question, **more)
        assert entry.reading.row is not None
        return entry.reading.row["number"], status


async def test_an_answer_is_given_again_to_the_same_user_for_the_same_question_only() -> None:
    setup = Setup()
    assert [await setup.ask(1), await setup.ask(1)] == [(1, "fresh")] * 2
    assert await setup.ask(2) == (2, "fresh")
    assert await setup.ask(1, LOGINS) == (3, "fresh")
    assert await setup.ask(1, TODAY.a_day_earlier()) == (4, "fresh")


async def test_what_is_known_with_the_games_answers_the_question_without_them_only() -> None:
    setup = Setup()
    await setup.ask(1, GAMES)
    await setup.ask(2)
    assert [await setup.ask(1), await setup.ask(2, GAMES)] == [(1, "fresh"), (3, "fresh")]
    assert setup.source.asked == [(1, GAMES), (2, TODAY), (2, GAMES)]
    setup.arrivals.arrive({1})
    setup.source.away = True
    assert await setup.ask(1) == (1, "stale")


async def test_what_was_read_ahead_is_given_to_who_asks_first() -> None:
    setup = Setup()
    await setup.reader.read_ahead([1, 2, 3], GAMES, read_since=0)
    assert [await setup.ask(2), await setup.ask(1, GAMES)] == [(2, "fresh"), (1, "fresh")]
    assert len(setup.source.asked) == 3
    setup.arrivals.arrive({2})
    assert [await setup.ask(2), await setup.ask(3)] == [(4, "fresh"), (3, "fresh")]


async def test_ahead_is_read_what_is_not_known_of_the_present_marts_and_what_is_old() -> None:
    setup = Setup()
    users = [1, 2, 3]

    async def read_ahead(read_since: float = 0) -> list[int]:
        before = len(setup.source.asked)
        await setup.reader.read_ahead(users, GAMES, read_since)
        return [user for user, _ in setup.source.asked[before:]]

    await setup.ask(2, GAMES)
    await setup.ask(3)
    assert await read_ahead() == [1, 3]
    assert await read_ahead() == []
    setup.source.marts = replace(STATE, streams=["c/t/0"], offsets=[7])
    setup.source.beyond = {2}
    assert await read_ahead() == [1, 3], "nobody whose next event ends what is read"
    setup.source.beyond = set()
    assert await read_ahead() == [2]
    setup.clock.now += 100
    assert await read_ahead(read_since=setup.clock.now - 50) == users


async def test_who_asked_last_is_the_first_whose_answers_are_kept_known() -> None:
    setup = Setup()
    await setup.reader.read_ahead([1, 2, 3, 4], GAMES, read_since=0)
    await setup.ask(3)
    await setup.ask(1)
    setup.clock.now += 1000
    await setup.reader.read_ahead([4, 2], GAMES, read_since=setup.clock.now)
    assert setup.reader.latest_users(3) == [1, 3, 4]


async def test_it_is_old_after_its_time_and_where_its_time_is_0() -> None:
    setup, without = Setup(), Setup(cache_seconds=0)
    await setup.ask(1)
    setup.clock.now += 29.9
    assert await setup.ask(1) == (1, "fresh")
    setup.clock.now += 0.2
    assert await setup.ask(1) == (2, "fresh")
    assert [await without.ask(1), await without.ask(1)] == [(1, "fresh"), (2, "fresh")]


async def test_arrivals_of_a_user_end_their_answers_and_nobody_elses() -> None:
    setup = Setup()
    for user in (1, 2):
        await setup.ask(user)
    setup.arrivals.arrive({1})
    assert [await setup.ask(1), await setup.ask(2)] == [(3, "fresh"), (2, "fresh")]
    setup.arrivals.arrive(None)
    assert await setup.ask(2) == (4, "fresh")


async def test_an_answer_that_arrivals_overtook_on_its_way_is_not_kept() -> None:
    setup = Setup()
    setup.source.gate.clear()
    first = asyncio.create_task(setup.ask(1))
    await asyncio.sleep(0)
    setup.arrivals.arrive({1})
    second = asyncio.create_task(setup.ask(1))
    await asyncio.sleep(0)
    setup.source.gate.set()
    assert [await first, await second] == [(1, "fresh"), (2, "fresh")]
    assert await setup.ask(1) == (2, "fresh")


async def test_nothing_is_known_of_a_user_who_was_dropped_also_not_what_was_on_its_way() -> None:
    setup = Setup()
    for user in (1, 2):
        await setup.ask(user)
    setup.source.gate.clear()
    on_its_way = asyncio.create_task(setup.ask(3))
    await asyncio.sleep(0)
    setup.reader.drop({1, 3})
    setup.source.gate.set()
    await on_its_way
    setup.source.away = True
    for user in (1, 3):
        with pytest.raises(WarehouseUnavailableError):
            await setup.ask(user)
    assert await setup.ask(2) == (2, "fresh")


async def test_callers_at_once_ask_once_and_one_that_leaves_takes_nobody_with_it() -> None:
    setup = Setup()
    setup.source.gate.clear()
    callers = [asyncio.create_task(setup.ask(1)) for _ in range(50)]
    await asyncio.sleep(0)
    callers[0].cancel()
    setup.source.gate.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [(1, "fresh")] * 49
    assert len(setup.source.asked) == 1


async def test_nothing_is_called_fresh_while_nobody_looks_at_the_ledger() -> None:
    setup = Setup()
    await setup.ask(1)
    setup.arrivals.is_current = False
    assert await setup.ask(1) == (2, "fresh")


async def test_what_is_asked_for_again_is_read_before_it_is_old_so_that_nobody_waits() -> None:
    setup = Setup()
    await setup.ask(1)
    setup.clock.now += 26
    setup.reader.refresh()
    assert len(setup.source.asked) == 1, "too early"
    setup.clock.now += 2
    setup.reader.refresh()
    await asyncio.sleep(0.01)
    setup.reader.refresh()
    assert len(setup.source.asked) == 2
    setup.clock.now += 3
    assert await setup.ask(1) == (2, "fresh")
    assert len(setup.source.asked) == 2


async def test_an_answer_that_is_proved_to_hold_is_not_read_again_before_its_last_time() -> None:
    setup = Setup()
    setup.source.holds = True
    for _ in range(CONFIRMED - 1):
        assert await setup.ask(1) == (1, "fresh")
        setup.clock.now += 28
        setup.reader.refresh()
        setup.clock.now += 3
    assert setup.source.asked == [(1, TODAY)]
    setup.clock.now += 30
    assert await setup.ask(1) == (2, "fresh")


async def test_nothing_proves_an_answer_after_arrivals_nor_to_who_wants_the_newest() -> None:
    setup, without = Setup(), Setup(cache_seconds=0)
    setup.source.holds = without.source.holds = True
    await setup.ask(1)
    setup.arrivals.arrive({1})
    assert await setup.ask(1) == (2, "fresh")
    assert await setup.ask(1, newest=True) == (3, "fresh")
    setup.clock.now += 31
    setup.arrivals.is_current = False
    assert await setup.ask(1) == (4, "fresh")
    assert [await without.ask(1), await without.ask(1)] == [(1, "fresh"), (2, "fresh")]


async def test_who_wants_the_newest_joins_no_older_question_and_others_join_theirs() -> None:
    setup, without = Setup(), Setup(cache_seconds=0)
    setup.source.gate.clear()
    asked = []
    for newest in (False, True, False, True):
        asked.append(asyncio.create_task(setup.ask(1, newest=newest)))
        await asyncio.sleep(0)
    setup.source.gate.set()
    assert [(await one)[0] for one in asked] == [1, 2, 2, 2]
    assert setup.source.newest == [False, True]
    await without.ask(1)
    setup.arrivals.is_current = False
    await setup.ask(2)
    assert (without.source.newest, setup.source.newest[2:]) == ([True], [True])


async def test_an_older_answer_that_comes_late_does_not_replace_a_newer() -> None:
    setup = Setup()
    setup.source.gate.clear()
    older = asyncio.create_task(setup.ask(1))
    await asyncio.sleep(0)
    late, setup.source.gate = setup.source.gate, asyncio.Event()
    setup.clock.now += 0.01
    setup.source.gate.set()
    assert await setup.ask(1, newest=True) == (2, "fresh")
    late.set()
    assert await older == (1, "fresh")
    assert await setup.ask(1) == (2, "fresh")


async def test_what_nobody_asks_for_any_more_is_left_to_get_old() -> None:
    setup = Setup()
    await setup.ask(1)
    for _ in range(10):
        setup.clock.now += 27.5
        setup.reader.refresh()
        await asyncio.sleep(0.01)
    # At 27.5 s and at 55 s; at 82.5 s the last to ask had been 60 s and more ago.
    assert setup.source.asked == [(1, TODAY)] * 3


async def test_what_arrivals_ended_is_not_read_before_somebody_asks() -> None:
    setup = Setup()
    for user in (1, 2):
        await setup.ask(user)
    setup.arrivals.arrive({1})
    setup.clock.now += 28
    setup.reader.refresh()
    await asyncio.sleep(0.01)
    assert setup.source.asked[2:] == [(2, TODAY)]


async def test_a_refresh_that_fails_leaves_the_answer_until_its_end() -> None:
    setup = Setup()
    await setup.ask(1)
    setup.source.away = True
    setup.clock.now += 28
    setup.reader.refresh()
    await asyncio.sleep(0.01)
    assert await setup.ask(1) == (1, "fresh")
    setup.clock.now += 3
    assert await setup.ask(1) == (1, "stale")
    setup.arrivals.is_reachable = False
    setup.source.away = False
    setup.reader.refresh()
    await asyncio.sleep(0.01)
    assert len(setup.source.asked) == 3, "nothing is asked of a warehouse that is known to be away"


@pytest.mark.parametrize("noticed", [False, True])
async def test_without_the_warehouse_the_last_answer_is_stale_and_the_unknown_an_error(
    noticed: bool,
) -> None:
    setup = Setup()
    await setup.ask(1)
    setup.arrivals.arrive({1})
    setup.source.away, setup.arrivals.is_reachable = True, not noticed
    assert await setup.ask(1) == (1, "stale")
    with pytest.raises(WarehouseUnavailableError):
        await setup.ask(2)
    with pytest.raises(WarehouseUnavailableError):
        await setup.ask(1, LOGINS)
    setup.source.away, setup.arrivals.is_reachable = False, True
    number, status = await setup.ask(1)
    assert (number > 1, status) == (True, "fresh")


async def test_after_midnight_without_the_warehouse_yesterdays_numbers_are_the_last() -> None:
    setup = Setup()
    await setup.ask(1, TODAY.a_day_earlier())
    setup.source.away = True
    _, answered, status = await setup.reader.read(1, TODAY, fallback=TODAY.a_day_earlier())
    assert (answered.as_of, status) == (date(2026, 11, 21), "stale")


async def test_a_write_that_is_not_stored_in_time_is_said() -> None:
    setup = Setup()
    setup.arrivals.has_written = False
    assert await setup.ask(1, after=ConsistencyToken("c", {0: 1})) == (1, "catching_up")


def test_the_cache_holds_so_many_users_and_questions_and_no_more() -> None:
    cache = StatsCache(max_users=3)
    reading = Reading(None, STATE)
    for user in range(5):
        cache.keep(user, TODAY, Entry(reading, 0))
    assert [cache.find(user, TODAY) is not None for user in range(5)] == [0, 0, 1, 1, 1]
    question = TODAY
    for _ in range(MAX_QUESTIONS_OF_A_USER):
        question = question.a_day_earlier()
        cache.keep(4, question, Entry(reading, 0))
    assert cache.find(4, TODAY) is None
    assert cache.find(4, question) is not None


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({}, False),
        ({"c/user-actions/3": 6}, False),
        ({"c/user-actions/3": 7}, True),
        ({"c/user-actions/3": 7, "c/user-actions/3+1": 2}, False),
        ({"c/user-actions/3": 2, "c/user-actions/3+1": 9}, True),
        ({"other/user-actions/3": 9}, False),
        ({"c/other/3": 9, "c/user-actions/13": 9}, False),
    ],
)
def test_a_token_is_stored_when_its_offset_in_the_newest_log_is(
    stored: dict[str, int], expected: bool
) -> None:
    token = parse_token(str(ConsistencyToken("c", {3: 7})))
    assert token == ConsistencyToken("c", {3: 7})
    assert is_stored(token, "user-actions", stored) is expected


@pytest.mark.parametrize("text", ["", "abc", "A", "AAAA", "kaFjgQM", "é", "=", "_" * 3000])
def test_other_texts_are_no_token(text: str) -> None:
    with pytest.raises(ValueError, match="consistency token"):
        parse_token(text)
