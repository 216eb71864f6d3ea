"""What ingestion tells Prometheus; `ingest/health.py` serves it."""

from collections.abc import Iterable
from contextlib import suppress

from prometheus_client import Counter, Gauge, Histogram

from ingest.health import HEALTH
from tally.events import Reason

MESSAGES = Counter("tally_ingest_messages_total", "Messages read from Kafka.")
BYTES = Counter("tally_ingest_bytes_total", "Bytes of keys and values of stored messages.")
ROWS = Counter("tally_ingest_rows_total", "Accepted events stored.")
BATCHES = Counter("tally_ingest_batches_total", "Batches stored.")
DEAD_LETTERS = Counter("tally_ingest_dead_letters_total", "Messages rejected.", ["reason"])
for _reason in Reason:  # a counter that appears with its first event shows no increase
    DEAD_LETTERS.labels(reason=_reason.value)
UNKNOWN_ACTIONS = Counter(
    "tally_ingest_unknown_actions_total", "Accepted events of a type that the contract lacks."
)
LOST = Counter(
    "tally_ingest_lost_offsets_total", "Offsets gone before they were read.", ["partition"]
)
GAPS = Counter("tally_ingest_gap_offsets_total", "Offsets that hold no message.", ["partition"])
REPLACED = Counter("tally_ingest_replaced_streams_total", "Streams that cannot be read any more.")
RETRIES = Counter("tally_ingest_retries_total", "Attempts that failed and were repeated.", ["step"])
INSERT_SECONDS = Histogram(
    "tally_ingest_insert_seconds",
    "Seconds of one acknowledged insert.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
BATCH_AGE_SECONDS = Histogram(
    "tally_ingest_batch_age_seconds",
    "Seconds from the first message of a batch being read to all of it being readable.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
STORED_OFFSET = Gauge(
    "tally_ingest_stored_offset", "The last offset that is readable.", ["partition"]
)
LAG = Gauge("tally_ingest_lag_messages", "Messages in Kafka that are not stored.", ["partition"])
LAST_STORED = Gauge(
    "tally_ingest_last_stored_timestamp_seconds", "When the latest batch became readable."
)
REBALANCES = Counter("tally_ingest_rebalances_total", "Assignments of partitions by the group.")
BUFFERED_BYTES = Gauge("tally_ingest_buffered_bytes", "Message bytes read and not yet stored.")
BACKPRESSURE_SECONDS = Counter(
    "tally_ingest_backpressure_seconds_total",
    "Seconds in which nothing was read because the batches under way filled the memory.",
)
READY = Gauge("tally_ingest_ready", "1 while /readyz says so.")
READY.set_function(lambda: float(bool(HEALTH.report()["ready"])))
PAUSED = Gauge("tally_ingest_paused", "1 while a surge of bad messages holds ingestion.")


def forget(partitions: Iterable[int]) -> None:
    """Say nothing more of partitions that another consumer has now."""
    for partition in partitions:
        for gauge in (LAG, STORED_OFFSET):
            with suppress(KeyError):
                gauge.remove(str(partition))
