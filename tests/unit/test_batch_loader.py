"""The batch loader: everyone gets their own answer, in few queries, whatever the others do."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tally.batch_loader import BatchLoader


class Source:
    """Answers `key:item`; holds every query until it is released, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self.gate = asyncio.Event()
        self.in_flight = 0
        self.most_in_flight = 0
        self.failing: set[int] = set()

    async def fetch(self, key: str, items: Sequence[int]) -> Mapping[int, str]:
        self.asked.append((key, list(items)))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.gate.wait()
            if self.failing.intersection(items):
                raise ConnectionError("the source is away")
            return {item: f"{key}:{item}" for item in items}
        finally:
            self.in_flight -= 1


async def _settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def _one_by_one(
    loader: BatchLoader[str, int, str], *asked: tuple[str, int]
) -> list[asyncio.Task[str]]:
    """A caller for each, who comes when the former's question is under way or waits."""
    callers = []
    for key, item in asked:
        callers.append(asyncio.create_task(loader.load(key, item)))
        await _settle()
    return callers


async def test_what_is_asked_while_queries_run_is_answered_by_one_more_query() -> None:
    source = Source()
    loader = BatchLoader(source.fetch, max_in_flight=2)
    answers = await _one_by_one(loader, *(("a", user) for user in range(100)))
    assert source.asked == [("a", [0]), ("a", [1])]
    source.gate.set()
    assert await asyncio.gather(*answers) == [f"a:{user}" for user in range(100)]
    assert source.asked[2:] == [("a", list(range(2, 100)))]


async def test_what_is_asked_in_one_turn_of_the_loop_shares_its_first_query() -> None:
    source = Source()
    source.gate.set()
    loader = BatchLoader(source.fetch)
    users = list(range(100))
    await asyncio.gather(*(loader.load("a", user) for user in users))
    assert source.asked == [("a", users)]


async def test_a_lone_question_starts_its_query_at_once() -> None:
    source = Source()
    source.gate.set()
    loader = BatchLoader(source.fetch)
    assert await loader.load("a", 7) == "a:7"
    assert source.asked == [("a", [7])]


async def test_the_same_user_is_asked_for_once_in_a_batch_and_everyone_is_answered() -> None:
    source = Source()
    loader = BatchLoader(source.fetch, max_in_flight=1)
    answers = [asyncio.create_task(loader.load("a", user)) for user in (1, 2, 2, 2)]
    await _settle()
    source.gate.set()
    assert await asyncio.gather(*answers) == ["a:1", "a:2", "a:2", "a:2"]
    assert source.asked == [("a", [1, 2])]


async def test_a_question_never_joins_a_query_that_already_runs() -> None:
    """It could have read before the caller's event was stored."""
    source = Source()
    loader = BatchLoader(source.fetch, max_in_flight=2)
    early = asyncio.create_task(loader.load("a", 1))
    await _settle()
    late = asyncio.create_task(loader.load("a", 1))
    await _settle()
    source.gate.set()
    await asyncio.gather(early, late)
    assert source.asked == [("a", [1]), ("a", [1])]


async def test_batches_are_capped_and_other_keys_are_not_starved() -> None:
    source = Source()
    loader = BatchLoader(source.fetch, max_batch=3, max_in_flight=1)
    answers = await _one_by_one(loader, *(("a", user) for user in range(8)), ("b", 0))
    source.gate.set()
    await asyncio.gather(*answers)
    assert source.asked == [
        ("a", [0]),
        ("a", [1, 2, 3]),
        ("b", [0]),
        ("a", [4, 5, 6]),
        ("a", [7]),
    ]


async def test_an_error_reaches_everyone_of_its_batch_and_nobody_else() -> None:
    source = Source()
    source.failing = {3}
    loader = BatchLoader(source.fetch, max_in_flight=1)
    answers = await _one_by_one(loader, *(("a", user) for user in (1, 2, 3, 3)))
    source.gate.set()
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert outcomes[0] == "a:1"
    assert [type(outcome) for outcome in outcomes[1:]] == [ConnectionError] * 3
    assert await loader.load("a", 2) == "a:2", "the next query is not affected"


async def test_an_answer_that_the_source_left_out_is_an_error_and_not_a_hang() -> None:
    async def forgetful(_key: str, _items: Sequence[int]) -> Mapping[int, str]:
        return {}

    with pytest.raises(KeyError):
        await asyncio.wait_for(BatchLoader(forgetful).load("a", 1), 1)


async def test_a_cancelled_caller_is_not_asked_for_and_the_others_are_answered() -> None:
    source = Source()
    loader = BatchLoader(source.fetch, max_in_flight=1)
    answers = await _one_by_one(loader, *(("a", user) for user in (1, 2, 3, 3)))
    answers[1].cancel()
    answers[2].cancel()
    await _settle()
    source.gate.set()
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert [outcomes[0], outcomes[3]] == ["a:1", "a:3"]
    assert source.asked == [("a", [1]), ("a", [3])]


async def test_no_query_runs_for_a_batch_that_everyone_left() -> None:
    source = Source()
    loader = BatchLoader(source.fetch, max_in_flight=1)
    first, second = await _one_by_one(loader, ("a", 1), ("a", 2))
    second.cancel()
    await _settle()
    source.gate.set()
    await first
    await _settle()
    assert source.asked == [("a", [1])]


async def test_a_caller_that_leaves_a_running_query_does_not_break_it() -> None:
    source = Source()
    loader = BatchLoader(source.fetch, max_in_flight=1)
    blocking = asyncio.create_task(loader.load("a", 0))
    await _settle()
    leaving, staying = (asyncio.create_task(loader.load("a", user)) for user in (1, 2))
    await _settle()
    source.gate.set()
    await blocking
    source.gate.clear()
    await _settle()
    leaving.cancel()
    source.gate.set()
    assert await staying == "a:2"
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_closing_ends_the_queries_and_everyone_who_waits() -> None:
    source = Source()
    loader = BatchLoader(source.fetch, max_in_flight=1)
    answers = [asyncio.create_task(loader.load("a", user)) for user in (1, 2)]
    await _settle()
    await loader.aclose()
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2
    assert source.in_flight == 0
    with pytest.raises(RuntimeError, match="closed"):
        await loader.load("a", 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("load"), st.sampled_from("ab"), st.integers(0, 6)),
        st.tuples(st.just("cancel"), st.just(""), st.integers(0, 40)),
        st.tuples(st.just("turn"), st.just(""), st.integers(0, 3)),
        st.tuples(st.just("gate"), st.just(""), st.integers(0, 1)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(1, 4), st.integers(1, 3), st.sets(st.integers(0, 6), max_size=2))
def test_any_interleaving_answers_or_fails_everyone_who_stayed(
    steps: list[tuple[str, str, int]], max_batch: int, max_in_flight: int, failing: set[int]
) -> None:
    async def play() -> None:
        source = Source()
        source.failing = failing
        loader = BatchLoader(source.fetch, max_batch=max_batch, max_in_flight=max_in_flight)
        asked: list[tuple[str, int, asyncio.Task[str]]] = []
        cancelled: set[int] = set()
        for step, key, number in steps:
            if step == "load":
                asked.append((key, number, asyncio.create_task(loader.load(key, number))))
            elif step == "cancel" and number < len(asked):
                if asked[number][2].cancel():
                    cancelled.add(number)
            elif step == "turn":
                for _ in range(number):
                    await asyncio.sleep(0)
            elif step == "gate":
                source.gate.set() if number else source.gate.clear()
        source.gate.set()
        outcomes = await asyncio.wait_for(
            asyncio.gather(*(task for _, _, task in asked), return_exceptions=True), 5
        )
        for nth, ((key, item, _), outcome) in enumerate(zip(asked, outcomes, strict=True)):
            if nth in cancelled:
                assert isinstance(outcome, asyncio.CancelledError)
            elif isinstance(outcome, ConnectionError):
                assert failing, "nothing fails unless the source does"
            else:
                assert outcome == f"{key}:{item}"
        assert all(len(items) <= max_batch for _, items in source.asked)
        assert source.most_in_flight <= max_in_flight
        await _settle()
        assert not loader._waiting, "nothing is left behind"
        assert not loader._queries

    asyncio.run(play())
