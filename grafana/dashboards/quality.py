"""Data quality and freshness: whether the numbers are new, whole and as they should be."""

from grafana.dashboards.board import Board
from grafana.dashboards.panels import GREEN as GOOD
from grafana.dashboards.panels import LOSS, NONE_ALLOWED, RED, Panel, Thresholds
from grafana.dashboards.queries import PromQl, Sql

JOB = 'job="tally-exporter"'


def _stat(  # noqa: PLR0917 - in the order in which a person reads them
    title: str, unit: str, query: str, runbook: str, about: str, limit: Thresholds
) -> Panel:
    return Panel(
        title=title,
        kind="stat",
        unit=unit,
        about=about,
        queries=[PromQl(query)],
        runbook=runbook,
        thresholds=limit,
        width=4,
        height=4,
    )


BOARD = Board(
    uid="tally-quality",
    title="Data quality and freshness",
    description="Whether the numbers are new, whole and as they should be.",
    period="24h",
    refresh="1m",
    rows=[
        (
            "Now",
            [
                _stat(
                    "Freshness",
                    "s",
                    f"time() - max(tally_visible_event_timestamp_seconds{{{JOB}}})",
                    "#martsbehind",
                    "Seconds since Kafka got the newest event that the API's answers include. "
                    "Where nobody plays it grows, too.",
                    Thresholds.above(300, 900),
                ),
                _stat(
                    "Marts behind",
                    "locale",
                    f"max(tally_marts_messages_behind{{{JOB}}})",
                    "#martsbehind",
                    "Messages that are readable in raw and not in the published marts. The API "
                    "takes them from raw.",
                    Thresholds.above(10_000, 1_000_000),
                ),
                _stat(
                    "Held",
                    "bool_yes_no",
                    f"max(tally_quality_held{{{JOB}}})",
                    "#qualityheld",
                    "A failed blocking check holds what people read at the last good state.",
                    NONE_ALLOWED,
                ),
                _stat(
                    "Failed checks",
                    "none",
                    f"sum(tally_quality_check_failed{{{JOB}}}) or on () vector(0)",
                    "#qualitycheckfailed",
                    "Checks whose latest result is a failure.",
                    NONE_ALLOWED,
                ),
                _stat(
                    "Loss against the backend",
                    "percentunit",
                    f"max(tally_ingest_loss_ratio{{{JOB}}}) or on () vector(0)",
                    "#ingestloss",
                    "Of the backend's recorded actions in the worst of the last 24 hours, those "
                    "that never arrived; 0 where no system of record is known.",
                    LOSS,
                ),
                _stat(
                    "Differences of the proof",
                    "none",
                    f"max(tally_verify_differences{{{JOB}}}) or on () vector(0)",
                    "#verifydiffers",
                    "Numbers that differed in the latest `tally verify`; 0 also where none ran.",
                    NONE_ALLOWED,
                ),
            ],
        ),
        (
            "Over time",
            [
                Panel(
                    title="From Kafka to readable",
                    kind="timeseries",
                    unit="s",
                    about="Of the newest message of the latest batch.",
                    queries=[PromQl(f"max(tally_pipeline_lag_seconds{{{JOB}}})", "lag")],
                    runbook="#ingestlaghigh",
                    thresholds=Thresholds.above(5, 60),
                ),
                Panel(
                    title="Age of the published marts",
                    kind="timeseries",
                    unit="s",
                    about="Since the newest of them was materialized. Where nothing arrives "
                    "nothing is published, and this grows.",
                    queries=[
                        PromQl(
                            f"time() - max(tally_marts_published_timestamp_seconds{{{JOB}}})",
                            "marts",
                        )
                    ],
                    runbook="#martsbehind",
                    thresholds=Thresholds.above(900, 3_600),
                ),
                Panel(
                    title="Failed checks by name",
                    kind="timeseries",
                    unit="none",
                    about="1 while the latest result of a check is a failure.",
                    queries=[
                        PromQl(
                            f"max by (check) (tally_quality_check_failed{{{JOB}}} > 0) "
                            "or on () vector(0)",
                            "{{check}}",
                        )
                    ],
                    runbook="#qualitycheckfailed",
                    thresholds=NONE_ALLOWED,
                ),
                Panel(
                    title="Dagster's runs by status",
                    kind="timeseries",
                    unit="none",
                    about="Runs that Dagster keeps: successful ones of the minute job for two "
                    "days, all others for 30.",
                    queries=[
                        PromQl(
                            f"sum by (status) (tally_dagster_runs{{{JOB}}}) or on () vector(0)",
                            "{{status}}",
                        )
                    ],
                    runbook="#dagsterrunfailed",
                ),
                Panel(
                    title="Jobs whose latest run failed",
                    kind="timeseries",
                    unit="none",
                    about="1 where it did.",
                    queries=[
                        PromQl(
                            f"max by (exported_job) (tally_dagster_last_run_failed{{{JOB}}}) "
                            "or on () vector(0)",
                            "{{exported_job}}",
                        )
                    ],
                    runbook="#dagsterrunfailed",
                    thresholds=NONE_ALLOWED,
                ),
                Panel(
                    title="Daemons of Dagster",
                    kind="timeseries",
                    unit="s",
                    about="Since each beat last, which it does every 30 s. Without them nothing is "
                    "scheduled.",
                    queries=[
                        PromQl(
                            "time() - max by (daemon) "
                            f"(tally_dagster_daemon_heartbeat_timestamp_seconds{{{JOB}}})",
                            "{{daemon}}",
                        )
                    ],
                    runbook="#dagsterdaemondown",
                    thresholds=Thresholds.above(60, 300),
                ),
            ],
        ),
        (
            "In the warehouse",
            [
                Panel(
                    title="Latest result of each check",
                    kind="table",
                    unit="none",
                    about="Failures first. A blocking check that failed holds what people read.",
                    queries=[
                        Sql(
                            """
                            select
                                check_name,
                                argMax(passed, evaluated_at) as passed,
                                argMax(blocking, evaluated_at) as blocking,
                                argMax(message, evaluated_at) as message,
                                max(evaluated_at) as evaluated
                            from marts.check_results
                            group by check_name
                            order by passed, check_name
                            limit 200
                            """,
                            "freshness",
                            "table",
                        )
                    ],
                    runbook="#qualitycheckfailed",
                    width=12,
                    height=8,
                ),
                Panel(
                    title="What the API says of itself",
                    kind="table",
                    unit="none",
                    about="`marts.freshness`: fresh or held, by which checks, up to when.",
                    queries=[
                        Sql(
                            """
                            select
                                status,
                                arrayStringConcat(held_by, ', ') as held_by,
                                watermark,
                                lag_seconds, materialized_at
                            from marts.freshness
                            """,
                            "freshness",
                            "table",
                        )
                    ],
                    runbook="#qualityheld",
                    units={"lag_seconds": "s"},
                    width=12,
                    height=8,
                ),
                Panel(
                    title="Lowest balance",
                    kind="stat",
                    unit="locale",
                    metric="gold_balance",
                    about="Here the lowest that any player has ever had.",
                    queries=[
                        Sql(
                            """
                            select min(lowest_balance) as lowest
                            from marts.gold_balances
                            """,
                            "gold_balances",
                            "table",
                        )
                    ],
                    runbook="#negativegoldbalance",
                    thresholds=Thresholds(RED, ((0, GOOD),)),
                ),
                Panel(
                    title="Login failure rate",
                    kind="timeseries",
                    unit="percentunit",
                    metric="login_failure_rate",
                    queries=[
                        Sql(
                            """
                            select hour as time, failure_rate
                            from marts.hourly_logins
                            where $__timeFilter(hour)
                            order by time
                            """,
                            "hourly_logins",
                        )
                    ],
                    runbook="models.md#marts",
                    thresholds=Thresholds.above(0.2, 0.5),
                ),
                Panel(
                    title="Events by hour",
                    kind="timeseries",
                    unit="locale",
                    about="Accepted events by the UTC hour in which they happened; a hole is an "
                    "hour that nobody played, or that was lost.",
                    queries=[
                        Sql(
                            """
                            select hour as time, events
                            from marts.hourly_metrics
                            where $__timeFilter(hour)
                            order by time
                            """,
                            "hourly_metrics",
                        )
                    ],
                    runbook="#ingestloss",
                ),
                Panel(
                    title="Loss by hour against the backend",
                    kind="timeseries",
                    unit="percentunit",
                    metric="ingest_loss_ratio",
                    about="By the hour in which the actions happened, as compared last.",
                    queries=[
                        Sql(
                            """
                            select hour as time, loss_ratio
                            from marts.hourly_record
                            where $__timeFilter(hour)
                            order by time
                            """,
                            "hourly_record",
                        )
                    ],
                    runbook="#ingestloss",
                    thresholds=LOSS,
                ),
            ],
        ),
    ],
)
