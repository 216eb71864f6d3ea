"""One world with every fault, counted on three engines: each row of each core mart is the same."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from ingest.record_loss import keep_losses, read_losses
from orchestration.lib.dbt import run_dbt
from simulator.faults import PROFILES, Faults
from simulator.publishing import open_publisher
from simulator.run import Request, run
from simulator.world import World
from tally.export import export_events
from tally.settings import Settings, Target
from tally.warehouse import connect
from tests.servers import start_postgres
from tests.stacks import Stack, running_stack

# As analysts read them: without versions, one name and one shape on every engine.
CORE_MARTS = ("user_days", "game_stats", "user_stats", "game_rounds", "daily_metrics", "retention")
DAYS = 40

Marts = dict[str, list[str]]


def written(row: tuple[Any, ...]) -> str:
    """The row as Python writes it; of a moment each engine's client has a zone of its own."""
    return repr([v.astimezone(UTC).isoformat() if isinstance(v, datetime) else v for v in row])


@dataclass
class Engines:
    """A warehouse that ingestion fills, the record beside it, and what the analyst took along."""

    stack: Stack
    settings: Settings
    folder: Path
    world: World

    def play(self, faults: Faults, until: datetime | None = None) -> None:
        """Play the world, up to a moment, into record and topic; return when all is read."""
        run(self.settings, Request(self.world, faults, until=until))
        self.stack.tally("wait")

    def send_again(self, event_ids: set[str]) -> None:
        """Publish actions of the record, as a reconciliation would."""
        with psycopg.connect(self.settings.endpoint("postgres_url")) as record:
            found = record.execute(
                "select event_id, user_id, action_type, occurred_at, session_id, source, context"
                " from user_actions where event_id = any(%s::uuid[])",
                [sorted(event_ids)],
            ).fetchall()
        names = ("event_id", "user_id", "action_type", "occurred_at", "session_id", "source")
        messages = []
        for *envelope, context in found:
            message = dict(zip(names, envelope, strict=True)) | {"context": context}
            message["event_id"] = str(message["event_id"])
            message["occurred_at"] = message["occurred_at"].isoformat()
            messages.append((message["user_id"], json.dumps(message).encode()))

        async def publish() -> None:
            async with open_publisher(self.settings) as publisher:
                await publisher.publish(messages)

        asyncio.run(publish())
        self.stack.tally("wait")

    def lost(self) -> int:
        """Recorded actions that neither an accepted event nor a dead letter names."""
        days = (self.world.start, self.world.start + timedelta(DAYS + 1))
        since, until = (datetime.combine(day, datetime.min.time(), UTC) for day in days)
        with (
            psycopg.connect(self.settings.endpoint("postgres_url")) as record,
            closing(connect(self.settings)) as warehouse,
        ):
            losses = list(read_losses(record, warehouse, since, until))
            keep_losses(warehouse, losses)
        assert all(0 <= each.loss_ratio <= 1 for each in losses)
        by_hour = (
            "select hour, recorded, arrived, loss_ratio from marts.hourly_record order by hour"
        )
        assert self.query("clickhouse", by_hour) == [
            (each.hour, each.recorded, each.arrived, pytest.approx(each.loss_ratio))
            for each in losses
        ]
        return sum(each.recorded - each.arrived for each in losses)

    def quarantined(self) -> set[str]:
        """The event ids that dead letters name."""
        found = set()
        for (value,) in self.query("clickhouse", "select value from raw.dead_letters"):
            with suppress(ValueError, TypeError, KeyError):
                found.add(str(json.loads(value)["event_id"]).lower())
        return found

    def materialize(self, target: Target, *options: str) -> None:
        if target == "duckdb":
            with closing(connect(self.settings)) as warehouse:
                export_events(warehouse, self.folder, lambda _: None)
        resources = ("--resource-type", "model", "--resource-type", "seed")
        run_dbt(["build", *resources, *options], self.settings, target)

    def query(self, target: Target, query: str) -> list[tuple[Any, ...]]:
        if target == "clickhouse":
            with closing(connect(self.settings)) as warehouse:
                return [tuple(row) for row in warehouse.query(query).result_rows]
        if target == "postgres":
            with psycopg.connect(self.settings.endpoint("postgres_url")) as record:
                return record.execute(query).fetchall()
        with duckdb.connect(self.folder / "tally.duckdb", read_only=True) as database:
            return database.execute(query).fetchall()

    def marts(self, target: Target) -> Marts:
        """Every row of every core mart as text, so that 1, 1.0 and True differ."""
        return {
            mart: sorted(map(written, self.query(target, f"select * from analytics.{mart}")))
            for mart in CORE_MARTS
        }

    def event_ids(self, target: Target) -> set[str]:
        rows = self.query(target, "select distinct event_id from staging.stg_events")
        return {str(event_id) for (event_id,) in rows}


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    world = World(31, 40, DAYS, datetime.now(UTC).date() - timedelta(days=DAYS))
    # As root, Postgres is another user, and a pytest that starts shuts its folder to all others.
    with (
        tempfile.TemporaryDirectory(prefix="tally-engines-") as temporary,
        start_postgres((folder := Path(temporary)) / "postgres") as postgres,
        running_stack(folder / "home", "--without", "dagster,api,prepare") as stack,
    ):
        settings = stack.settings.model_copy(
            update={"postgres_url": postgres.url, "export_folder": folder / "export"}
        )
        yield Engines(stack, settings, folder / "export", world)


@pytest.mark.timeout(900)
def test_every_row_of_every_core_mart_is_the_same_on_three_engines(engines: Engines) -> None:
    """Also after a second, incremental build, and the same as a rebuild of everything.

    The record has what the warehouse lacks: actions whose message was lost, or was refused. They
    are told apart by id and sent again; until then the two differ, and by nothing but these.
    """
    faults = replace(PROFILES["chaos"], conflict=0.01)
    targets: tuple[Target, ...] = ("clickhouse", "duckdb", "postgres")
    middle = datetime.combine(engines.world.start, datetime.min.time(), UTC) + timedelta(DAYS / 2)

    engines.play(faults, until=middle)
    for target in targets:
        engines.materialize(target)
    half = engines.marts("clickhouse")
    assert engines.marts("duckdb") == half
    assert engines.marts("postgres") != half

    engines.play(faults)
    engines.materialize("postgres")
    lacking = engines.event_ids("postgres") - engines.event_ids("clickhouse")
    assert engines.event_ids("clickhouse") < engines.event_ids("postgres")
    assert engines.lost() == len(lacking - engines.quarantined()) > 0
    engines.send_again(lacking)
    assert engines.lost() == 0
    engines.materialize("clickhouse")
    engines.materialize("duckdb")

    found = engines.marts("clickhouse")
    assert len(found["user_days"]) > len(half["user_days"]) > 100
    assert engines.event_ids("clickhouse") == engines.event_ids("postgres")
    for target in ("duckdb", "postgres"):
        assert engines.marts(target) == found
        engines.materialize(target, "--full-refresh")
        assert engines.marts(target) == found
