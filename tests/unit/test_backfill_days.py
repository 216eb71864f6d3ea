"""Ranges of days: how a backfill is cut into runs."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestration.lib.backfill import DAYS_A_RUN, Days

dates = st.dates(date(2015, 1, 1), date(2026, 11, 23))


@given(st.tuples(dates, dates).map(sorted))
def test_the_ranges_of_the_runs_are_the_days_in_order_and_none_is_too_long(
    bounds: list[date],
) -> None:
    days = Days(*bounds)
    ranges = list(days.split())
    covered = [
        each.first + timedelta(days=nth)
        for each in ranges
        for nth in range((each.last - each.first).days + 1)
    ]
    whole = (days.last - days.first).days + 1
    assert covered == [days.first + timedelta(days=nth) for nth in range(whole)]
    assert all((each.last - each.first).days < DAYS_A_RUN for each in ranges)


def test_a_range_reads_as_it_is_written() -> None:
    assert str(Days.parse("2026-01-01..2026-01-31")) == "2026-01-01..2026-01-31"
