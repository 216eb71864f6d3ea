"""`tally metrics-exporter`: the exporter as a process."""

import logging
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import closing

import click
from clickhouse_connect.driver import Client
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric

from tally.cli import with_settings
from tally.errors import TallyError
from tally.exporter import certificates, dagster, pipeline, warehouse
from tally.exporter.collector import DEADLINE_SECONDS, Source, Sources
from tally.settings import Settings
from tally.warehouse import connect

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = DEADLINE_SECONDS - 1


@click.command("metrics-exporter")
@with_settings
def metrics_exporter(settings: Settings) -> None:
    """Serve what Prometheus asks of warehouse, pipeline and Dagster until SIGTERM.

    Nothing has to be there: what does not answer is told as `tally_exporter_source_up` 0.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if settings.exporter_metrics_port is None:
        raise TallyError(
            "The exporter has no port: TALLY_EXPORTER_METRICS_PORT is not set.",
            hint="Set it; `tally up` chooses one for the local stack.",
        )
    settings.endpoint("clickhouse_url")
    registry = CollectorRegistry()
    registry.register(Sources(sources(settings)))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server, thread = start_http_server(
        settings.exporter_metrics_port, addr=settings.metrics_host, registry=registry
    )
    logger.info("metrics on http://%s:%d/metrics", settings.metrics_host, server.server_port)
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join()


def sources(settings: Settings) -> dict[str, Source]:
    """What is asked at each scrape; Dagster only where it has an address."""
    found: dict[str, Source] = {
        "warehouse": _of_warehouse(settings, warehouse.read),
        "pipeline": _of_warehouse(settings, pipeline.read),
        "tls": lambda: certificates.read(_endpoints(settings), TIMEOUT_SECONDS),
    }
    if (url := settings.dagster_url) is not None:
        found["dagster"] = lambda: dagster.read(url, TIMEOUT_SECONDS)
    return found


def _of_warehouse(settings: Settings, read: Callable[[Client], Iterable[Metric]]) -> Source:
    def ask() -> list[Metric]:
        with closing(connect(settings, timeout_seconds=TIMEOUT_SECONDS)) as client:
            return list(read(client))

    return ask


def _endpoints(settings: Settings) -> dict[str, str | None]:
    return {
        "clickhouse": settings.clickhouse_url,
        "api": settings.api_url,
        "dagster": settings.dagster_url,
        "jwks": settings.jwks,
    }
