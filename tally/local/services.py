"""The table of the services of the local stack: how each starts, after what, and when it is ready.

A new service is one more row of `SERVICES`.
"""

import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tally.dagster import ask
from tally.errors import TallyError
from tally.local import monitoring
from tally.local.layout import Layout
from tally.settings import Settings

# On two cores under load 8 an answer took over 2 s, and a service that is slow is still up.
PROBE_SECONDS = 5


@dataclass(frozen=True)
class Context:
    """What a row of the table may look at: the paths, the endpoints, and the stack's own ports."""

    layout: Layout
    settings: Settings
    ports: dict[str, int]


@dataclass(frozen=True)
class Service:
    """One process of the stack."""

    name: str
    command: Callable[[Context], list[str]]
    ready: Callable[[Context], bool] | None
    """Whether it answers; None for a command that is ready when it has ended with success.

    Raises `TallyError` where waiting longer is of no use.
    """
    after: tuple[str, ...] = ()
    """Services that must be ready before this one starts."""
    replaced_by: str | None = None
    """The setting that names an outside service; where the environment sets it, none is started."""
    part: str | None = None
    """A name for `--with` and `--without` that it shares with others."""
    follows: str | None = None
    """The service whose restart changes its address, so that this one has to be restarted too."""
    limit_seconds: float = 60
    optional: bool = False
    """Started only where `--with` names it."""

    def is_named(self, names: Collection[str]) -> bool:
        """Whether one of the names means this service."""
        return self.name in names or self.part in names


def _python(module: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


def _tally(command: str, context: Context, *options: str) -> list[str]:
    return _python("tally", command, "--home", context.layout.home, *options)


def _answers(url: str) -> bool:
    """Whether a GET of the URL gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as response:  # noqa: S310
            return bool(response.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def _accepts(host: str, port: int) -> bool:
    """Whether something listens."""
    try:
        with socket.create_connection((host, port), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False


def _clickhouse(context: Context) -> list[str]:
    layout = context.layout
    port = urlsplit(context.settings.endpoint("clickhouse_url")).port
    return _python(
        "tally.local.clickhouse",
        *("--path", layout.home / "clickhouse"),
        *("--port", str(port)),
        *("--port-file", layout.run / "clickhouse"),
    )


def _kafka(context: Context) -> list[str]:
    return _python("tally.local.kafka", "--port-file", context.layout.kafka_address)


def _postgres(context: Context) -> list[str]:
    layout = context.layout
    return _python(
        "tally.local.postgres",
        *("--path", layout.home / "postgres"),
        *("--port", str(context.ports["postgres"])),
        *("--port-file", layout.run / "postgres"),
    )


def _simulator(context: Context) -> list[str]:
    """Several hundred players with two months behind them, and what they do from now on."""
    return [*_tally("simulate", context), "--users", "600", "--days", "60", "--live"]


def _parse(context: Context) -> list[str]:
    return _tally("prepare", context, "--parse-only")


def _prometheus(context: Context) -> list[str]:
    layout = context.layout
    return [
        monitoring.program("prometheus"),
        f"--config.file={monitoring.prometheus_file(layout)}",
        f"--storage.tsdb.path={layout.home / 'prometheus'}",
        "--storage.tsdb.retention.time=7d",
        f"--web.listen-address=127.0.0.1:{context.ports['prometheus']}",
    ]


def _alertmanager(context: Context) -> list[str]:
    layout = context.layout
    return [
        monitoring.program("alertmanager"),
        f"--config.file={monitoring.alertmanager_file(layout)}",
        f"--storage.path={layout.home / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{context.ports['alertmanager']}",
        "--cluster.listen-address=",  # one alone has nobody to gossip with
    ]


def _dagster_code(context: Context) -> list[str]:
    # Not `dagster code-server start`: its proxy is one more process that imports Dagster, and ends
    # the server where no heartbeat came through for 30 s, which a busy machine once managed.
    return _python(
        "dagster",
        *("api", "grpc", "-m", "orchestration.definitions"),
        *("--host", "127.0.0.1", "--port", str(context.ports["dagster_code"])),
    )


def _dagster_webserver(context: Context) -> list[str]:
    return _python(
        "dagster_webserver",
        *("--host", "127.0.0.1", "--port", str(context.ports["dagster"])),
        *("--workspace", context.layout.dagster / "workspace.yaml"),
    )


def _dagster_daemon(context: Context) -> list[str]:
    return _python(
        "dagster._daemon", "run", "--workspace", context.layout.dagster / "workspace.yaml"
    )


def broker_address(layout: Layout) -> str | None:
    """`host:port` of the embedded broker that now accepts connections.

    The file may be that of a broker that has died; its port is then closed.
    """
    try:
        address = layout.kafka_address.read_text()
    except FileNotFoundError:
        return None
    host, _, port = address.rpartition(":")
    return address if _accepts(host, int(port)) else None


def _clickhouse_ready(context: Context) -> bool:
    return _answers(f"{context.settings.clickhouse_url}/ping")


def _kafka_ready(context: Context) -> bool:
    return broker_address(context.layout) is not None


def _postgres_ready(context: Context) -> bool:
    import psycopg

    url = f"{context.settings.postgres_url}?connect_timeout={PROBE_SECONDS}"
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def _runs(_: Context) -> bool:
    """Of a service that answers nobody: it is ready when it runs."""
    return True


def _ingest_ready(context: Context) -> bool:
    return _answers(f"http://127.0.0.1:{context.settings.ingest_metrics_port}/metrics")


def _exporter_ready(context: Context) -> bool:
    port = context.settings.exporter_metrics_port
    return port is not None and _accepts("127.0.0.1", port)


def _prometheus_ready(context: Context) -> bool:
    return _answers(f"{context.settings.prometheus_url}/-/ready")


def _alertmanager_ready(context: Context) -> bool:
    return _answers(f"{context.settings.alertmanager_url}/-/ready")


def _api_ready(context: Context) -> bool:
    return _answers(f"{context.settings.api_url}/readyz")


def _dagster_code_ready(context: Context) -> bool:
    return _accepts("127.0.0.1", context.ports["dagster_code"])


_CODE_LOCATION = """{ workspaceOrError { ... on Workspace { locationEntries {
  loadStatus locationOrLoadError { __typename
    ... on PythonError { message causes { message } } } } } } }"""
_DAEMON_HEALTH = '{ instance { daemonHealth { daemonStatus(daemonType: "SENSOR") { healthy } } } }'


def _dagster_answer(context: Context, query: str) -> dict[str, object] | None:
    """Dagster's answer to a GraphQL query, or None while it gives none."""
    try:
        return ask(context.settings.dagster_url or "", query, PROBE_SECONDS)
    except (OSError, ValueError):
        return None


def _dagster_webserver_ready(context: Context) -> bool:
    """It serves the code location, and that location was loaded without an error."""
    match _dagster_answer(context, _CODE_LOCATION):
        case {"workspaceOrError": {"locationEntries": [{"loadStatus": "LOADED", **entry}]}}:
            match entry["locationOrLoadError"]:
                case {"__typename": "PythonError", "message": message, "causes": causes}:
                    reasons = [message, *(cause["message"] for cause in causes)]
                    raise TallyError(
                        "Dagster cannot load orchestration.definitions:\n"
                        + "\n".join(reason.strip() for reason in reasons)
                    )
                case _:
                    return True
    return False


def _dagster_daemon_ready(context: Context) -> bool:
    match _dagster_answer(context, _DAEMON_HEALTH):
        case {"instance": {"daemonHealth": {"daemonStatus": {"healthy": True}}}}:
            return True
    return False


SERVICES: tuple[Service, ...] = (
    Service("clickhouse", _clickhouse, _clickhouse_ready, replaced_by="clickhouse_url"),
    Service("kafka", _kafka, _kafka_ready, replaced_by="kafka_bootstrap"),
    Service("migrate", partial(_tally, "migrate"), None, after=("clickhouse",)),
    # dbt's manifest, which Dagster's graph is made of; it needs no warehouse, so it starts at once.
    Service(
        "parse",
        _parse,
        None,
        part="prepare",
        limit_seconds=180,
    ),
    # dbt's relations, which the API reads and the runs build on.
    Service(
        "prepare", partial(_tally, "prepare"), None, after=("migrate", "parse"), limit_seconds=180
    ),
    Service(
        "ingest",
        partial(_tally, "ingest"),
        _ingest_ready,
        after=("migrate", "kafka"),
        follows="kafka",
    ),
    Service(
        "api",
        partial(_tally, "serve"),
        _api_ready,
        after=("prepare", "kafka"),
        replaced_by="api_url",
        follows="kafka",
    ),
    # It asks the services at each scrape and waits for none of them.
    Service(
        "exporter",
        partial(_tally, "metrics-exporter"),
        _exporter_ready,
        after=("clickhouse",),
        part="monitoring",
        optional=True,
    ),
    Service("alertmanager", _alertmanager, _alertmanager_ready, part="monitoring", optional=True),
    Service("prometheus", _prometheus, _prometheus_ready, part="monitoring", optional=True),
    # The simulator's system of record.
    Service(
        "postgres",
        _postgres,
        _postgres_ready,
        replaced_by="postgres_url",
        part="simulator",
        optional=True,
    ),
    Service(
        "simulator",
        _simulator,
        _runs,
        after=("postgres", "ingest"),
        follows="kafka",
        optional=True,
    ),
    Service(
        "dagster-code",
        _dagster_code,
        _dagster_code_ready,
        after=("parse",),
        replaced_by="dagster_url",
        part="dagster",
        limit_seconds=120,
    ),
    Service(
        "dagster-webserver",
        _dagster_webserver,
        _dagster_webserver_ready,
        after=("dagster-code",),
        replaced_by="dagster_url",
        part="dagster",
        limit_seconds=120,
    ),
    Service(
        "dagster-daemon",
        _dagster_daemon,
        _dagster_daemon_ready,
        after=("dagster-code", "prepare"),
        replaced_by="dagster_url",
        part="dagster",
        limit_seconds=120,
    ),
)
