"""Whose events are not in the marts yet, as it is known without asking."""

import random

import pytest

from serving_api import arrivals
from serving_api.arrivals import Newcomers

EVERYONE = range(1, 7)


def test_no_newcomer_is_missed_whatever_the_looks_found_and_however_far_the_marts_are() -> None:
    """Against all events: each look finds the next ones, the marts follow stream by stream."""
    known = exact = 0
    for seed in range(200):
        drawn = random.Random(seed)
        newcomers = Newcomers()
        stored = {f"c/user-actions/{nth}": drawn.randrange(5) for nth in range(3)}
        seen: dict[str, int] = {}
        newcomers.add(dict(stored), None)
        since = dict(stored)
        events: list[tuple[str, int, int]] = []
        for _ in range(30):
            found = set()
            for _ in range(drawn.randrange(4)):
                stream = f"c/user-actions/{drawn.randrange(5)}"
                stored[stream] = stored.get(stream, -1) + 1
                # A message that is no event, or an event of a user.
                if user := drawn.randrange(7):
                    events.append((stream, stored[stream], user))
                    found.add(user)
            lost_count = drawn.random() < 0.03
            newcomers.add(dict(stored), None if lost_count else found)
            since = dict(stored) if lost_count else since
            for stream, last in stored.items():
                if drawn.random() < 0.3:
                    seen[stream] = drawn.randint(seen.get(stream, -1), last)
            told = newcomers.among(EVERYONE, seen)
            right = {user for stream, at, user in events if at > seen.get(stream, -1)}
            assert told is None or told >= right
            is_past_the_start = all(seen.get(stream, -1) >= at for stream, at in since.items())
            assert (told is not None) == is_past_the_start
            known += told is not None
            exact += told == right
    assert known > 2_000
    assert exact > known / 4
    newcomers.among(EVERYONE, stored)
    assert newcomers.among(EVERYONE, stored) == set()


def test_nobody_is_told_of_before_the_first_look() -> None:
    assert Newcomers().among(EVERYONE, {"c/user-actions/0": 9}) is None


def test_with_too_many_users_to_remember_it_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MAX_REMEMBERED", 3)
    newcomers = Newcomers()
    newcomers.add({"s": 0}, None)
    newcomers.add({"s": 9}, {1, 2, 3, 4})
    assert newcomers.among(EVERYONE, {"s": 0}) == {1, 2, 3, 4}
    newcomers.add({"s": 10}, {5})
    assert newcomers.among(EVERYONE, {"s": 0}) is None
    assert newcomers.among(EVERYONE, {"s": 10}) == set()


def test_where_nothing_is_published_for_too_many_looks_it_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrivals, "MAX_LOOKS", 3)
    newcomers = Newcomers()
    newcomers.add({"s": 0}, None)
    for offset in (1, 2, 3):
        newcomers.add({"s": offset}, {offset})
    assert newcomers.among(EVERYONE, {"s": 0}) == {1, 2, 3}
    newcomers.add({"s": 4}, {4})
    assert newcomers.among(EVERYONE, {"s": 0}) is None
    assert newcomers.among(EVERYONE, {"s": 4}) == set()
