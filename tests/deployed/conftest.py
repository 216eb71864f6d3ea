"""A warehouse that is set up and filled as the services of docker-compose.yml do it.

Each step has the rights of its account and no others: `migrate` makes raw, `ingest` stores a
simulated world, `dbt` makes the relations, materializes and publishes them.
"""

from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest

from ingest.migrations import migrate
from ingest.record_loss import HourOfRecord, keep_losses
from orchestration.lib.dbt import run_dbt
from orchestration.lib.publication import CheckResult, publish, record
from simulator.events import document, milliseconds
from simulator.world import World
from tests.deployed.accounts import Deployment
from tests.platform import STREAM, action


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Sixty players over forty days until now, in marts that are published."""
    deployed = Deployment(tmp_path_factory.mktemp("deployed"))
    with deployed.as_account("migrate") as platform:
        assert len(list(migrate(platform.client))) > 0
    with deployed.as_account("ingest") as platform:
        now = datetime.now(UTC)
        start = now.date() - timedelta(days=39)
        players = World(seed=5, users=60, days=40, start=start, first_user_id=1)
        happened = takewhile(lambda event: event.at < milliseconds(now), players.events())
        platform.store(document(event) for event in happened)
        # Somebody is there in the hour before the test, at whatever hour it runs.
        at = (now - timedelta(minutes=5)).isoformat()
        platform.store(
            [
                action(1, "LOGIN", at, method="password"),
                action(1, "WS_CONNECTED", at, path="/api/realtime/sync"),
            ]
        )
        platform.client.insert(
            "raw.landing",
            [["test", "user-actions", 0, 10**9, f"{STREAM}-refused", now, now, b"x", "not_json"]],
            column_names=[
                *("cluster_id", "topic", "partition", "offset", "stream"),
                *("appended_at", "received_at", "value", "reason"),
            ],
        )
    with deployed.as_account("dbt") as platform:
        last_hour = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        keep_losses(platform.client, [HourOfRecord(last_hour, recorded=1_000, arrived=999)])
        run_dbt(["run"], platform.settings)
        checked = [CheckResult("a_check", "marts/user_days", passed=True, blocking=True)]
        record(platform.client, checked, run_id="test")
        publish(platform.client, run_id="test")
    return deployed
