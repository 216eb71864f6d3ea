"""When jobs start by the clock, which is that of UTC; the minute job follows the stream instead."""

import dagster as dg

from orchestration.defs import jobs
from tally.settings import load_settings


def _at(cron: str, name: str, job_name: str) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=name,
        job_name=job_name,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


@dg.schedule(
    name="loss_hourly",
    job=jobs.loss,
    # Ten minutes after the hour: what was late by less has arrived.
    cron_schedule="10 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def loss_hourly() -> dg.RunRequest | dg.SkipReason:
    """Where there is a record to compare with."""
    if load_settings().postgres_url is None:
        return dg.SkipReason("No record is known: TALLY_POSTGRES_URL is not set.")
    return dg.RunRequest()


SCHEDULES = (
    # The day is closed in UTC, and the evening's peak is over in Europe.
    _at("30 3 * * *", "nightly", jobs.deep.name),
    _at("30 4 * * *", "archive_nightly", jobs.archive.name),
    _at("*/15 * * * *", "quality_every_15_minutes", jobs.quality.name),
    _at("40 * * * *", "retention_hourly", jobs.retention.name),
    loss_hourly,
)
