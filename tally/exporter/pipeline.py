"""The truth about the pipeline, from the tables that the numbers themselves are read from."""

from collections.abc import Iterator
from datetime import datetime

from clickhouse_connect.driver import Client
from prometheus_client.core import Metric

from tally.backlog import messages_behind
from tally.exporter.families import gauge, gauges

_FRESHNESS = "select watermark, lag_seconds, held_by from marts.freshness"
# Of each check the latest result; one that was not evaluated for a week has left the code.
_CHECKS = """
select
    check_name,
    argMax(passed, evaluated_at) as passed,
    argMax(blocking, evaluated_at) as blocking,
    toUnixTimestamp(max(check_results.evaluated_at)) as last_evaluated
from marts.check_results as check_results
group by check_name
having max(evaluated_at) > now() - interval 7 day and argMax(message, evaluated_at) != 'retired'
order by check_name
"""
_LOSS = """
select
    sumIf(last_offset - first_offset + 1, kind = 'lost') as lost,
    sumIf(accepted + dead, kind = 'stored') as stored
from raw.ingest_ledger final
where stored_at > now64(3, 'UTC') - interval 1 day
"""
_PUBLISHED_AT = "select toUnixTimestamp(max(materialized_at)) from published.watermarks"
_VERIFIED = """
select differences, toUnixTimestamp(verified_at) from marts.verifications
order by verified_at desc
limit 1
"""


def read(client: Client) -> Iterator[Metric]:
    """The samples of now. Raises `ClickHouseError` or `OSError` where the warehouse is away."""
    ((watermark, lag_seconds, held_by),) = client.query(_FRESHNESS).result_rows
    yield gauge(
        "tally_visible_event_timestamp_seconds",
        "When Kafka got the newest event that the API's answers include; freshness is the time "
        "since.",
        _unix(watermark),
    )
    yield gauge(
        "tally_pipeline_lag_seconds",
        "From Kafka to readable, of the newest message of the latest batch.",
        lag_seconds,
    )
    yield gauge(
        "tally_marts_messages_behind",
        "Messages that are readable in raw and not in the published marts.",
        messages_behind(client),
    )
    ((published_at,),) = client.query(_PUBLISHED_AT).result_rows
    yield gauge(
        "tally_marts_published_timestamp_seconds",
        "When the newest of the published marts was materialized.",
        published_at or None,
    )
    ((lost, stored),) = client.query(_LOSS).result_rows
    yield gauge(
        "tally_lost_messages_ratio",
        "Of the messages of the last 24 hours, those that were gone before they were read.",
        lost / (lost + stored) if lost + stored else 0,
    )
    yield from _quality(client, held=bool(held_by))
    verified = client.query(_VERIFIED).result_rows
    differences, verified_at = verified[0] if verified else (None, None)
    yield gauge(
        "tally_verify_differences",
        "Numbers that differed in the latest `tally verify`.",
        differences,
    )
    yield gauge("tally_verify_timestamp_seconds", "When `tally verify` ended last.", verified_at)


def _quality(client: Client, *, held: bool) -> Iterator[Metric]:
    """The checks by their latest result, and what they do to the published state."""
    checks = client.query(_CHECKS).result_rows
    yield gauges(
        "tally_quality_check_failed",
        "1 where the latest result of the check is a failure.",
        ["check", "blocking"],
        [((name, str(blocking).lower()), not passed) for name, passed, blocking, _ in checks],
    )
    yield gauges(
        "tally_quality_check_evaluated_timestamp_seconds",
        "When the check was evaluated last.",
        ["check"],
        [((name,), evaluated) for name, _, _, evaluated in checks],
    )
    yield gauge(
        "tally_quality_held",
        "1 while a failed blocking check holds what people read at the last good state.",
        held,
    )


def _unix(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
