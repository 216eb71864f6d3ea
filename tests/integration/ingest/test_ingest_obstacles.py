"""What stands in the way is said in words, waited for, and nothing is lost when it is gone."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.ingest.conftest import Proving
from tests.integration.ingest.pipeline import Pipeline, free_port, ready, until
from tests.integration.ingest.proxy import Proxy
from tests.servers import RunningServer, start_clickhouse

DISK_BYTES = 96 * 2**20


@dataclass(frozen=True)
class Obstacle:
    """How it is put in the way, how it is taken away, and the words for it."""

    words: str
    table_setting: str = ""
    user_settings: str = ""


OBSTACLES = {
    "too many parts": Obstacle(
        "needs merges: the table has too many parts", table_setting="parts_to_throw_insert = 1"
    ),
    "a read-only table": Obstacle(
        "needs the table to be writable: it is read-only", table_setting="table_readonly = 1"
    ),
    "a disk without the space that it has to keep": Obstacle(
        "needs disk space: the warehouse's disk is full",
        table_setting=f"min_free_disk_bytes_to_perform_insert = {2**60}",
    ),
    "a memory limit": Obstacle(
        "needs memory: the warehouse is at its limit",
        user_settings="max_untracked_memory=0&max_memory_usage=1",
    ),
    "a read-only user": Obstacle(
        "needs the warehouse to be writable: it is read-only", user_settings="readonly=1"
    ),
}


@pytest.fixture
def proxy(proving: Proving) -> Iterator[Proxy]:
    with Proxy(proving.warehouse.url) as running:
        yield running


def wait_for_words(pipeline: Pipeline, words: str) -> None:
    """Until both the log and /readyz say it; nothing is bad for the process itself."""
    port = pipeline.settings.ingest_metrics_port
    assert port is not None
    until(lambda: words in str(ready(port)[1]["waiting"]), f"the words {words!r}")
    assert ready(port)[0] == 503
    assert words in pipeline.log


@pytest.mark.parametrize("name", OBSTACLES)
def test_an_obstacle_is_said_and_waited_for(
    faulty_pipeline: Pipeline, proxy: Proxy, name: str
) -> None:
    obstacle, pipeline = OBSTACLES[name], faulty_pipeline
    pipeline.warehouse_url = proxy.url
    pipeline.changes["ingest_metrics_port"] = free_port()
    pipeline.start()
    pipeline.produce(pipeline.rounds(20), partition=0)
    pipeline.wait()
    setting = obstacle.table_setting.partition(" ")[0]
    proxy.added_settings = obstacle.user_settings
    if setting:
        pipeline.query(f"alter table raw.arrivals modify setting {obstacle.table_setting}")
    try:
        pipeline.produce(pipeline.rounds(100), partition=0)
        wait_for_words(pipeline, obstacle.words)
        pipeline.produce(pipeline.rounds(10), partition=1)
    finally:
        proxy.added_settings = ""
        if setting:
            pipeline.query(f"alter table raw.arrivals reset setting {setting}")
    pipeline.wait()
    assert pipeline.verify()["events"] == 130


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that a test may fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk to fill needs the right to mount one")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full(tmp_path: Path, small_disk: Path, broker: RunningServer) -> None:
    with start_clickhouse(small_disk / "warehouse") as warehouse:
        changes: dict[str, object] = {"ingest_metrics_port": free_port()}
        pipeline = Pipeline(tmp_path, warehouse.url, broker.url, changes)
        pipeline.migrate()
        pipeline.start()
        try:
            pipeline.produce(pipeline.rounds(50), partition=0)
            pipeline.wait()
            ballast = small_disk / "ballast"
            ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free))
            pipeline.produce(pipeline.rounds(2_000), partition=0)
            wait_for_words(pipeline, "needs disk space: the warehouse's disk is full")
            ballast.unlink()
            pipeline.wait()
            assert pipeline.verify()["events"] == 2_050
            assert pipeline.stop() == 0
        finally:
            pipeline.end()
