"""Keeping the marts at most a minute behind the stream."""

import time
from contextlib import closing

import dagster as dg

from orchestration.defs.jobs import materialize
from orchestration.lib.exclusive import is_held, lock_file
from orchestration.lib.publication import reason_to_run
from tally.settings import load_settings
from tally.warehouse import connect

# Looked at every 15 s. What begins to arrive is given one look to arrive together, and a run takes
# some 15 s on two cores: half a minute behind, a minute at worst. A cron schedule, whose finest
# step is a minute, could not promise that.
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
    settings = load_settings()
    if is_held(lock_file(settings)):
        return dg.SkipReason("A person's materialization is under way.")
    with closing(connect(settings)) as warehouse:
        reason = reason_to_run(warehouse)
    if reason is None:
        context.update_cursor("")
        return dg.SkipReason("The published marts are at the end of the ledger.")
    now, looked_at = time.time(), float(context.cursor or 0)
    if reason.startswith("held"):
        if now < looked_at + RECHECK_SECONDS:
            return dg.SkipReason(f"{reason}; the checks run again soon.")
    elif not looked_at:
        context.update_cursor(str(now))
        return dg.SkipReason(f"{reason}; the next look takes what arrives until then too.")
    context.update_cursor(str(now))
    return dg.RunRequest(tags={"tally/reason": reason})
