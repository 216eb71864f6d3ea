"""A real warehouse with real marts under it, and the shortest way to put events there."""

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from clickhouse_connect.driver import Client

from ingest.migrations import migrate
from orchestration.lib.dbt import MINUTE, run_dbt
from orchestration.lib.publication import publish
from tally.events import Event, parse
from tally.settings import Settings
from tally.tokens import ensure_local_keys
from tally.warehouse import connect
from tests.servers import RunningServer, start_clickhouse

STREAM = "test/user-actions/0"


@dataclass
class Platform:
    """A warehouse whose raw is written as ingestion writes it: the batch, then its ledger row."""

    settings: Settings
    client: Client
    next_offset: int = 0
    folder: Path = field(default_factory=Path)
    server: RunningServer | None = None

    def store(self, actions: Iterable[dict[str, Any]]) -> None:
        """Accept `actions` as one batch of one partition."""
        received = datetime.now(UTC)
        events = [_parsed(action, received) for action in actions]
        if not events:
            return
        first, self.next_offset = self.next_offset, self.next_offset + len(events)
        rows = [
            {
                "cluster_id": "test",
                "topic": "user-actions",
                "partition": 0,
                "offset": first + nth,
                "stream": STREAM,
                "appended_at": received,
                "received_at": received,
                "event_id": event.event_id,
                "user_id": event.user_id,
                "action_type": event.action_type,
                "initiator": str(event.initiator),
                "session_id": event.session_id,
                "source": event.source,
                "schema_version": event.schema_version,
                "occurred_at": event.occurred_at,
                "context": event.context.decode(),
                "round_id": event.round_id,
                "round_state": event.round_state,
                "game_type": event.game_type,
                "bet": event.bet,
                "payout": event.payout,
                "units": event.units,
                "is_demo": event.is_demo,
            }
            for nth, event in enumerate(events)
        ]
        claims = [
            [uuid.UUID(str(row["event_id"])).bytes, bytes(16), STREAM, row["offset"]]
            for row in rows
        ]
        self.client.insert(
            "raw.event_ids", claims, column_names=["event_id", "payload", "stream", "offset"]
        )
        self.client.insert_arrow("raw.landing", pa.Table.from_pylist(rows))
        self.client.insert(
            "raw.ingest_ledger",
            [
                [
                    *(STREAM, first, self.next_offset - 1, "stored", "test", "user-actions", 0),
                    *(len(events), 0, received),
                ]
            ],
            column_names=[
                *("stream", "first_offset", "last_offset", "kind", "cluster_id", "topic"),
                *("partition", "accepted", "dead", "newest_appended_at"),
            ],
        )

    def end_warehouse(self) -> None:
        """Kill the warehouse, as a crash would."""
        assert self.server is not None
        self.server.kill()

    def restart_warehouse(self) -> None:
        """Start it again on the same data and the same port."""
        port = urlsplit(self.settings.endpoint("clickhouse_url")).port
        assert port is not None
        self.server = start_clickhouse(self.folder / "clickhouse", port=port)

    def materialize(self) -> None:
        """Bring the marts to the end of the ledger, and publish them."""
        run_dbt(["run", "--select", MINUTE], self.settings)
        publish(self.client, run_id="test")


@contextmanager
def running_platform(folder: Path) -> Iterator[Platform]:
    """Start a warehouse in `folder`, with raw and the marts in place and empty."""
    home = folder / "home"
    server = start_clickhouse(folder / "clickhouse")
    with ExitStack() as stack:
        settings = Settings(
            home=home,
            clickhouse_url=server.url,
            jwks=str(ensure_local_keys(home)),
        )
        platform = Platform(settings, connect(settings), folder=folder, server=server)
        stack.callback(lambda: platform.server and platform.server.stop())
        for _ in migrate(platform.client):
            pass
        run_dbt(["run"], settings)
        yield platform
        platform.client.close()


def action(user_id: int, action_type: str, occurred_at: str, **fields: Any) -> dict[str, Any]:
    """A message of the event contract; `fields` other than `event_id` go into its context."""
    return {
        "event_id": fields.pop("event_id", None) or str(uuid.uuid4()),
        "user_id": user_id,
        "action_type": action_type,
        "occurred_at": occurred_at,
        "context": fields,
    }


def _parsed(message: dict[str, Any], received: datetime) -> Event:
    event = parse(json.dumps(message).encode(), received_at=received)
    assert isinstance(event, Event), event
    return event
