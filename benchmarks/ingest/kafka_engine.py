"""ClickHouse's Kafka table engine, the peer: run by an interpreter that has chDB 4.0.0.

`python kafka_engine.py BOOTSTRAP TOPIC ROWS default|best FOLDER` prints one JSON line. `default` is
what the documentation begins with: typed columns by JSONEachRow and a view into a MergeTree, one
consumer. `best` takes messages whole (RawBLOB), parses once in the view, and has two consumers.
"""

import json
import resource
import sys
import time
import uuid

from chdb import session

LIMIT_S = 180.0
POLL_S = 0.05
# The engine shows its rows a block at a time, and the last block only when its interval is over. So
# the clock stops at the first moment when nearly all rows are there, and counts what is there.
NEARLY_ALL = 0.9

_COLUMNS = """
    event_id UUID,
    user_id UInt64,
    action_type LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    client_ts Nullable(DateTime64(3, 'UTC')),
    session_id String,
    source LowCardinality(String),
    context String
"""

TARGET = f"""
create table peer.events ({_COLUMNS}) engine = MergeTree
partition by toYYYYMM(occurred_at, 'UTC')
order by (user_id, occurred_at, event_id)
"""

DEFAULT = """
create table peer.queue ({columns}) engine = Kafka
settings kafka_broker_list = '{bootstrap}', kafka_topic_list = '{topic}',
    kafka_group_name = '{group}', kafka_format = 'JSONEachRow',
    date_time_input_format = 'best_effort'
"""

BEST = """
create table peer.queue (message String) engine = Kafka
settings kafka_broker_list = '{bootstrap}', kafka_topic_list = '{topic}',
    kafka_group_name = '{group}', kafka_format = 'RawBLOB',
    kafka_num_consumers = 2, kafka_thread_per_consumer = 1, kafka_max_block_size = 65536
"""

DEFAULT_VIEW = "create materialized view peer.view to peer.events as select * from peer.queue"

BEST_VIEW = """
create materialized view peer.view to peer.events as
with JSONExtract(message, 'Tuple(event_id UUID, user_id UInt64,
    action_type LowCardinality(String), occurred_at String, client_ts Nullable(String),
    session_id String, source LowCardinality(String), context String)') as e
select
    e.1 as event_id, e.2 as user_id, e.3 as action_type,
    parseDateTime64BestEffort(e.4, 3, 'UTC') as occurred_at,
    parseDateTime64BestEffortOrNull(e.5, 3, 'UTC') as client_ts,
    e.6 as session_id, e.7 as source, e.8 as context
from peer.queue
"""


def cpu_seconds() -> float:
    """Of this process, which is the whole engine."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Consume the topic and print the figures."""
    bootstrap, topic, rows, variant, folder = sys.argv[1:]
    engine = session.Session(folder)

    def number(sql: str) -> int:
        return int(str(engine.query(sql)).strip() or 0)

    engine.query("create database peer")
    engine.query(TARGET)
    queue = DEFAULT if variant == "default" else BEST
    group = f"peer-{uuid.uuid4()}"
    engine.query(queue.format(columns=_COLUMNS, bootstrap=bootstrap, topic=topic, group=group))
    engine.query(DEFAULT_VIEW if variant == "default" else BEST_VIEW)
    limit = time.monotonic() + LIMIT_S
    while not number("select sum(num_messages_read) from system.kafka_consumers"):
        time.sleep(0.01)
        if time.monotonic() > limit:
            sys.exit("the engine read nothing")
    started, cpu = time.monotonic(), cpu_seconds()
    seen = 0
    while seen < NEARLY_ALL * int(rows):
        time.sleep(POLL_S)
        seen = number("select count() from peer.events")
        if time.monotonic() > limit:
            sys.exit(f"only {seen} rows after {LIMIT_S} s")
    figures = {
        "rows": seen,
        "seconds": time.monotonic() - started,
        "cpu": {"engine": cpu_seconds() - cpu},
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(figures), flush=True)
    # The engine's consumers are not ended in order: there is nothing to keep.
    engine.query("drop table peer.view")


if __name__ == "__main__":
    main()
