"""How long Dagster remembers runs, and their artifacts with them.

A day has some 1,500 runs of the minute job, and each has a file of events.
"""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

# The minute job tells of the last two days, every other run and every failure of a month.
_MINUTE = timedelta(days=2)
_OTHERS = timedelta(days=30)
_AT_ONCE = 500


def purge(
    instance: dg.DagsterInstance, minute_job: str, artifacts: Path, now: datetime | None = None
) -> int:
    """Delete what is older, runs and their artifacts; the number of runs."""
    now = now or datetime.now(UTC)
    succeeded = [dg.DagsterRunStatus.SUCCESS]
    finished = [*succeeded, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    return _delete(
        instance,
        dg.RunsFilter(job_name=minute_job, statuses=succeeded, created_before=now - _MINUTE),
        artifacts,
    ) + _delete(instance, dg.RunsFilter(statuses=finished, created_before=now - _OTHERS), artifacts)


def _delete(instance: dg.DagsterInstance, old: dg.RunsFilter, artifacts: Path) -> int:
    deleted = 0
    while runs := instance.get_runs(old, limit=_AT_ONCE):
        for run in runs:
            instance.delete_run(run.run_id)
            shutil.rmtree(artifacts / run.run_id, ignore_errors=True)
        deleted += len(runs)
    return deleted
