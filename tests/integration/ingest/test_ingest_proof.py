"""After every fault of this folder: `tally verify` finds no difference, or names the fault.

One look for all of them, because a run of dbt costs more than most faults; each fault has users of
its own. The file's name puts it behind the tests that leave their events to it.
"""

from collections import Counter
from contextlib import closing
from datetime import UTC, date, datetime

import pytest
from rich.console import Console

from orchestration.lib.dbt import run_dbt
from orchestration.lib.publication import publish
from tally.settings import Settings
from tally.tokens import ensure_local_keys
from tally.verify.command import prove
from tally.warehouse import connect
from tests.integration.api.serving import serving
from tests.integration.ingest.conftest import Proving


def test_the_marts_and_the_api_are_right_after_every_fault(proving: Proving) -> None:
    if not proving.users:
        pytest.skip("no fault ran in this session")
    home = proving.folder / "home"
    settings = Settings(
        home=home, clickhouse_url=proving.warehouse.url, jwks=str(ensure_local_keys(home))
    )
    run_dbt(["run"], settings)
    with closing(connect(settings)) as client:
        publish(client, run_id="test")
    with serving(settings) as api:
        asked = settings.model_copy(update={"api_url": str(api.base_url).rstrip("/")})
        dates = [date(2026, 3, 1), datetime.now(UTC).date()]
        proof = prove(asked, dates, deep=True, wait_seconds=0, console=Console(stderr=True))
    fault_of = {user: fault for fault, users in proving.users.items() for user in users}
    found = Counter(
        fault_of.get(each.key.get("user_id", 0), "all users") for each in proof.differences
    )
    assert not found, (found, proof.differences[:20])
    assert proof.users >= len(proving.users)
