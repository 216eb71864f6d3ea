"""What one run of a model did: rows, the user-days it recomputed, and how far it got."""

from dataclasses import dataclass
from datetime import date, datetime

from clickhouse_connect.driver import Client

SHOWN_DATES = 31

# A run opens one window a model: while a run holds the lock, the latest window is its own.
_WINDOW = """
select any(run_id), any(recorded_by), toInt64(sum(greatest(to_offset - from_offset, 0)))
from marts.materialization_windows
where model = {model:String} and version = (
    select max(version) from marts.materialization_windows where model = {model:String}
)
"""
_TOUCHED = """
select count(), uniqExact(user_id), arraySort(groupUniqArray(date))
from marts.touched_user_days
where model = {model:String} and run_id = {run_id:String}
"""
_ROWS = """
select total_rows from system.tables
where database = {database:String} and name = {table:String} and total_rows is not null
"""
_WATERMARK = "select max(newest_appended_at) from raw.ingest_ledger where kind = 'stored'"


@dataclass(frozen=True)
class Touched:
    """The arrivals that a run of a model took, and the user-days it recomputed for them.

    A full build recomputes every day and lists none.
    """

    messages: int
    user_days: int
    users: int
    dates: tuple[date, ...]

    def in_words(self) -> str:
        """For a person: how many, and which dates."""
        shown = ", ".join(str(each) for each in self.dates[:SHOWN_DATES])
        more = f" and {len(self.dates) - SHOWN_DATES} more" if len(self.dates) > SHOWN_DATES else ""
        return f"{self.user_days:,} user-days of {self.users:,} users: {shown or 'none'}{more}"


def rows(client: Client, database: str, table: str) -> int | None:
    """Stored rows, superseded versions included; None for a view. Costs nothing."""
    found = client.query(_ROWS, parameters={"database": database, "table": table}).result_rows
    return int(found[0][0]) if found else None


def last_window(client: Client, model: str) -> Touched | None:
    """What the latest run of a model took; None where the model takes no windows."""
    ((run_id, recorded_by, messages),) = client.query(
        _WINDOW, parameters={"model": model}
    ).result_rows
    if not run_id:
        return None
    ((days, users, dates),) = client.query(
        _TOUCHED, parameters={"model": recorded_by, "run_id": run_id}
    ).result_rows
    return Touched(messages, days, users, tuple(dates))


def watermark(client: Client) -> datetime | None:
    """When the broker appended the newest message that is readable in raw."""
    ((found,),) = client.query(_WATERMARK).result_rows
    newest: datetime | None = found
    return newest
