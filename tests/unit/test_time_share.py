"""Who asks before they spend keeps to the share, and a quiet time is saved for a burst."""

import pytest

from ingest.time_share import TimeShare


@pytest.mark.parametrize("cost", [0.01, 0.06, 0.4])
def test_work_that_always_waits_takes_its_share_of_the_time(cost: float) -> None:
    share, spent, ms = TimeShare(0.5, 0.5), 0.0, 0
    for ms in range(100_000):
        if share.is_left(ms / 1000):
            share.spend(cost)
            spent += cost
    assert spent / (ms / 1000) == pytest.approx(0.5, abs=0.02)


def test_what_comes_now_and_then_never_waits() -> None:
    share = TimeShare(0.5, 0.5)
    for nth in range(1_000):
        assert share.is_left(nth * 0.25)
        share.spend(0.1)


def test_a_night_saves_no_more_than_a_burst_and_a_flood_owes_no_more_than_one() -> None:
    share = TimeShare(0.5, 0.5)
    assert share.is_left(36_000)
    for _ in range(100):
        share.spend(1)
    assert not share.is_left(36_001)
    assert share.is_left(36_001.1)
    share.spend(0.06)
    assert not share.is_left(36_001.1)
