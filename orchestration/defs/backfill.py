"""Backfills: any range of UTC days computed anew, from the UI or by `tally materialize --days`."""

from contextlib import closing
from datetime import date

import dagster as dg

from orchestration.lib.backfill import DAYS_A_RUN, FIRST_DAY, Days, request
from orchestration.lib.owners import OWNERS
from orchestration.lib.transient import retried
from tally.settings import load_settings
from tally.warehouse import connect

# Today is one of them: a day that goes on is recomputed like any other.
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY.isoformat(), timezone="UTC", end_offset=1)

REQUESTED_DAYS = dg.AssetKey(["backfill", "requested_days"])


@dg.asset(
    key=REQUESTED_DAYS,
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.multi_run(DAYS_A_RUN),
    group_name="backfill",
    owners=OWNERS,
    kinds={"clickhouse"},
    required_resource_keys={"exclusive_run"},
    description="UTC days that the marts take from raw once more. Launch the job `backfill` for a "
    f"range of partitions: it takes {DAYS_A_RUN} days a run, one run at a time.",
)
def requested_days(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Make everything that happened on the days of the run arrive again."""
    keys = context.partition_key_range
    days = Days(date.fromisoformat(keys.start), date.fromisoformat(keys.end))
    with retried(context.retry_number), closing(connect(load_settings())) as client:
        user_days = request(client, days)
    return dg.MaterializeResult(metadata={"days": str(days), "user_days": user_days})
