"""`tally backup` and `tally restore`: a lost warehouse, and another that goes on from a backup."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.backup import KEPT, backups, read_manifest
from tests.integration.ingest.pipeline import Pipeline, encode, slot_round
from tests.servers import RunningServer, start_clickhouse

_ROWS = "select count(), sum(cityHash64(*)) from raw.{}"
_TABLES = ("events final", "round_events final", "arrivals", "dead_letters final")


@pytest.fixture
def pipeline(tmp_path: Path, broker: RunningServer) -> Iterator[Pipeline]:
    with start_clickhouse(tmp_path / "lost") as server:
        made = Pipeline(tmp_path, server.url, broker.url)
        made.migrate()
        yield made
        made.end()


@pytest.fixture
def another_warehouse(tmp_path: Path) -> Iterator[RunningServer]:
    with start_clickhouse(tmp_path / "another") as server:
        yield server


def back_up(pipeline: Pipeline) -> Path:
    told = pipeline.command("backup", "--to", str(pipeline.folder / "backups"))
    assert told.returncode == 0, told.stderr
    return Path(told.stdout.strip())


def contents(pipeline: Pipeline) -> dict[str, object]:
    return {table: pipeline.query(_ROWS.format(table))[0] for table in _TABLES}


def test_a_restored_warehouse_is_the_same_and_ingestion_goes_on_from_the_backup(
    pipeline: Pipeline, another_warehouse: RunningServer
) -> None:
    contested = slot_round()
    good = pipeline.rounds(40)
    pipeline.start()
    pipeline.produce([*good, encode(contested), b"{", None, *good[:5]])
    pipeline.wait()
    before = contents(pipeline)
    backup = back_up(pipeline)
    # What comes after it is acknowledged to Kafka, and lost with the warehouse.
    pipeline.produce(pipeline.rounds(7))
    pipeline.wait()
    after = contents(pipeline)
    pipeline.stop()

    pipeline.warehouse_url = another_warehouse.url
    pipeline.migrate()
    told = pipeline.command("restore", "--from", str(backup))
    assert told.returncode == 0, told.stderr
    assert "restored 41 events" in told.stdout
    assert contents(pipeline) == before

    pipeline.start()
    pipeline.wait()
    # The broker's bytes and offsets are what they were; when they were received is not.
    assert pipeline.count() == 48
    assert [pipeline.query(f"select count() from raw.{each}")[0] for each in _TABLES] == [
        (rows,)
        for rows, _ in after.values()  # type: ignore[misc]
    ]
    pipeline.assert_contiguous()
    # The first use of an id is still known.
    pipeline.produce([encode(contested | {"user_id": 2})])
    pipeline.wait()
    assert pipeline.query("select reason from raw.dead_letters final where reason = 'conflict'")
    assert pipeline.count() == 48
    pipeline.verify()


def test_a_restore_asks_for_an_empty_raw_and_for_every_row(
    pipeline: Pipeline, another_warehouse: RunningServer
) -> None:
    pipeline.start()
    pipeline.produce(pipeline.rounds(3))
    pipeline.wait()
    pipeline.stop()
    backup = back_up(pipeline)
    told = pipeline.command("restore", "--from", str(backup))
    assert told.returncode == 1
    assert "Raw is not empty: events" in told.stderr

    pipeline.warehouse_url = another_warehouse.url
    pipeline.migrate()
    manifest = read_manifest(backup)
    manifest["rows"]["arrivals"] += 1
    (backup / "backup.json").write_text(json.dumps(manifest))
    told = pipeline.command("restore", "--from", str(backup))
    assert told.returncode == 1
    assert "arrivals has 3 rows" in told.stderr
    assert pipeline.ledger() == {}


def test_the_latest_backups_are_kept(pipeline: Pipeline) -> None:
    folder = pipeline.folder / "backups"
    for _ in range(KEPT):
        older = folder / f"raw-20200101T000000Z{uuid.uuid4().hex[:4]}Z"
        older.mkdir(parents=True)
        (older / "backup.json").write_text("{}")
    latest = back_up(pipeline)
    assert len(backups(folder)) == KEPT
    assert backups(folder)[-1] == latest
