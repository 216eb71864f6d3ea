"""Asks the sources at a scrape, each in its own thread, and answers without the ones that fail.

A source that is away says so in `tally_exporter_source_up`: samples that are missing raise no alert
by themselves.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from tally.exporter.families import gauges

logger = logging.getLogger(__name__)

# Prometheus waits for ten seconds.
DEADLINE_SECONDS = 8.0

Source = Callable[[], Iterable[Metric]]


class Sources(Collector):
    """The sources by name. One that is still being asked is not asked again."""

    def __init__(self, sources: dict[str, Source]) -> None:
        self._sources = sources
        self._pool = ThreadPoolExecutor(len(sources), thread_name_prefix="source")
        self._asked: dict[str, Future[tuple[list[Metric], float]]] = {}

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register it must not wait for anybody."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The samples of every source that answers, and which did."""
        for name, source in self._sources.items():
            if name not in self._asked:
                self._asked[name] = self._pool.submit(_timed, source)
        wait(self._asked.values(), timeout=DEADLINE_SECONDS)
        up: dict[str, bool] = {}
        seconds: dict[str, float] = {}
        for name in self._sources:
            up[name] = False
            if not self._asked[name].done():
                logger.error("%s: no answer within %.0f s", name, DEADLINE_SECONDS)
                continue
            try:
                metrics, seconds[name] = self._asked.pop(name).result()
            except Exception as error:
                logger.error("%s: %s: %s", name, type(error).__name__, error)
            else:
                up[name] = True
                yield from metrics
        yield gauges(
            "tally_exporter_source_up",
            "1 where the source answered this scrape.",
            ["source"],
            [((name,), is_up) for name, is_up in up.items()],
        )
        yield gauges(
            "tally_exporter_source_seconds",
            "Seconds that the source took.",
            ["source"],
            [((name,), taken) for name, taken in seconds.items()],
        )


def _timed(source: Source) -> tuple[list[Metric], float]:
    started = time.perf_counter()
    return list(source()), time.perf_counter() - started
