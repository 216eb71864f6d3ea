"""Keeping the marts at most a minute behind the stream."""

from contextlib import closing

import dagster as dg

from orchestration.defs.marts import materialize
from tally.backlog import messages_behind
from tally.settings import load_settings
from tally.warehouse import connect

# Evaluated every 15 s, and a run takes some 15 s on two cores: half a minute behind, a minute at
# worst. A cron schedule, whose finest step is a minute, could not promise that.
INTERVAL_SECONDS = 15

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.sensor(
    job=materialize,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def marts_follow_the_stream(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Materialize when ingestion has stored messages that the marts have not seen."""
    running = context.instance.get_runs_count(
        dg.RunsFilter(job_name=materialize.name, statuses=_UNFINISHED)
    )
    if running:
        return dg.SkipReason("A materialization is under way.")
    with closing(connect(load_settings())) as warehouse:
        behind = messages_behind(warehouse)
    if behind == 0:
        return dg.SkipReason("The marts are at the end of the ledger.")
    return dg.RunRequest(tags={"tally/messages_behind": str(behind)})
