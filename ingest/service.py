"""The process of ingestion: its event loop, signals, log and memory settings."""

import asyncio
import gc
import logging
import os
import signal

import pyarrow as pa
import uvloop

from ingest import health
from ingest.batch import warm_up
from ingest.consumer import Ingestion
from tally.settings import Settings

logger = logging.getLogger(__name__)

# Cyclic collection costs the consumer a third of its rate, and messages form no cycles.
GC_THRESHOLDS = (100_000, 50, 100)


def run(settings: Settings) -> None:
    """Ingest until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Its errors reach us as exceptions and are told there; its own log repeats them each 0.1 s.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # Named before anything is tried, so that a missing endpoint is an error and not a retry.
    settings.endpoint("clickhouse_url")
    settings.endpoint("kafka_bootstrap")
    # Arrow's own allocator keeps what is freed: in a million messages 641 and 651 MiB at most with
    # it, 531 to 590 without.
    pa.set_memory_pool(pa.system_memory_pool())
    warm_up()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    if settings.ingest_metrics_port is not None:
        health.serve(settings.metrics_host, settings.ingest_metrics_port)
    uvloop.run(_run(settings))
    # The interpreter joins its threads at the end, and one that waits for an answer of a warehouse
    # that hangs waits for minutes: SIGTERM was seen to take longer than a minute.
    logging.shutdown()
    os._exit(0)


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    logger.info(
        "ingesting %s as group %s from %s into %s",
        settings.actions_topic,
        settings.ingest_group,
        settings.kafka_bootstrap,
        settings.clickhouse_url,
    )
    await Ingestion(settings).run(stop)
    logger.info("stopped")
