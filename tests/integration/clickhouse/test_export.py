"""`tally export` against a real warehouse: what is in the files, and how they take their place."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingest.migrations import migrate
from tally.errors import TallyError
from tally.export import export_events
from tally.settings import Settings
from tally.warehouse import connect
from tests.platform import Platform, action
from tests.servers import start_clickhouse


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("export")
    with start_clickhouse(folder / "clickhouse") as server:
        settings = Settings(clickhouse_url=server.url, home=folder / "home")
        client = connect(settings)
        for _ in migrate(client):
            pass
        yield Platform(settings, client, folder=folder)
        client.close()


@pytest.fixture
def platform(shared: Platform) -> Platform:
    for table in ("raw.events", "raw.round_events", "raw.arrivals", "raw.ingest_ledger"):
        shared.client.command(f"truncate table {table}")
    return shared


def export(platform: Platform, folder: Path) -> dict[str, Any]:
    return export_events(platform.client, folder, lambda _: None)


def rows(folder: Path, columns: str = "user_id, action_type") -> list[tuple[Any, ...]]:
    files = f"read_parquet('{folder}/events/**/*.parquet', hive_partitioning = false)"
    return duckdb.sql(f"select {columns} from {files} order by all").fetchall()


def test_an_event_is_there_once_in_the_folder_of_its_utc_month(
    platform: Platform, tmp_path: Path
) -> None:
    events = [
        action(1, "LOGIN", "2026-02-28T23:59:59.999Z"),
        action(2, "LOGIN", "2026-03-01T08:00:00+09:00"),
        action(3, "SLOT_SPIN", "2026-03-01T00:00:00Z", round_id="r", bet=2**52, payout=0),
    ]
    platform.store(events)
    platform.store(events[1:])
    manifest = export(platform, tmp_path)
    assert (manifest["events"], manifest["months"]) == (3, 2)
    assert manifest == json.loads((tmp_path / "events" / "export.json").read_text())
    months = {path.parent.name for path in (tmp_path / "events").rglob("*.parquet")}
    assert months == {"month=2026-02", "month=2026-03"}
    found = rows(tmp_path, "cast(event_id as text), user_id, bet, epoch_ms(occurred_at)")
    milliseconds = {1: 1772323199999, 2: 1772319600000, 3: 1772323200000}
    assert found == sorted(
        (one["event_id"], one["user_id"], one["context"].get("bet", 0), milliseconds[n])
        for n, one in enumerate(events, 1)
    )


def test_an_empty_warehouse_gives_files_with_columns_and_no_row(
    platform: Platform, tmp_path: Path
) -> None:
    assert export(platform, tmp_path)["events"] == 0
    assert rows(tmp_path, "event_id, occurred_at, context, is_demo") == []


def test_a_later_export_takes_the_place_of_the_former(platform: Platform, tmp_path: Path) -> None:
    platform.store([action(1, "LOGIN", "2026-03-01T12:00:00Z")])
    export(platform, tmp_path)
    (tmp_path / "events-left-by-a-kill").mkdir()
    platform.store([action(2, "LOGIN", "2026-04-01T12:00:00Z")])
    export(platform, tmp_path)
    assert rows(tmp_path) == [(1, "LOGIN"), (2, "LOGIN")]
    assert len(list(tmp_path.iterdir())) == 2  # the files and the link to them


def test_an_export_that_breaks_off_leaves_the_former_as_it_was(
    platform: Platform, tmp_path: Path
) -> None:
    platform.store([action(1, "LOGIN", "2026-03-01T12:00:00Z")])
    export(platform, tmp_path)
    platform.store([action(2, "LOGIN", "2026-03-01T12:00:00Z")])

    def break_off(_: str) -> None:
        raise ConnectionError("the network is gone")

    with pytest.raises(TallyError, match="broke off"):
        export_events(platform.client, tmp_path, break_off)
    assert rows(tmp_path) == [(1, "LOGIN")]
    assert len(list(tmp_path.iterdir())) == 2


def test_two_exports_to_one_folder_do_not_mix(platform: Platform, tmp_path: Path) -> None:
    platform.store([action(1, "LOGIN", "2026-03-01T12:00:00Z")])

    def try_another(_: str) -> None:
        with pytest.raises(TallyError, match="under way"):
            export(platform, tmp_path)

    export_events(platform.client, tmp_path, try_another)
    assert rows(tmp_path) == [(1, "LOGIN")]


def test_what_is_not_an_export_is_left_alone(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "thesis.txt").write_text("years of work")
    with pytest.raises(TallyError, match="left as it is"):
        export(platform, tmp_path)
    assert (tmp_path / "events" / "thesis.txt").read_text() == "years of work"


def test_a_laptop_without_a_server_goes_on_as_the_documentation_has_it(
    platform: Platform, tmp_path: Path
) -> None:
    """The lines of docs/engines.md one after the other; only the first can reach a warehouse."""
    platform.store(
        [
            action(1, "DAILY_LOGIN", "2026-03-01T12:00:00Z"),
            action(2, "LOGIN", "2026-03-01T12:00:00Z"),
        ]
    )
    nothing = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}

    def said(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=nothing | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    url = platform.settings.endpoint("clickhouse_url")
    exported = said("-m", "tally", "export", "--to", "history", TALLY_CLICKHOUSE_URL=url)
    assert "exported 2 events" in exported
    go_on = exported[exported.index("tally materialize") :].splitlines()[0]
    assert go_on == "tally materialize --target duckdb --from history"
    assert said("-m", *go_on.split()) == "materialized on duckdb: history/tally.duckdb\n"
    guide = (Path(__file__).parents[3] / "docs" / "engines.md").read_text()
    read = re.search(r'^python -c "(.*)"$', guide, re.M)
    assert read, "docs/engines.md shows how to read the file"
    shown = said("-c", read[1])
    assert "2026-03-01" in shown
    dau = "select date, dau from analytics.daily_metrics where date = '2026-03-01'"
    with duckdb.connect(tmp_path / "history" / "tally.duckdb", read_only=True) as built:
        assert built.sql(dau).fetchall() == [(date(2026, 3, 1), 2)]
