"""What Dagster's webserver says of its runs, assets and daemons; Dagster has no /metrics."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import Metric

from tally.dagster import ask
from tally.exporter.families import gauge, gauges

_STATUSES = ("QUEUED", "STARTED", "SUCCESS", "FAILURE", "CANCELED")
_FINISHED = {"SUCCESS", "FAILURE"}
# The hourly check keeps its ratio in its metadata (orchestration/defs/loss.py).
LOSS_CHECK = "ingest_loss_is_below_0_5_percent"
_COUNTS = "\n".join(
    f"{each}: runsOrError(filter: {{ statuses: [{each}] }}) {{ ... on Runs {{ count }} }}"
    for each in _STATUSES
)
_QUERY = f"""{{
  repositoriesOrError {{ ... on RepositoryConnection {{ nodes {{
    jobs {{ name runs(limit: 5) {{ status endTime }} }} }} }} }}
  instance {{ daemonHealth {{ allDaemonStatuses {{ daemonType lastHeartbeatTime }} }} }}
  assetNodes(loadMaterializations: true) {{
    assetKey {{ path }} isMaterializable assetMaterializations(limit: 1) {{ timestamp }} }}
  loss: assetCheckExecutions(
    assetKey: {{ path: ["raw", "events"] }}, checkName: "{LOSS_CHECK}", limit: 1
  ) {{ evaluation {{ metadataEntries {{
    label ... on FloatMetadataEntry {{ floatValue }} }} }} }}
  {_COUNTS}
}}"""


def read(url: str, timeout_seconds: float) -> Iterator[Metric]:
    """The samples of now. Raises `OSError` or `ValueError` where Dagster gives no answer."""
    data = ask(url, _QUERY, timeout_seconds)
    yield gauges(
        "tally_dagster_runs",
        "Runs that Dagster keeps, by status; old ones are deleted every hour.",
        ["status"],
        [((status.lower(),), data[status]["count"]) for status in _STATUSES],
    )
    jobs = [
        (job["name"], _last_finished(job))
        for repository in data["repositoriesOrError"].get("nodes", [])
        for job in repository["jobs"]
        if not job["name"].startswith("__")
    ]
    yield gauges(
        "tally_dagster_last_run_failed",
        "1 where the latest finished run of the job failed.",
        ["job"],
        [((name,), run["status"] == "FAILURE") for name, run in jobs if run],
    )
    yield gauges(
        "tally_dagster_last_run_end_timestamp_seconds",
        "When the latest finished run of the job ended.",
        ["job"],
        [((name,), run["endTime"]) for name, run in jobs if run],
    )
    yield gauges(
        "tally_dagster_asset_success_timestamp_seconds",
        "When the asset was materialized last.",
        ["asset"],
        [
            (("/".join(node["assetKey"]["path"]),), int(event["timestamp"]) / 1000)
            for node in data["assetNodes"]
            if node["isMaterializable"]
            for event in node["assetMaterializations"]
        ],
    )
    yield gauges(
        "tally_dagster_daemon_heartbeat_timestamp_seconds",
        "When the daemon beat last; it does every 30 s.",
        ["daemon"],
        [
            ((daemon["daemonType"].lower(),), daemon["lastHeartbeatTime"])
            for daemon in data["instance"]["daemonHealth"]["allDaemonStatuses"]
        ],
    )
    yield gauge(
        "tally_ingest_loss_ratio",
        "Of the backend's recorded actions of the worst hour of the last 24, those that never "
        "arrived.",
        _loss_ratio(data["loss"]),
    )


def _last_finished(job: dict[str, Any]) -> dict[str, Any] | None:
    return next((run for run in job["runs"] if run["status"] in _FINISHED), None)


def _loss_ratio(executions: list[dict[str, Any]]) -> float | None:
    for execution in executions:
        for entry in (execution["evaluation"] or {}).get("metadataEntries", []):
            if entry["label"] == "loss_ratio":
                return float(entry["floatValue"])
    return None
