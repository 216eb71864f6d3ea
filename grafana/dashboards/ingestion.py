"""Ingestion: rate, errors and duration of its batches, how far it is behind, what it refused."""

from grafana.dashboards.board import Board
from grafana.dashboards.panels import GREEN, LOSS, NONE_ALLOWED, RED, Panel, Thresholds
from grafana.dashboards.queries import PromQl, Sql

JOB = 'job="tally-ingest"'


def _rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{JOB}}}[$__rate_interval]))"


def _quantile(share: float, metric: str) -> str:
    return (
        f"histogram_quantile({share}, "
        f"sum by (le) (rate({metric}_bucket{{{JOB}}}[$__rate_interval])))"
    )


BOARD = Board(
    uid="tally-ingestion",
    title="Ingestion",
    description="From Kafka to readable: rate, errors, duration, lag and dead letters.",
    period="6h",
    refresh="30s",
    rows=[
        (
            "Now",
            [
                Panel(
                    title="Ready",
                    kind="stat",
                    unit="bool_yes_no",
                    about="Whether /readyz says so: in the group, not paused, and no step waits "
                    "for something outside.",
                    queries=[PromQl(f"min(tally_ingest_ready{{{JOB}}})")],
                    runbook="#ingestdown",
                    thresholds=Thresholds(RED, ((1, GREEN),)),
                    width=6,
                    height=4,
                ),
                Panel(
                    title="Lag",
                    kind="stat",
                    unit="locale",
                    about="Messages in Kafka that are not readable yet.",
                    queries=[PromQl(f"sum(tally_ingest_lag_messages{{{JOB}}})")],
                    runbook="#ingestlaghigh",
                    thresholds=Thresholds.above(10_000, 100_000),
                    width=6,
                    height=4,
                ),
                Panel(
                    title="Messages lost, last 24 hours",
                    kind="stat",
                    unit="percentunit",
                    about="Of the messages of 24 hours, those that were gone from Kafka before "
                    "they were read.",
                    queries=[PromQl('max(tally_lost_messages_ratio{job="tally-exporter"})')],
                    runbook="#ingestloss",
                    thresholds=LOSS,
                    width=6,
                    height=4,
                ),
                Panel(
                    title="Paused",
                    kind="stat",
                    unit="bool_yes_no",
                    about="Ingestion holds where most of a minute's messages are bad, and waits "
                    "for a person.",
                    queries=[PromQl(f"max(tally_ingest_paused{{{JOB}}})")],
                    runbook="#ingestpaused",
                    thresholds=NONE_ALLOWED,
                    width=6,
                    height=4,
                ),
            ],
        ),
        (
            "Rate and errors",
            [
                Panel(
                    title="Messages and rows",
                    kind="timeseries",
                    unit="cps",
                    about="Read from Kafka, and stored as accepted events.",
                    queries=[
                        PromQl(_rate("tally_ingest_messages_total"), "read"),
                        PromQl(_rate("tally_ingest_rows_total"), "stored"),
                    ],
                    runbook="ingest.md#the-way-of-a-batch",
                ),
                Panel(
                    title="Dead letters by reason",
                    kind="timeseries",
                    unit="cps",
                    about="Messages that the contract refuses; each is kept whole in "
                    "raw.dead_letters.",
                    queries=[
                        PromQl(
                            f"{_rate('tally_ingest_dead_letters_total', 'reason')} "
                            "or on () vector(0)",
                            "{{reason}}",
                        )
                    ],
                    runbook="#deadlettersurge",
                ),
                Panel(
                    title="Retries by step",
                    kind="timeseries",
                    unit="cps",
                    about="Attempts that failed and were repeated: Kafka or the warehouse was "
                    "away.",
                    queries=[
                        PromQl(
                            f"{_rate('tally_ingest_retries_total', 'step')} or on () vector(0)",
                            "{{step}}",
                        )
                    ],
                    runbook="#ingestdown",
                ),
            ],
        ),
        (
            "Duration and lag",
            [
                Panel(
                    title="Insert, p50 and p95",
                    kind="timeseries",
                    unit="s",
                    about="Seconds of one acknowledged insert.",
                    queries=[
                        PromQl(_quantile(0.5, "tally_ingest_insert_seconds"), "p50"),
                        PromQl(_quantile(0.95, "tally_ingest_insert_seconds"), "p95"),
                    ],
                    runbook="#ingestlaghigh",
                    thresholds=Thresholds.above(1, 5),
                ),
                Panel(
                    title="Age of a batch, p95",
                    kind="timeseries",
                    unit="s",
                    about="From the first message of a batch read to all of it readable.",
                    queries=[PromQl(_quantile(0.95, "tally_ingest_batch_age_seconds"), "p95")],
                    runbook="#ingestlaghigh",
                    thresholds=Thresholds.above(1, 10),
                ),
                Panel(
                    title="Lag by partition",
                    kind="timeseries",
                    unit="locale",
                    about="Messages in Kafka that are not readable yet. One partition that lags "
                    "alone has a message that the warehouse refuses, or no consumer.",
                    queries=[
                        PromQl(
                            f"sum by (partition) (tally_ingest_lag_messages{{{JOB}}})",
                            "{{partition}}",
                        )
                    ],
                    runbook="#ingestlaghigh",
                    thresholds=Thresholds.above(10_000, 100_000),
                ),
                Panel(
                    title="Held back",
                    kind="timeseries",
                    unit="percentunit",
                    about="Share of the time in which nothing was read, because what waits for the "
                    "warehouse filled the memory.",
                    queries=[PromQl(_rate("tally_ingest_backpressure_seconds_total"), "held back")],
                    runbook="#ingestlaghigh",
                    thresholds=Thresholds.above(0.5, 0.9),
                ),
                Panel(
                    title="Rebalances",
                    kind="timeseries",
                    unit="none",
                    about="Assignments of partitions by the group, each of the last ten minutes.",
                    queries=[
                        PromQl(
                            f"sum (increase(tally_ingest_rebalances_total{{{JOB}}}[10m]))",
                            "assignments",
                        )
                    ],
                    runbook="#ingestlaghigh",
                    thresholds=Thresholds.above(6, 12),
                ),
                Panel(
                    title="Bytes waiting in memory",
                    kind="timeseries",
                    unit="bytes",
                    about="Read from Kafka and not stored yet.",
                    queries=[PromQl(f"sum(tally_ingest_buffered_bytes{{{JOB}}})", "buffered")],
                    runbook="#ingestlaghigh",
                ),
            ],
        ),
        (
            "Hour by hour, from the ledger",
            [
                Panel(
                    title="From Kafka to readable",
                    kind="timeseries",
                    unit="s",
                    about="Of the newest message of each batch: the median and the 95th "
                    "percentile, exact.",
                    queries=[
                        Sql(
                            """
                            select
                                hour as time, median_lag_seconds,
                                p95_lag_seconds
                            from marts.hourly_ingestion
                            where $__timeFilter(hour)
                            order by time
                            """,
                            "hourly_ingestion",
                        )
                    ],
                    runbook="#ingestlaghigh",
                    thresholds=Thresholds.above(5, 60),
                ),
                Panel(
                    title="Stored and refused",
                    kind="timeseries",
                    unit="locale",
                    about="Messages by the hour in which they were stored. A message that was "
                    "sent twice counts twice.",
                    queries=[
                        Sql(
                            """
                            select
                                hour as time, accepted, dead_letters,
                                lost
                            from marts.hourly_ingestion
                            where $__timeFilter(hour)
                            order by time
                            """,
                            "hourly_ingestion",
                        )
                    ],
                    runbook="ingest.md#the-way-of-a-batch",
                ),
                Panel(
                    title="Dead letters in the range",
                    kind="table",
                    unit="locale",
                    about="By reason: how many, how many of them were sent again since, and "
                    "refused again. `tally dlq list` shows single ones.",
                    queries=[
                        Sql(
                            """
                            select
                                reason, sum(letters) as letters,
                                sum(replayed) as replayed,
                                sum(refused_again) as refused_again,
                                max(newest_received_at) as newest
                            from marts.hourly_dead_letters
                            where $__timeFilter(hour)
                            group by reason
                            order by letters desc
                            """,
                            "hourly_dead_letters",
                            "table",
                        )
                    ],
                    runbook="#deadlettersurge",
                    units={"newest": "dateTimeAsIso"},
                ),
            ],
        ),
    ],
)
