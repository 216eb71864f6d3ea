"""How the live connections are. The names are those that dashboards and alerts know."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LAG_BUCKETS_MS = (5, 10, 25, 50, 75, 100, 150, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000)


class RealtimeMetrics:
    """Counts of this process; every label is one of a few words."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sockets = Gauge(
            "ws_active_connections", "WebSockets that are open and signed in.", registry=registry
        )
        self.streams = Gauge(
            "sse_active_connections", "Open streams of /api/metrics/stream.", registry=registry
        )
        self.event_lag = Histogram(
            "realtime_event_lag_ms",
            "From the broker's timestamp of an event to its frame's leaving, milliseconds.",
            buckets=_LAG_BUCKETS_MS,
            registry=registry,
        )
        self.legacy = Counter(
            "ws_legacy_games_connections",
            "Connections that asked for /api/games/ws: accepted, or refused because it is off.",
            ("outcome",),
            registry=registry,
        )
        self.throttled = Counter(
            "realtime_throttle_hits",
            "What a slow or eager client made necessary: superseded (an older state was not sent), "
            "dropped (an event was not sent, and a whole state after it), connections and messages "
            "(over the limit).",
            ("reason",),
            registry=registry,
        )
        self.closed = Counter(
            "realtime_closed",
            "Connections that the server closed, by close code.",
            ("code",),
            registry=registry,
        )
        self.rejected = Counter(
            "realtime_rejected_messages",
            "Messages of Kafka for connected users that no frame was made of, by topic.",
            ("topic",),
            registry=registry,
        )
