"""What every alert does: cases where it fires, where it is silent, and both sides of its edges.

A case fires at the first evaluation at which it may, and the step before it is an edge.
"""

from tests.monitoring.promtool import Case, Cases

STEP_S = 15
HERE = {"instance": "a:1"}

Labels = dict[str, str]
Series = dict[str, str]


def named(name: str, **labels: str) -> str:
    """A series in promtool's notation."""
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def steady(value: float) -> str:
    """A gauge that does not move."""
    return f"{value:.10g}+0x400"


def counter(*pieces: tuple[float, int]) -> str:
    """A counter that grows by so much in each of so many steps."""
    values, last = ["0"], 0.0
    for growth, steps in pieces:
        values.append(f"{last + growth:.10g}+{growth:.10g}x{steps - 1}")
        last += growth * steps
    return " ".join(values)


def level(
    series: str,
    labels: Labels,
    *,
    beyond: float,
    edge: float,
    well: float,
    waits: int,
    around: Series | None = None,
) -> Cases:
    """An alert on a gauge, that fires after so many seconds `beyond` and never at the `edge`."""

    def of(value: float) -> Series:
        return {series: steady(value), **(around or {})}

    early = [Case("edge", of(beyond), f"{waits - STEP_S}s")] if waits else []
    return Cases(
        (
            Case("firing", of(beyond), f"{waits}s", (labels,)),
            *early,
            Case("edge", of(edge), "30m"),
            Case("silent", of(well), "30m"),
        )
    )


def age(
    series: str, labels: Labels, *, over: int, waits: int, around: Series | None = None
) -> Cases:
    """An alert on a time that lies too many seconds back; at the start it lies just that far."""
    more = around or {}
    old = {series: steady(-over), **more}
    return Cases(
        (
            Case("firing", old, f"{STEP_S + waits}s", (labels,)),
            Case("edge", old, f"{waits}s"),
            Case("silent", {series: f"0+{STEP_S}x400", **more}, f"{2 * waits + STEP_S}s"),
        )
    )


def down(job: str, *, waits: int) -> Cases:
    """An alert on a target that is dead or missing."""
    labels = {"job": job, **HERE}
    dead = {named("up", **labels): steady(0)}
    return Cases(
        (
            Case("firing", dead, f"{waits}s", (labels,)),
            Case("firing", {}, f"{waits}s", ({"job": job},)),
            Case("edge", dead, f"{waits - STEP_S}s"),
            Case("silent", {named("up", **labels): steady(1)}, f"{2 * waits}s"),
        )
    )


def source_down(source: str, *, waits: int) -> Cases:
    labels = {"source": source}
    return level(
        named("tally_exporter_source_up", **labels),
        labels,
        beyond=0,
        edge=1,
        well=1,
        waits=waits,
        around={named("tally_exporter_source_up", source="another"): steady(1)},
    )


def burn(of_ratio: "Ratio", limit: float, *, long: int, short: int, step: str, steps: int) -> Cases:
    """An alert on a ratio of two windows, `long` and `short` in steps; `steps` is its `for`."""
    just_over, just_under = limit * 1.02, limit * 0.98

    def at(number: int) -> str:
        seconds = {"m": 60, "h": 3600}[step[-1]] * int(step[:-1])
        return f"{number * seconds}s"

    return Cases(
        (
            Case("firing", of_ratio((just_over, 2 * long), bad=True), at(1 + steps), ({},)),
            Case("edge", of_ratio((just_over, 2 * long), bad=True), at(steps)),
            Case("edge", of_ratio((just_under, 2 * long), bad=False), at(2 * long)),
            # Of the long window's length, and not of twice it.
            Case(
                "firing",
                of_ratio((0, long + 1), (limit * 1.5, long), bad=True),
                at(2 * long + 1),
                ({},),
            ),
            # Over as soon as the short window is.
            Case(
                "edge",
                of_ratio((0.9, long), (0, 2 * short), bad=False),
                at(long + short + 1),
            ),
            # Only the one window, or only the other.
            Case(
                "edge",
                of_ratio((0, long), (limit * 0.75 * long / (4 * short), 4 * short), bad=False),
                at(long + 4 * short),
            ),
            Case(
                "edge",
                of_ratio((0.9, long), (limit * 0.75, 2 * short), bad=False),
                at(long + 2 * short),
            ),
            Case("silent", of_ratio((0, 2 * long), bad=False), at(2 * long)),
        ),
        step,
    )


class Ratio:
    """Makes the series of which so many of a thousand a step are bad, among others' traffic."""

    def __call__(self, *pieces: tuple[float, int], bad: bool) -> Series:
        """`bad` says that the ratio is: what does not count is all good then, else all bad."""
        raise NotImplementedError


class Errors(Ratio):
    def __call__(self, *pieces: tuple[float, int], bad: bool) -> Series:
        requests = "tally_http_requests_total"
        of = {"job": "cc-webapp-backend", "route": "/api/users/stats"}
        steps = sum(count for _, count in pieces)
        probe = {"route": "/readyz", "status": "200" if bad else "503"}
        return {
            named(requests, **of, status="503"): counter(*((1000 * r, n) for r, n in pieces)),
            named(requests, **of, status="200"): counter(*((1000 * (1 - r), n) for r, n in pieces)),
            named(requests, **{**of, **probe}): counter((9e6, steps)),
        }


class Slow(Ratio):
    def __init__(self, route: str, le: str, others: str) -> None:
        self._route, self._le, self._others = route, le, others

    def __call__(self, *pieces: tuple[float, int], bad: bool) -> Series:
        name = "tally_http_request_duration_seconds"
        steps = sum(count for _, count in pieces)
        of = {"job": "cc-webapp-backend", "route": self._route}
        other = {**of, "route": self._others}
        return {
            named(f"{name}_bucket", **of, le=self._le): counter(
                *((1000 * (1 - r), n) for r, n in pieces)
            ),
            named(f"{name}_count", **of): counter((1000, steps)),
            named(f"{name}_bucket", **other, le=self._le): counter((9e6 if bad else 0, steps)),
            named(f"{name}_count", **other): counter((9e6, steps)),
        }


READS = Slow("/api/users/stats", "0.25", "/api/actions")
WRITES = Slow("/api/actions", "0.4", "/api/users/stats")


def p95(name: str, labels: Labels, others: Labels, bounds: tuple[float, ...], waits: int) -> Cases:
    """An alert on the 95th percentile over the second of three bounds of a histogram."""

    def of(shares: tuple[float, ...], other: tuple[float, ...], pieces: int = 400) -> Series:
        les = [*(f"{bound:g}" for bound in bounds), "+Inf"]
        return {
            named(f"{name}_bucket", **each, le=le): counter((share * scale, pieces))
            for each, scale, all_shares in ((labels, 1, shares), (others, 9e6, other))
            for le, share in zip(les, (*all_shares, 100), strict=True)
        }

    slow, fast = (0, 94, 100), (0, 96, 100)
    quick, late = (100, 100, 100), (0, 0, 100)
    return Cases(
        (
            Case("firing", of(slow, quick), f"{STEP_S + waits}s", ({},)),
            Case("edge", of(slow, quick), f"{waits}s"),
            Case("edge", of(fast, late), "30m"),
            Case("silent", of(quick, late), "30m"),
        )
    )


def quality(check: str, blocking: str = "true") -> str:
    return named("tally_quality_check_failed", check=check, blocking=blocking)


def backend(area: str, status: str) -> str:
    return named("tally_backend_request_duration_seconds_count", area=area, status=status)


def invites(status: str, *pieces: tuple[float, int], good: float = 0) -> Series:
    """Requests of area invite, a minute a step, and many of another area beside them."""
    steps = sum(count for _, count in pieces)
    return {
        backend("invite", status): counter(*pieces),
        backend("invite", "2xx"): counter(*((good, n) if g else (0, n) for g, n in pieces)),
        backend("shop", status): counter((9e6 if good < 0 else 0, steps)),
    }


DEAD = named("tally_ingest_dead_letters_total", reason="schema")
READ = "tally_ingest_messages_total"
FREE, SIZE = "tally_warehouse_disk_free_bytes", "tally_warehouse_disk_size_bytes"
DISK = {"disk": "default"}
REJECTED = "tally_warehouse_rejected_inserts_total"
LEGACY = "ws_legacy_games_connections_total"
LAG = "tally_ingest_lag_messages"
STORED = "tally_ingest_last_stored_timestamp_seconds"
BEHIND = "tally_marts_messages_behind"
PUBLISHED = "tally_marts_published_timestamp_seconds"
RECORD, LEDGER = "tally_ingest_loss_ratio", "tally_lost_messages_ratio"
FAILED, BOUGHT = "shop_buy_failed_total", "shop_buy_success_total"
LOCKED = "auth_login_locked_total"
BACKEND = "tally_backend_request_duration_seconds"
HTTP = "tally_http_request_duration_seconds"
API = "cc-webapp-backend"


def loss(limit: float) -> Cases:
    """Either way of measuring a loss is enough."""
    by_record = level(
        RECORD, {}, beyond=limit * 1.1, edge=limit, well=0, waits=60, around={LEDGER: steady(0)}
    )
    by_ledger = level(
        LEDGER, {}, beyond=limit * 1.1, edge=limit, well=0, waits=60, around={RECORD: steady(0)}
    )
    return Cases((*by_record.cases, *by_ledger.cases))


def grows(
    series: str,
    *,
    slowly: float,
    less: float,
    steps: int,
    window: int,
    labels: Labels | None = None,
) -> Cases:
    """An alert on growth within `window` steps of a minute; `steps` is its `for`."""
    return Cases(
        (
            Case("firing", {series: counter((0, 30), (slowly, 200))}, "120m", (labels or {},)),
            Case("edge", {series: counter((0, 30), (slowly * 90, 200))}, f"{30 + steps}m"),
            Case(
                "firing",
                {series: counter((0, 30), (slowly * 90, 200))},
                f"{31 + steps}m",
                (labels or {},),
            ),
            Case("edge", {series: counter((0, 30), (less, 200))}, "120m"),
            # Over as soon as the window is.
            Case(
                "edge",
                {series: counter((slowly * 90, 60), (0, 200))},
                f"{61 + window}m",
            ),
            Case("silent", {series: counter((0, 200))}, "120m"),
        ),
        "1m",
    )


CASES: dict[str, Cases] = {
    # Processes
    "ApiDown": down(API, waits=60),
    "IngestDown": down("tally-ingest", waits=60),
    "ExporterDown": down("tally-exporter", waits=120),
    "WarehouseDown": source_down("warehouse", waits=60),
    "PipelineUnknown": Cases(
        (
            *source_down("pipeline", waits=300).cases,
            Case(
                "edge",
                {
                    named("tally_exporter_source_up", source="pipeline"): steady(0),
                    named("tally_exporter_source_up", source="warehouse"): steady(0),
                },
                "30m",
            ),
            Case(
                "firing",
                {
                    named("tally_exporter_source_up", source="pipeline"): steady(0),
                    named("tally_exporter_source_up", source="warehouse"): steady(1),
                },
                "30m",
                ({"source": "pipeline"},),
            ),
        )
    ),
    "CertificateCheckFails": source_down("tls", waits=900),
    "DagsterDown": source_down("dagster", waits=120),
    "DagsterDaemonDown": age(
        named("tally_dagster_daemon_heartbeat_timestamp_seconds", daemon="sensor"),
        {},
        over=60,
        waits=60,
        around={
            named("tally_dagster_daemon_heartbeat_timestamp_seconds", daemon="asset"): "0+15x400"
        },
    ),
    "DagsterRunFailed": level(
        named("tally_dagster_last_run_failed", exported_job="deep"),
        {"exported_job": "deep"},
        beyond=1,
        edge=0,
        well=0,
        waits=600,
    ),
    # Warehouse
    "WarehouseDiskLow": level(
        named(FREE, **DISK),
        DISK,
        beyond=149,
        edge=150,
        well=900,
        waits=600,
        around={named(SIZE, **DISK): steady(1000)},
    ),
    "WarehouseDiskFull": level(
        named(FREE, **DISK),
        DISK,
        beyond=49,
        edge=50,
        well=900,
        waits=120,
        around={named(SIZE, **DISK): steady(1000)},
    ),
    "WarehouseTooManyParts": level(
        "tally_warehouse_fullest_partition_parts", {}, beyond=501, edge=500, well=3, waits=900
    ),
    "WarehouseInsertsRejected": grows(REJECTED, slowly=0.1, less=0, steps=0, window=5),
    # Keys
    "CertificateExpires": Cases(
        (
            Case(
                "firing",
                {
                    named("tally_tls_certificate_expiry_timestamp_seconds", endpoint="api"): steady(
                        1209600
                    )
                },
                "915s",
                ({"endpoint": "api"},),
            ),
            Case(
                "edge",
                {
                    named("tally_tls_certificate_expiry_timestamp_seconds", endpoint="api"): steady(
                        1209600
                    )
                },
                "900s",
            ),
            Case(
                "silent",
                {
                    named("tally_tls_certificate_expiry_timestamp_seconds", endpoint="api"): steady(
                        9e6
                    )
                },
                "30m",
            ),
        )
    ),
    "SigningKeysOld": age("tally_jwks_modified_timestamp_seconds", {}, over=7776000, waits=3600),
    "NoSigningKeys": level("tally_jwks_keys", {}, beyond=0, edge=1, well=2, waits=60),
    # Ingestion
    "IngestNotReady": level(
        named("tally_ingest_ready", **HERE), HERE, beyond=0, edge=1, well=1, waits=60
    ),
    "IngestPaused": level("tally_ingest_paused", {}, beyond=1, edge=0, well=0, waits=0),
    "IngestLagHigh": level(
        named(LAG, partition="0"),
        {},
        beyond=30001,
        edge=30000,
        well=0,
        waits=300,
        around={named(LAG, partition="1"): steady(20000)},
    ),
    "IngestStalled": Cases(
        (
            *age(STORED, {}, over=120, waits=60, around={LAG: steady(1)}).cases,
            Case("edge", {STORED: steady(-120), LAG: steady(0)}, "30m"),
        )
    ),
    "IngestBackpressure": Cases(
        (
            Case(
                "firing",
                {"tally_ingest_backpressure_seconds_total": counter((9, 400))},
                "855s",
                ({},),
            ),
            Case("edge", {"tally_ingest_backpressure_seconds_total": counter((9, 400))}, "840s"),
            Case("edge", {"tally_ingest_backpressure_seconds_total": counter((7.4, 400))}, "30m"),
            Case("silent", {"tally_ingest_backpressure_seconds_total": counter((0, 400))}, "30m"),
        )
    ),
    "IngestLoss": loss(0.001),
    "IngestLossHigh": loss(0.005),
    "DeadLetterSurge": Cases(
        (
            Case(
                "firing",
                {DEAD: counter((0, 10), (60, 90)), READ: counter((0, 10), (1000, 90))},
                "16m",
                ({},),
            ),
            Case(
                "edge",
                {DEAD: counter((0, 10), (60, 90)), READ: counter((0, 10), (1000, 90))},
                "15m",
            ),
            Case("edge", {DEAD: counter((49, 100)), READ: counter((1000, 100))}, "30m"),
            Case("firing", {DEAD: counter((6, 100)), READ: counter((100, 100))}, "30m", ({},)),
            Case("edge", {DEAD: counter((3.9, 100)), READ: counter((3.9, 100))}, "30m"),
            Case("silent", {DEAD: counter((0, 100)), READ: counter((1000, 100))}, "30m"),
        ),
        "1m",
    ),
    # Freshness
    "NothingArrives": age("tally_visible_event_timestamp_seconds", {}, over=900, waits=300),
    "MartsBehind": Cases(
        (
            *age(PUBLISHED, {}, over=900, waits=300, around={BEHIND: steady(1)}).cases,
            Case("edge", {PUBLISHED: steady(-900), BEHIND: steady(0)}, "30m"),
        )
    ),
    # Quality
    "QualityHeld": level("tally_quality_held", {}, beyond=1, edge=0, well=0, waits=600),
    "QualityCheckFailed": level(
        quality("a"), {"check": "a", "blocking": "true"}, beyond=1, edge=0, well=0, waits=300
    ),
    "QualityChecksStopped": age(
        named("tally_quality_check_evaluated_timestamp_seconds", check="a"),
        {},
        over=2700,
        waits=300,
    ),
    "QualityCheckMissing": age(
        named("tally_quality_check_evaluated_timestamp_seconds", check="a"),
        {"check": "a"},
        over=100800,
        waits=900,
    ),
    "NegativeGoldBalance": level(
        quality("no_balance_was_negative"),
        {"check": "no_balance_was_negative", "blocking": "true"},
        beyond=1,
        edge=0,
        well=0,
        waits=0,
        around={quality("another"): steady(1)},
    ),
    "VerifyDiffers": level("tally_verify_differences", {}, beyond=1, edge=0, well=0, waits=0),
    # Objectives
    "ApiErrorBudgetBurnsIn2Days": burn(Errors(), 0.072, long=60, short=5, step="1m", steps=2),
    "ApiErrorBudgetBurnsIn5Days": burn(Errors(), 0.03, long=36, short=3, step="10m", steps=1),
    "ApiErrorBudgetBurnsIn10Days": burn(Errors(), 0.015, long=48, short=4, step="30m", steps=1),
    "ApiErrorBudgetBurns": burn(Errors(), 0.005, long=36, short=3, step="2h", steps=1),
    "ApiReadsSlow": burn(READS, 0.3, long=60, short=5, step="1m", steps=2),
    "ApiReadsSlowly": burn(READS, 0.05, long=36, short=3, step="10m", steps=2),
    "ApiWritesSlow": burn(WRITES, 0.3, long=60, short=5, step="1m", steps=2),
    "ApiWritesSlowly": burn(WRITES, 0.05, long=36, short=3, step="10m", steps=2),
    "ApiReadsMissTheirGoal": p95(
        HTTP,
        {"job": API, "route": "/api/users/stats"},
        {"job": API, "route": "/api/actions"},
        (0.01, 0.025, 0.04),
        900,
    ),
    "ApiWritesMissTheirGoal": p95(
        HTTP,
        {"job": API, "route": "/api/actions"},
        {"job": API, "route": "/api/users/stats"},
        (0.025, 0.05, 0.06),
        900,
    ),
    "RealtimePushesSlow": p95(
        "realtime_event_lag_ms", {"job": API}, {"job": "another"}, (150, 250, 500), 600
    ),
    # The game
    "ShopSlow": p95(
        BACKEND,
        {"area": "shop", "status": "2xx"},
        {"area": "auth", "status": "2xx"},
        (0.1, 0.4, 0.5),
        600,
    ),
    "ShopErrors": Cases(
        (
            Case(
                "firing",
                {
                    backend("shop", "5xx"): counter((11, 400)),
                    backend("shop", "2xx"): counter((989, 400)),
                    backend("auth", "2xx"): counter((9e6, 400)),
                },
                "315s",
                ({},),
            ),
            Case(
                "edge",
                {
                    backend("shop", "5xx"): counter((11, 400)),
                    backend("shop", "2xx"): counter((989, 400)),
                },
                "300s",
            ),
            Case(
                "edge",
                {
                    backend("shop", "5xx"): counter((9, 400)),
                    backend("shop", "2xx"): counter((991, 400)),
                    backend("auth", "5xx"): counter((9e6, 400)),
                },
                "30m",
            ),
            Case("silent", {backend("shop", "2xx"): counter((1000, 400))}, "30m"),
        )
    ),
    "ShopPurchasesFail": Cases(
        (
            Case("firing", {FAILED: counter((26, 400)), BOUGHT: counter((74, 400))}, "615s", ({},)),
            Case("edge", {FAILED: counter((26, 400)), BOUGHT: counter((74, 400))}, "600s"),
            Case("edge", {FAILED: counter((24, 400)), BOUGHT: counter((76, 400))}, "30m"),
            Case("silent", {FAILED: counter((0, 400)), BOUGHT: counter((76, 400))}, "30m"),
        )
    ),
    "LoginLockoutSurge": grows(LOCKED, slowly=6, less=4.9, steps=5, window=10),
    "LegacyWebSocketInUse": grows(
        named(LEGACY, outcome="accepted"), slowly=0.1, less=0, steps=15, window=5
    ),
    "InviteCodesFail": Cases(
        (
            Case("firing", invites("4xx", (0, 20), (15, 60), good=20), "26m", ({},)),
            Case("edge", invites("4xx", (0, 20), (15, 60), good=20), "25m"),
            Case("firing", invites("4xx", (1.5, 90), good=2), "60m", ({},)),
            Case("edge", invites("4xx", (29, 90), good=71), "60m"),
            Case("edge", invites("4xx", (0.9, 90), good=1), "60m"),
            Case(
                "silent",
                {
                    backend("invite", "2xx"): counter((9, 90)),
                    backend("shop", "4xx"): counter((9e6, 90)),
                },
                "60m",
            ),
        ),
        "1m",
    ),
    "InviteCodesBroken": Cases(
        (
            Case("firing", invites("5xx", (0, 20), (15, 60)), "26m", ({},)),
            Case("edge", invites("5xx", (0, 20), (15, 60)), "25m"),
            Case("firing", invites("5xx", (0.8, 90)), "60m", ({},)),
            Case("edge", invites("5xx", (0.4, 90)), "60m"),
            Case(
                "silent",
                {
                    backend("invite", "2xx"): counter((9, 90)),
                    backend("shop", "5xx"): counter((9e6, 90)),
                },
                "60m",
            ),
        ),
        "1m",
    ),
}
