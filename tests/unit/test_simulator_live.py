"""A live world keeps its first day, and so goes on as the same world."""

from datetime import date
from pathlib import Path

from simulator.live import first_day

MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


def test_the_first_day_of_a_world_is_the_one_of_its_first_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert first_day(home, "1/300/60/1000001", MONDAY) == MONDAY
    assert first_day(home, "1/300/60/1000001", TUESDAY) == MONDAY


def test_another_world_has_a_first_day_of_its_own(tmp_path: Path) -> None:
    assert first_day(tmp_path, "1/300/60/1000001", MONDAY) == MONDAY
    assert first_day(tmp_path, "2/300/60/1000001", TUESDAY) == TUESDAY
    assert first_day(tmp_path, "1/300/60/1000001", TUESDAY) == MONDAY
