"""What the warehouse's own tables say of its parts, merges, inserts, queries and disks."""

from collections.abc import Iterator

from clickhouse_connect.driver import Client
from prometheus_client.core import Metric

from tally.exporter.families import counters, gauge, gauges

_PARTS = """
select database, table, count(), sum(rows), sum(bytes_on_disk)
from system.parts
where active and database in ('raw', 'marts', 'published')
group by database, table
"""
_FULLEST_PARTITION = """
select max(parts) from (
    select count() as parts from system.parts where active group by database, table, partition_id
)
"""
_DISKS = "select name, free_space, total_space from system.disks"
_EVENTS = "select event, value from system.events"
_GAUGES = "select metric, value from system.metrics"
_UNFINISHED_MUTATIONS = "select count() from system.mutations where not is_done"

_MICROSECOND = 1e-6
_MILLISECOND = 1e-3


def read(client: Client) -> Iterator[Metric]:
    """The samples of now. Raises `ClickHouseError` or `OSError` where the warehouse is away."""
    parts = client.query(_PARTS).result_rows
    for name, help_text, column in (
        ("tally_warehouse_parts", "Active parts.", 2),
        ("tally_warehouse_rows", "Rows in active parts, superseded versions included.", 3),
        ("tally_warehouse_bytes", "Bytes on disk of active parts.", 4),
    ):
        samples = [((row[0], row[1]), row[column]) for row in parts]
        yield gauges(name, help_text, ["database", "table"], samples)
    ((fullest,),) = client.query(_FULLEST_PARTITION).result_rows
    yield gauge(
        "tally_warehouse_fullest_partition_parts",
        "Active parts of the partition that has most; ClickHouse delays inserts from 1,000.",
        fullest,
    )
    ((mutations,),) = client.query(_UNFINISHED_MUTATIONS).result_rows
    yield gauge("tally_warehouse_mutations", "Mutations that have not ended.", mutations)
    yield from _disks(client)
    yield from _activity(client)


def _disks(client: Client) -> Iterator[Metric]:
    disks = client.query(_DISKS).result_rows
    for name, help_text, column in (
        ("tally_warehouse_disk_free_bytes", "Bytes free on a disk of the warehouse.", 1),
        ("tally_warehouse_disk_size_bytes", "Bytes that the disk holds.", 2),
    ):
        yield gauges(name, help_text, ["disk"], [((row[0],), row[column]) for row in disks])


def _activity(client: Client) -> Iterator[Metric]:
    """What the server has counted since it started."""
    counted = {str(name): int(value) for name, value in client.query(_EVENTS).result_rows}
    now = {str(name): int(value) for name, value in client.query(_GAUGES).result_rows}
    yield gauge("tally_warehouse_merges", "Merges under way.", now.get("Merge", 0))
    yield gauge("tally_warehouse_queries", "Queries under way.", now.get("Query", 0))
    yield gauge(
        "tally_warehouse_memory_bytes", "Memory the server holds.", now.get("MemoryTracking", 0)
    )

    def by_kind(name: str, scale: float = 1) -> list[tuple[tuple[str], float]]:
        return [
            ((kind.lower(),), counted.get(name.format(kind), 0) * scale)
            for kind in ("Select", "Insert")
        ]

    yield counters(
        "tally_warehouse_finished_queries", "Queries by kind.", ["kind"], by_kind("{}Query")
    )
    yield counters(
        "tally_warehouse_failed_queries",
        "Queries that failed, by kind.",
        ["kind"],
        by_kind("Failed{}Query"),
    )
    yield counters(
        "tally_warehouse_query_seconds",
        "Seconds that queries took, by kind.",
        ["kind"],
        by_kind("{}QueryTimeMicroseconds", _MICROSECOND),
    )
    for name, help_text, event, scale in (
        ("inserted_rows", "Rows inserted, views included.", "InsertedRows", 1),
        ("inserted_bytes", "Bytes inserted, uncompressed.", "InsertedBytes", 1),
        ("merged_rows", "Rows read by merges.", "MergedRows", 1),
        ("merge_seconds", "Seconds that merges took.", "MergeTotalMilliseconds", _MILLISECOND),
        ("delayed_inserts", "Inserts delayed for too many parts.", "DelayedInserts", 1),
        ("rejected_inserts", "Inserts refused for too many parts.", "RejectedInserts", 1),
    ):
        yield counters(
            f"tally_warehouse_{name}", help_text, [], [((), counted.get(event, 0) * scale)]
        )
