"""After each run, what Prometheus alerts on."""

from contextlib import closing

import dagster as dg
from clickhouse_connect.driver.exceptions import ClickHouseError

from orchestration.defs import jobs
from orchestration.lib import metrics
from tally.settings import load_settings
from tally.warehouse import connect

_JOBS = [job.name for job in jobs.JOBS]


def write_metrics(instance: dg.DagsterInstance) -> None:
    """Write the metrics file; a warehouse that is away is no reason to hide a failed run."""
    settings = load_settings()
    path = metrics.metrics_file(settings.home)
    try:
        with closing(connect(settings)) as client:
            metrics.write(path, instance, _JOBS, client)
    except (ClickHouseError, OSError):
        metrics.write(path, instance, _JOBS, None)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS, default_status=dg.DefaultSensorStatus.RUNNING
)
def metrics_after_success(context: dg.RunStatusSensorContext) -> None:
    """Lets an alert end."""
    write_metrics(context.instance)


@dg.run_failure_sensor(default_status=dg.DefaultSensorStatus.RUNNING)
def metrics_after_failure(context: dg.RunFailureSensorContext) -> None:
    """Makes an alert begin."""
    write_metrics(context.instance)
