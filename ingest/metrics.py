"""What ingestion tells Prometheus; `ingest/health.py` serves it."""

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("tally_ingest_messages_total", "Messages read from Kafka.")
ROWS = Counter("tally_ingest_rows_total", "Accepted events stored.")
BATCHES = Counter("tally_ingest_batches_total", "Batches stored.")
DEAD_LETTERS = Counter("tally_ingest_dead_letters_total", "Messages rejected.", ["reason"])
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
STORED_OFFSET = Gauge(
    "tally_ingest_stored_offset", "The last offset that is readable.", ["partition"]
)
LAG = Gauge("tally_ingest_lag_messages", "Messages in Kafka that are not stored.", ["partition"])
PAUSED = Gauge("tally_ingest_paused", "1 while a surge of bad messages holds ingestion.")
