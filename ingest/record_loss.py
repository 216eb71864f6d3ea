"""The ingest loss ratio: what the backend recorded and ingestion never saw, by UTC hour.

1 - distinct event ids that were accepted or quarantined / distinct event ids in the system of
record. Only ids of the record count as arrived, so foreign events cannot hide a loss; a dead letter
that is no JSON names no id, so what it was counts as lost. The two databases meet here; what they
said is kept in `raw.recorded_hours`, of which dbt's `hourly_record` makes the metric.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from clickhouse_connect.driver import Client
from msgspec import Struct

from tally.erasure import USERS

WARN_RATIO = 0.001
PAGE_RATIO = 0.005

_HOURS = """
select distinct date_trunc('hour', occurred_at, 'UTC')
from user_actions
where occurred_at >= %(begin)s and occurred_at < %(end)s and user_id <> all(%(erased)s)
order by 1
"""
_RECORDED = """
select event_id from user_actions
where occurred_at >= %(begin)s and occurred_at < %(end)s and user_id <> all(%(erased)s)
"""
_ACCEPTED = """
select distinct event_id
from raw.events
where occurred_at >= {begin:DateTime64(3, 'UTC')} and occurred_at < {end:DateTime64(3, 'UTC')}
"""
_QUARANTINED = """
select distinct toUUIDOrZero(JSONExtractString(value, 'event_id')) from raw.dead_letters
"""


class HourOfRecord(Struct, frozen=True):
    """How many actions of one UTC hour, by `occurred_at`, the record has, and which arrived."""

    hour: datetime
    recorded: int
    arrived: int

    @property
    def loss_ratio(self) -> float:
        """Between 0 and 1; an hour without a recorded action is not there."""
        return 1 - self.arrived / self.recorded


def read_losses(
    record: psycopg.Connection, warehouse: Client, since: datetime, until: datetime
) -> Iterator[HourOfRecord]:
    """Every hour of [since, until) with a recorded action; the ids of one hour are in memory."""
    quarantined = _ids(warehouse, _QUARANTINED)
    # What is gone on purpose is no loss.
    erased = [user_id for (user_id,) in warehouse.query(USERS).result_rows]
    asked: dict[str, Any] = {"begin": since, "end": until, "erased": erased}
    for (hour,) in record.execute(_HOURS, asked).fetchall():
        begin, end = max(hour, since), min(hour + timedelta(hours=1), until)
        asked |= {"begin": begin, "end": end}
        recorded = {event_id for (event_id,) in record.execute(_RECORDED, asked)}
        accepted = _ids(warehouse, _ACCEPTED, begin=begin, end=end)
        yield HourOfRecord(hour, len(recorded), len(recorded & (accepted | quarantined)))


def keep_losses(warehouse: Client, hours: Sequence[HourOfRecord]) -> None:
    """Write down what was compared; an hour that was compared before counts as it is now."""
    if hours:
        rows = [(each.hour, each.recorded, each.arrived) for each in hours]
        columns = ("hour", "recorded", "arrived")
        warehouse.insert("recorded_hours", rows, column_names=columns, database="raw")


def _ids(warehouse: Client, query: str, **parameters: datetime) -> set[UUID]:
    return {event_id for (event_id,) in warehouse.query(query, parameters=parameters).result_rows}
