"""Raw as Parquet files and back: what everything else is computed from, and no broker keeps.

A backup is of one moment, the end of the ledger when it began: a restored warehouse goes on from
there, and consumption with it. A message past that moment may be in `events` already; it arrives
again and is the same event.
"""

import json
import shutil
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from clickhouse_connect.driver import Client

from ingest.migrations import pending
from tally.errors import TallyError
from tally.warehouse import stream_arrow

MANIFEST = "backup.json"
KEPT = 7

_PREFIX = "raw-"
_PARTIAL = ".partial"
_ROWS_AN_INSERT = 100_000

_UNTIL_THE_END = (
    "where toInt64({offset}) <= transform(toString(stream), {streams}, {ends}, toInt64(-1))"
)

# In the order of a restore. The ledger says that the rest is readable, so it is the last.
_TABLES = {
    "erased_users": "select * from raw.erased_users final",
    "events": "select * from raw.events final",
    "round_events": "select * from raw.round_events final",
    # Only the first use of an id decides (ingest/claims.py), and a restored row has another number.
    "event_ids": "select * from raw.event_ids order by event_id, _block_number, offset, stream "
    "limit 1 by event_id",
    "dead_letter_replays": "select * from raw.dead_letter_replays final",
    "recorded_hours": "select * from raw.recorded_hours final",
    "dead_letters": f"select * from raw.dead_letters final {_UNTIL_THE_END}",
    "erased_offsets": f"select * from raw.erased_offsets final {_UNTIL_THE_END}",
    "arrivals": f"select * from raw.arrivals {_UNTIL_THE_END}",
    "ingest_ledger": f"select * from raw.ingest_ledger final {_UNTIL_THE_END}",
}
_OFFSETS = {"ingest_ledger": "last_offset"}
_ENDS = "select toString(stream), max(last_offset) from raw.ingest_ledger group by stream"


def back_up(client: Client, folder: Path, progress: Callable[[str], None]) -> Path:
    """Write a backup into a new folder of `folder`, and keep the latest `KEPT` there.

    The new folder has its name once it is whole. Raises `TallyError` where there is no raw.
    """
    if not client.command("exists raw.ingest_ledger"):
        raise TallyError("The warehouse has no raw to back up.", hint="Run `tally migrate`.")
    began = datetime.now(UTC)
    ends = {stream: int(end) for stream, end in client.query(_ENDS).result_rows}
    whole = folder / f"{_PREFIX}{began:%Y%m%dT%H%M%SZ}"
    partial = whole.with_name(whole.name + _PARTIAL)
    partial.mkdir(parents=True)
    try:
        rows = {
            table: _write(stream_arrow(client, _query(table, ends)), partial / f"{table}.parquet")
            for table in _each(_TABLES, progress)
        }
        manifest = {"began_at": began.isoformat(timespec="seconds"), "ends": ends, "rows": rows}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2))
        partial.rename(whole)
    except BaseException:
        shutil.rmtree(partial)
        raise
    for old in backups(folder)[:-KEPT]:
        shutil.rmtree(old)
    return whole


def backups(folder: Path) -> list[Path]:
    """The whole backups in a folder, the latest last."""
    return sorted(path.parent for path in folder.glob(f"{_PREFIX}*Z/{MANIFEST}"))


def read_manifest(backup: Path) -> dict[str, Any]:
    """What a backup holds.

    Raises `TallyError` where the folder is no backup.
    """
    try:
        manifest: dict[str, Any] = json.loads((backup / MANIFEST).read_text())
    except FileNotFoundError:
        raise TallyError(f"{backup} is no backup: it has no {MANIFEST}.") from None
    return manifest


def restore(client: Client, backup: Path, progress: Callable[[str], None]) -> dict[str, int]:
    """Put a backup into a raw that is migrated and empty; the rows of each table.

    A restore that died leaves rows and no ledger: the next one says so. Raises `TallyError` where
    raw is not as it should be or the backup has lost rows.
    """
    expected = read_manifest(backup)["rows"]
    if waiting := pending(client):
        raise TallyError(
            f"Raw is not at its latest schema: {len(waiting)} migrations.",
            hint="Run `tally migrate`.",
        )
    filled = [table for table in _TABLES if client.command(f"select count() from raw.{table}")]
    if filled:
        raise TallyError(
            f"Raw is not empty: {', '.join(filled)}.",
            hint="A backup is restored into a warehouse of its own; truncate them where they are "
            "what a broken restore has left.",
        )
    restored = {}
    # A backup of an older version has fewer tables.
    for table in _each([table for table in _TABLES if table in expected], progress):
        restored[table] = _insert(client, table, backup / f"{table}.parquet")
        if restored[table] != expected[table]:
            raise TallyError(
                f"{table} has {restored[table]:,} rows in {backup}, and had {expected[table]:,}."
            )
    return restored


def _each(tables: Collection[str], progress: Callable[[str], None]) -> Iterator[str]:
    for nth, table in enumerate(tables, start=1):
        progress(f"{table} ({nth} of {len(tables)})")
        yield table


def _query(table: str, ends: dict[str, int]) -> str:
    offset = _OFFSETS.get(table, "offset")
    streams = ", ".join(
        "'" + stream.replace("\\", r"\\").replace("'", r"\'") + "'" for stream in ends
    )
    return (
        _TABLES[table]
        .replace("{offset}", offset)
        .replace("{streams}", f"cast([{streams}] as Array(String))")
        .replace("{ends}", f"cast({list(ends.values())} as Array(Int64))")
    )


def _write(blocks: Iterator[pa.Table], path: Path) -> int:
    first = next(blocks)
    rows = 0
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for block in chain([first], blocks):
            writer.write_table(block)
            rows += block.num_rows
    return rows


def _insert(client: Client, table: str, path: Path) -> int:
    rows = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AN_INSERT):
            client.insert_arrow(
                f"raw.{table}",
                pa.Table.from_batches([batch]),
                # Equal blocks are equal rows here, and no second try of the same.
                settings={"insert_deduplicate": 0, "async_insert": 0},
            )
            rows += batch.num_rows
    return rows
