"""Computing days anew: a backfill makes all that ever happened on a day arrive once more.

What arrives, a run of the marts recomputes from raw, whole and as a new version. So a backfill is
the way of late data and no second one; what it computes does not depend on how often it runs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from clickhouse_connect.driver import Client

from tally.errors import TallyError

# The first day that the event contract knows (docs/events.md).
FIRST_DAY = date(2015, 1, 1)

# A run takes some days at a time: its sets of users are in memory, and between two runs what has
# arrived meanwhile is published.
DAYS_A_RUN = 7

_REQUEST = """
insert into marts.requested_arrivals (version, user_id, occurred_date, round_id)
select distinct
    toUnixTimestamp64Micro(now64(6)), user_id, toDate(occurred_at, 'UTC') as occurred_date, round_id
from raw.events
where
    occurred_at >= toDateTime64({first:Date}, 3, 'UTC')
    and occurred_at < toDateTime64({last:Date} + 1, 3, 'UTC')
"""
_REQUESTED = """
select uniqExact(user_id, occurred_date) from marts.requested_arrivals
where version > (select max(version) from marts.watermarks)
"""
_DAYS = re.compile(r"(\d{4}-\d{2}-\d{2})\.\.(\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True)
class Days:
    """The UTC dates from `first` to `last`, both included."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> "Days":
        """Read `2026-01-01..2026-03-31`.

        Raises `TallyError` where that is no range of days up to today.
        """
        example = "A range of UTC dates is written like 2026-01-01..2026-03-31."
        found = _DAYS.fullmatch(text)
        if found is None:
            raise TallyError(f"{text!r} is no range of days.", hint=example)
        try:
            first, last = map(date.fromisoformat, found.groups())
        except ValueError as error:
            raise TallyError(f"{text!r}: {error}.", hint=example) from None
        today = datetime.now(UTC).date()
        if not FIRST_DAY <= first <= last <= today:
            raise TallyError(
                f"{text} does not go forward from {FIRST_DAY} or later to today, {today}."
            )
        return cls(first, last)

    def split(self, size: int = DAYS_A_RUN) -> Iterator["Days"]:
        """The same days in ranges of at most `size`, in order."""
        first = self.first
        while first <= self.last:
            last = min(first + timedelta(days=size - 1), self.last)
            yield Days(first, last)
            first = last + timedelta(days=1)

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


def request(client: Client, days: Days) -> int:
    """Ask the marts to take all arrivals of the days again; the number of user-days.

    Only while no run of the marts is under way (`ExclusiveRun`): one that has opened its window
    would close it without them.
    """
    client.command(_REQUEST, parameters={"first": days.first, "last": days.last})
    return requested(client)


def requested(client: Client) -> int:
    """The user-days that a backfill asked for and no run has taken."""
    if not client.command("exists marts.requested_arrivals"):
        return 0
    return int(client.query(_REQUESTED).result_rows[0][0])
