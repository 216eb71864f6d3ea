"""Keeping the marts at most a minute behind the stream."""

import time
from contextlib import closing

import dagster as dg

from orchestration.defs.jobs import materialize
from orchestration.lib.publication import reason_to_run
from tally.settings import load_settings
from tally.warehouse import connect

# Evaluated every 15 s, and a run takes some 15 s on two cores: half a minute behind, a minute at
# worst. A cron schedule, whose finest step is a minute, could not promise that.
INTERVAL_SECONDS = 15

# What is held is checked again without new messages too: people heal raw, not only the stream.
RECHECK_SECONDS = 120

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
    """Materialize when there is something to build, to publish, or to check again."""
    running = context.instance.get_runs_count(
        dg.RunsFilter(job_name=materialize.name, statuses=_UNFINISHED)
    )
    if running:
        return dg.SkipReason("A materialization is under way.")
    with closing(connect(load_settings())) as warehouse:
        reason = reason_to_run(warehouse)
    if reason is None:
        return dg.SkipReason("The published marts are at the end of the ledger.")
    if reason.startswith("held") and time.time() < float(context.cursor or 0) + RECHECK_SECONDS:
        return dg.SkipReason(f"{reason}; the checks run again soon.")
    context.update_cursor(str(time.time()))
    return dg.RunRequest(tags={"tally/reason": reason})
