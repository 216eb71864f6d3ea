"""The ingest loss ratio as asset checks: the backend's own record beside what arrived.

The record is a Postgres of the backend's; where none is named, there is nothing to compare with.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.lib.publication import CheckResult, record
from orchestration.lib.transient import retried
from tally.settings import load_settings
from tally.warehouse import connect

EVENTS = dg.AssetKey(["raw", "events"])
HOURS = 24

# Another share is another alert: the first is looked at, the second wakes somebody.
WARNING = dg.AssetCheckSpec(
    "ingest_loss_is_below_0_1_percent",
    asset=EVENTS,
    description="Of each hour's recorded actions, less than 0.1 % never arrived.",
)
FAILURE = dg.AssetCheckSpec(
    "ingest_loss_is_below_0_5_percent",
    asset=EVENTS,
    description="Of each hour's recorded actions, less than 0.5 % never arrived.",
)


@dg.multi_asset_check(name="ingest_loss", specs=[WARNING, FAILURE])
def ingest_loss(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Every complete UTC hour of the last day, as `tally verify-record` tells it."""
    with retried(context.op_execution_context.retry_number):
        yield from _compared(context)


def _compared(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    import psycopg

    from ingest.record_loss import PAGE_RATIO, WARN_RATIO, keep_losses, read_losses

    settings = load_settings()
    until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with (
        psycopg.connect(settings.endpoint("postgres_url")) as source,
        closing(connect(settings)) as client,
    ):
        hours = list(read_losses(source, client, until - timedelta(hours=HOURS), until))
        keep_losses(client, hours)
        worst = max(hours, key=lambda hour: hour.loss_ratio, default=None)
        ratio = worst.loss_ratio if worst else 0.0
        said = (
            f"{ratio:.4%} of {worst.recorded:,} actions in {worst.hour:%Y-%m-%d %H}:00Z"
            if worst
            else "no recorded action"
        )
        found = [
            (WARNING, ratio < WARN_RATIO, dg.AssetCheckSeverity.WARN),
            (FAILURE, ratio < PAGE_RATIO, dg.AssetCheckSeverity.ERROR),
        ]
        record(
            client,
            [
                CheckResult(
                    spec.name, EVENTS.to_user_string(), passed, blocking=False, message=said
                )
                for spec, passed, _ in found
            ],
            context.run.run_id,
        )
    for spec, passed, severity in found:
        yield dg.AssetCheckResult(
            passed=passed,
            check_name=spec.name,
            asset_key=EVENTS,
            severity=severity,
            description=said,
            metadata={"worst_hour": said, "hours": len(hours), "loss_ratio": ratio},
        )
