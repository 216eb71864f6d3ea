"""`tally export`: the accepted events of the warehouse as Parquet files, a folder for each month.

What an analyst takes along: the dbt project's target `duckdb` is built from it, without a server.
"""

import fcntl
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import click
import duckdb
import pyarrow as pa
from clickhouse_connect.driver import Client
from rich.console import Console

from tally.cli import with_settings
from tally.errors import TallyError
from tally.progress import ProgressLine
from tally.settings import Settings
from tally.warehouse import connect, stream_arrow

EVENTS = "events"
MANIFEST = "export.json"

_UNFIT_FOR_A_PATH = frozenset("'{}*?[")

# Each accepted event once, in one statement: a query reads the parts of one moment, so no month is
# newer than another.
_EVENTS = """
select
    toString(event_id) as event_id, user_id, toString(action_type) as action_type,
    toString(initiator) as initiator, occurred_at, client_ts, session_id,
    toString(source) as source, schema_version, context, round_id,
    toString(round_state) as round_state,
    toString(game_type) as game_type, bet, payout, units, is_demo, received_at
from raw.events final
"""
_LEDGER_END = (
    "select stream, max(last_offset) from raw.ingest_ledger group by stream order by stream"
)

_BLOCKS = "select * replace (cast(event_id as uuid) as event_id) from blocks"
_BY_MONTH = f"""
copy (
    select *, strftime(occurred_at at time zone 'UTC', '%Y-%m') as month from ({_BLOCKS})
) to '{{folder}}' (format parquet, compression zstd, partition_by (month))
"""
# No event, no month and no file: one without a row says what the columns are.
_NONE = f"copy ({_BLOCKS} limit 0) to '{{folder}}/none.parquet' (format parquet)"


@click.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to write; what an earlier export left there is replaced at once, at the end.",
)
@with_settings
def export(settings: Settings, folder: Path) -> None:
    """Write every accepted event, each once, to Parquet files that need no server to be read."""
    console = Console(stderr=True, soft_wrap=True)
    with closing(connect(settings)) as warehouse:
        manifest = export_events(warehouse, folder, ProgressLine(console))
    click.echo(
        f"exported {manifest['events']:,} events of {manifest['months']:,} months, "
        f"{manifest['bytes'] / 2**20:,.1f} MiB, to {folder}"
    )
    click.echo(f"  tally materialize --target duckdb --from {shlex.quote(str(folder))}")


def export_events(
    warehouse: Client, folder: Path, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Export to `folder/events` and return its manifest.

    The new files take the place of the old ones by one rename, so whoever reads meanwhile never has
    some of both. Memory follows the months, not the events. Raises `TallyError` where the warehouse
    has no raw, where `folder/events` is something else, and where another export to the folder is
    under way.
    """
    _check_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / EVENTS
    if current.exists() and not current.is_symlink():
        raise TallyError(f"{current} was not written by `tally export`; it is left as it is.")
    with _alone_in(folder):
        for abandoned in folder.glob(f"{EVENTS}-*"):
            if not current.is_symlink() or abandoned.name != current.readlink().name:
                shutil.rmtree(abandoned)
        started = datetime.now(UTC)
        partial = Path(tempfile.mkdtemp(prefix=f"{EVENTS}-{started:%Y%m%dT%H%M%SZ}-", dir=folder))
        try:
            manifest = _write(warehouse, partial, started, progress)
            link = folder / f"{EVENTS}.next"
            link.unlink(missing_ok=True)
            link.symlink_to(partial.name)
            superseded = current.resolve() if current.is_symlink() else None
            link.replace(current)
        except BaseException:
            shutil.rmtree(partial)
            raise
        if superseded is not None:
            shutil.rmtree(superseded, ignore_errors=True)
    return manifest


def _check_path(folder: Path) -> None:
    """The path goes into SQL and into dbt's templates, which have marks of their own."""
    found = sorted(_UNFIT_FOR_A_PATH & set(str(folder.absolute())))
    if found:
        raise TallyError(
            f"The path {folder.absolute()} has {' '.join(found)} in it.",
            hint="Choose a folder without these characters.",
        )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder against another export; the system lets go of it if this process dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise TallyError(f"Another export to {folder} is under way.") from None
    finally:
        os.close(descriptor)


def _write(
    warehouse: Client, folder: Path, started: datetime, progress: Callable[[str], None]
) -> dict[str, Any]:
    """The files and, last, what they are: an export with a manifest is complete."""
    if not warehouse.command("exists raw.events"):
        raise TallyError("The warehouse has no raw events to export.", hint="Run `tally migrate`.")
    ledger = [list(row) for row in warehouse.query(_LEDGER_END).result_rows]
    stream = stream_arrow(warehouse, _EVENTS)
    first = next(stream)
    events = 0

    def blocks() -> Iterator[pa.RecordBatch]:
        nonlocal events
        for block in chain([first], stream):
            yield from block.to_batches()
            events += block.num_rows
            progress(f"exported {events:,} events")

    with duckdb.connect(config={"temp_directory": str(folder / "spilled")}) as database:
        database.execute("set timezone = 'UTC'")
        # Otherwise it holds back what the stream has out of the order of months.
        database.execute("set preserve_insertion_order = false")
        database.register("blocks", pa.RecordBatchReader.from_batches(first.schema, blocks()))
        try:
            database.execute(_BY_MONTH.format(folder=folder))
        except duckdb.Error as error:
            raise TallyError(f"The export broke off after {events:,} events: {error}") from error
        if events == 0:
            database.register("blocks", first)
            database.execute(_NONE.format(folder=folder))
    shutil.rmtree(folder / "spilled", ignore_errors=True)
    files = list(folder.rglob("*.parquet"))
    manifest = {
        "exported_at": started.isoformat(timespec="seconds"),
        "events": events,
        "months": len({file.parent for file in files}) if events else 0,
        "bytes": sum(file.stat().st_size for file in files),
        # Whatever these offsets cover is in the export.
        "ledger": ledger,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2))
    return manifest
