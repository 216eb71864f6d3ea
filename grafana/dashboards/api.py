"""API and realtime: requests against their objectives, the cache, the warehouse behind it."""

from grafana.dashboards.board import Board
from grafana.dashboards.panels import GREEN, RED, YELLOW, Panel, Thresholds
from grafana.dashboards.queries import PromQl, Sql

JOB = 'job="cc-webapp-backend"'
# The objectives (docs/monitoring.md): 99.5 % answered, reads in 250 ms, writes in 400 ms.
AVAILABILITY = 0.995
READ_S, WRITE_S = 0.25, 0.4
WRITES = "/api/actions.*"
DURATION = "tally_http_request_duration_seconds"


def _rate(metric: str) -> str:
    return f"sum(rate({metric}{{{JOB}}}[$__rate_interval]))"


_ERRORS = f'sum(rate(tally_http_requests_total{{{JOB}, status=~"5.."}}[$__rate_interval]))'
_REQUESTS = _rate("tally_http_requests_total")


def _p95(matches: str) -> str:
    """Of the routes that match, or do not match, those that write."""
    series = f'{DURATION}_bucket{{{JOB}, route{matches}"{WRITES}"}}'
    return f"histogram_quantile(0.95, sum by (le) (rate({series}[$__rate_interval])))"


def _rate_by(metric: str, label: str) -> PromQl:
    """A counter by a label, 0 where nothing of it was counted yet."""
    return PromQl(
        f"sum by ({label}) (rate({metric}{{{JOB}}}[$__rate_interval])) or on () vector(0)",
        f"{{{{{label}}}}}",
    )


def _realtime_lag(share: float) -> str:
    series = f"realtime_event_lag_ms_bucket{{{JOB}}}"
    return f"histogram_quantile({share}, sum by (le) (rate({series}[$__rate_interval])))"


BOARD = Board(
    uid="tally-api",
    title="API and realtime SLO",
    description="What players wait for: availability 99.5 %, reads within 250 ms, writes within "
    "400 ms.",
    period="6h",
    refresh="30s",
    rows=[
        (
            "Objectives",
            [
                Panel(
                    title="Availability",
                    kind="stat",
                    unit="percentunit",
                    about="Requests that no error of ours ended (5xx), of all. The objective is "
                    "99.5 %.",
                    queries=[
                        PromQl(
                            f"1 - (({_ERRORS} or vector(0)) / ({_REQUESTS} > 0)) or on () vector(1)"
                        )
                    ],
                    runbook="#apierrorbudgetburnsin2days",
                    thresholds=Thresholds.below(AVAILABILITY, 0.999),
                    width=6,
                    height=4,
                ),
                Panel(
                    title="Reads, p95",
                    kind="stat",
                    unit="s",
                    about="Of every route but the ones that write. The objective is 250 ms.",
                    queries=[PromQl(f"{_p95('!~')} >= 0 or on () vector(0)")],
                    runbook="#apireadsslow",
                    thresholds=Thresholds.above(0.025, READ_S),
                    width=6,
                    height=4,
                ),
                Panel(
                    title="Writes, p95",
                    kind="stat",
                    unit="s",
                    about="Of /api/actions and /api/actions/bulk. The objective is 400 ms.",
                    queries=[PromQl(f"{_p95('=~')} >= 0 or on () vector(0)")],
                    runbook="#apiwritesslow",
                    thresholds=Thresholds.above(0.05, WRITE_S),
                    width=6,
                    height=4,
                ),
                Panel(
                    title="Error budget spent, 30 days",
                    kind="stat",
                    unit="percentunit",
                    about="Of the 0.5 % that may fail in 30 days.",
                    queries=[
                        PromQl(
                            "((sum(increase(tally_http_requests_total"
                            f'{{{JOB}, status=~"5.."}}[30d])) or vector(0))'
                            f" / (sum(increase(tally_http_requests_total{{{JOB}}}[30d])) > 0)"
                            f" or on () vector(0)) / {1 - AVAILABILITY:.3f}"
                        )
                    ],
                    runbook="#apierrorbudgetburns",
                    thresholds=Thresholds.above(0.5, 1),
                    width=6,
                    height=4,
                ),
            ],
        ),
        (
            "Requests",
            [
                Panel(
                    title="Requests by route",
                    kind="timeseries",
                    unit="reqps",
                    about="By route template; `unmatched` is every path that no route has.",
                    queries=[_rate_by("tally_http_requests_total", "route")],
                    runbook="api.md",
                ),
                Panel(
                    title="Answers by status",
                    kind="timeseries",
                    unit="reqps",
                    about="499: the caller left before the answer.",
                    queries=[_rate_by("tally_http_requests_total", "status")],
                    runbook="#apierrorbudgetburnsin2days",
                ),
                Panel(
                    title="p95 by route",
                    kind="timeseries",
                    unit="s",
                    about="From the first byte of a request to the last of its answer.",
                    queries=[
                        PromQl(
                            "histogram_quantile(0.95, sum by (le, route) (rate("
                            f"{DURATION}_bucket{{{JOB}}}[$__rate_interval])))",
                            "{{route}}",
                        )
                    ],
                    runbook="#apireadsslow",
                    thresholds=Thresholds.above(0.025, READ_S),
                ),
                Panel(
                    title="Requests under way",
                    kind="timeseries",
                    unit="none",
                    about="At one moment.",
                    queries=[PromQl(f"sum(tally_http_requests_in_progress{{{JOB}}})", "under way")],
                    runbook="api.md",
                    thresholds=Thresholds.above(200, 1_000),
                ),
                Panel(
                    title="Refused",
                    kind="timeseries",
                    unit="reqps",
                    about="Before their endpoint: no valid token, no right, too many. A surge of "
                    "`unauthorized` is a rotated key or an attack.",
                    queries=[_rate_by("tally_http_refusals_total", "reason")],
                    runbook="#nosigningkeys",
                ),
                Panel(
                    title="Calls of deprecated paths",
                    kind="timeseries",
                    unit="reqps",
                    about="What has a successor and still is called.",
                    queries=[_rate_by("deprecated_endpoint_calls_total", "path")],
                    runbook="api.md",
                ),
            ],
        ),
        (
            "Behind it",
            [
                Panel(
                    title="Where answers come from",
                    kind="timeseries",
                    unit="reqps",
                    about="`cache` while no event arrives, `warehouse`, or `stale`: the last "
                    "known, because the warehouse does not answer. `read ahead`: answers that "
                    "nobody has asked for yet, after a start, a publication and midnight.",
                    queries=[
                        _rate_by("tally_stats_answers_total", "source"),
                        PromQl(_rate("tally_stats_read_ahead_total"), "read ahead"),
                    ],
                    runbook="#warehousedown",
                ),
                Panel(
                    title="Users in one shared query, mean",
                    kind="timeseries",
                    unit="none",
                    about="Concurrent requests share a warehouse query: the more at once, the "
                    "cheaper each.",
                    queries=[
                        PromQl(
                            f"{_rate('tally_stats_batch_users_sum')} / "
                            f"({_rate('tally_stats_batch_users_count')} > 0) or on () vector(0)",
                            "users",
                        )
                    ],
                    runbook="api.md",
                ),
                Panel(
                    title="Warehouse queries",
                    kind="timeseries",
                    unit="none",
                    about="Under way, of at most 8, and waiting for their turn, of at most 200.",
                    queries=[
                        PromQl(f"sum(tally_api_warehouse_queries_running{{{JOB}}})", "running"),
                        PromQl(f"sum(tally_api_warehouse_queries_waiting{{{JOB}}})", "waiting"),
                    ],
                    runbook="#warehousedown",
                    thresholds=Thresholds.above(50, 150),
                ),
            ],
        ),
        (
            "Realtime",
            [
                Panel(
                    title="Open connections",
                    kind="timeseries",
                    unit="none",
                    about="WebSockets that are signed in, and streams of /api/metrics/stream.",
                    queries=[
                        PromQl(f"sum(ws_active_connections{{{JOB}}})", "WebSockets"),
                        PromQl(f"sum(sse_active_connections{{{JOB}}})", "streams"),
                    ],
                    runbook="api.md",
                ),
                Panel(
                    title="From event to push",
                    kind="timeseries",
                    unit="ms",
                    about="From the broker's timestamp of an event to its frame's leaving. The "
                    "goal is a p95 under 250 ms.",
                    queries=[PromQl(_realtime_lag(0.5), "p50"), PromQl(_realtime_lag(0.95), "p95")],
                    runbook="api.md",
                    thresholds=Thresholds.above(250, 1_000),
                ),
                Panel(
                    title="Connections of the legacy path",
                    kind="timeseries",
                    unit="cps",
                    about="/api/games/ws, which is to go: accepted and refused ones.",
                    queries=[_rate_by("ws_legacy_games_connections_total", "outcome")],
                    runbook="#legacywebsocketinuse",
                    thresholds=Thresholds(GREEN, ((0.001, YELLOW),)),
                ),
                Panel(
                    title="Connections that the backend reported",
                    kind="timeseries",
                    unit="none",
                    about="WS_CONNECTED, and closes with a code other than 1000 and 1001, by UTC "
                    "hour.",
                    queries=[
                        Sql(
                            """
                            select
                                hour as time, sum(connects) as opened,
                                sum(abnormal_closes) as abnormal_closes
                            from marts.hourly_realtime
                            where $__timeFilter(hour)
                            group by time
                            order by time
                            """,
                            "hourly_realtime",
                        )
                    ],
                    runbook="models.md#marts",
                    thresholds=Thresholds(GREEN, ((1_000, YELLOW), (10_000, RED))),
                ),
            ],
        ),
    ],
)
