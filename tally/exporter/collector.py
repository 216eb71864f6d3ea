"""Asks the sources at a scrape, each in its own thread, and answers without the ones that fail.

A source that is away says so in `tally_exporter_source_up`: samples that are missing raise no alert
by themselves.
"""

import logging
import threading
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
_Answer = Future[tuple[list[Metric], float]]


class Sources(Collector):
    """The sources by name. One that is still being asked is not asked again.

    Scrapes that come at once, such as of two Prometheus servers, share its answer.
    """

    def __init__(self, sources: dict[str, Source]) -> None:
        self._sources = sources
        self._pool = ThreadPoolExecutor(len(sources), thread_name_prefix="source")
        self._asked: dict[str, _Answer] = {}  # whose answers no scrape has had yet
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register it must not wait for anybody."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The samples of every source that answers, and which did."""
        asked = self._ask()
        wait(asked.values(), timeout=DEADLINE_SECONDS)
        up: dict[str, bool] = {}
        seconds: dict[str, float] = {}
        for name, answer in asked.items():
            up[name] = False
            if not answer.done():
                logger.error("%s: no answer within %.0f s", name, DEADLINE_SECONDS)
                continue
            with self._lock:
                if self._asked.get(name) is answer:
                    del self._asked[name]
            try:
                metrics, seconds[name] = answer.result()
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

    def _ask(self) -> dict[str, _Answer]:
        with self._lock:
            for name, source in self._sources.items():
                if name not in self._asked:
                    self._asked[name] = self._pool.submit(_timed, source)
            return dict(self._asked)


def _timed(source: Source) -> tuple[list[Metric], float]:
    started = time.perf_counter()
    return list(source()), time.perf_counter() - started
