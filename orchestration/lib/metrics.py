"""What Prometheus sees of Dagster: a file in the textfile format, written anew after each run.

Dagster has no /metrics; the node exporter's textfile collector, or whatever else reads such a file,
takes it from `<home>/metrics/orchestration.prom`.
"""

from pathlib import Path

import dagster as dg
from clickhouse_connect.driver import Client
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from orchestration.lib.publication import WATERMARKS, latest_results
from tally.backlog import messages_behind

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_PUBLISHED_AT = f"select toUnixTimestamp(max(materialized_at)) from published.{WATERMARKS}"


def metrics_file(home: Path) -> Path:
    """Where the file of a home is."""
    return home.absolute() / "metrics" / "orchestration.prom"


def runs(registry: CollectorRegistry, instance: dg.DagsterInstance, jobs: list[str]) -> None:
    """How the latest finished run of each job ended."""
    failed = Gauge(
        "tally_dagster_last_run_failed",
        "1 where the latest finished run of the job failed.",
        ["job"],
        registry=registry,
    )
    ended = Gauge(
        "tally_dagster_last_run_end_timestamp_seconds",
        "When the latest finished run of the job ended.",
        ["job"],
        registry=registry,
    )
    for job in jobs:
        found = instance.get_run_records(
            dg.RunsFilter(job_name=job, statuses=_FINISHED), limit=1, order_by="update_timestamp"
        )
        for record in found:
            failed.labels(job).set(record.dagster_run.is_failure)
            ended.labels(job).set(record.end_time or 0)


def quality(registry: CollectorRegistry, client: Client) -> None:
    """The checks by their latest result, and what they do to the published state."""
    check_failed = Gauge(
        "tally_quality_check_failed",
        "1 where the latest result of the check is a failure.",
        ["check", "blocking"],
        registry=registry,
    )
    held = Gauge(
        "tally_quality_held",
        "1 while a failed blocking check holds what people read at the last good state.",
        registry=registry,
    )
    for result in latest_results(client):
        blocking = str(result.blocking).lower()
        check_failed.labels(result.check_name, blocking).set(not result.passed)
        if result.blocking and not result.passed:
            held.set(1)
    Gauge(
        "tally_marts_messages_behind",
        "Messages that are readable in raw and not in the published marts.",
        registry=registry,
    ).set(messages_behind(client))
    Gauge(
        "tally_marts_published_timestamp_seconds",
        "When the newest of the published marts was materialized.",
        registry=registry,
    ).set(client.query(_PUBLISHED_AT).result_rows[0][0])


def write(path: Path, instance: dg.DagsterInstance, jobs: list[str], client: Client | None) -> None:
    """Write the file: whole, or the one before stays. Without a client, the runs alone."""
    registry = CollectorRegistry()
    runs(registry, instance, jobs)
    if client is not None:
        quality(registry, client)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)
