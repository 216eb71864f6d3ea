"""`kill -9` in the middle of a replay: the supervisor restarts, and no number is wrong."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.stacks import Stack, running_stack

LIMIT_S = 120

pytestmark = pytest.mark.timeout(600)


def pid(stack: Stack, service: str) -> int:
    found: int = stack.status()["services"][service]["pid"]
    return found


def stored(stack: Stack) -> int:
    """Messages in raw now; 0 while the warehouse does not answer."""
    from clickhouse_connect.driver.exceptions import Error

    from tally.warehouse import connect

    try:
        client = connect(stack.settings)
        return int(client.command("select count() from raw.arrivals"))  # type: ignore[arg-type]
    except Error:
        return 0


def kill_while_storing(
    stack: Stack, service: str, more: int, replay: subprocess.Popen[str]
) -> None:
    """Kill in the middle of the replay, once `more` messages are in raw; wait for the restart."""
    limit = time.monotonic() + LIMIT_S
    enough = stored(stack) + more
    while stored(stack) < enough:
        assert time.monotonic() < limit, f"{more} messages more are not stored"
        time.sleep(0.02)
    before = stack.status()["services"][service]
    assert replay.poll() is None, "the replay ended before the kill"
    os.kill(before["pid"], signal.SIGKILL)
    while True:
        now = stack.status()["services"][service]
        if now["ready"] and now["pid"] not in (None, before["pid"]):
            return
        assert time.monotonic() < limit, f"{service} was not restarted"
        time.sleep(0.1)


@pytest.mark.parametrize("service", ["clickhouse", "ingest"])
def test_a_process_killed_in_the_middle_of_a_replay_loses_and_doubles_nothing(
    service: str, real_rounds: Path, tmp_path: Path
) -> None:
    with running_stack(tmp_path / "home") as stack:
        # 40 s of replay: the second kill is after the first restart, of up to ten seconds, and what
        # is stored first is what piled up meanwhile.
        replay = stack.start("replay", str(real_rounds), "--format", "bustabit", "--rate", "1250")
        try:
            kill_while_storing(stack, service, 5_000, replay)
            kill_while_storing(stack, service, 1_000, replay)
            output, _ = replay.communicate(timeout=LIMIT_S)
            assert replay.returncode == 0, output
        finally:
            replay.kill()
        stack.tally("wait")
        stack.tally("materialize")
        stack.tally("verify", "--as-of", "2021-11-30", "--as-of", "2021-12-10")
        assert stack.status()["services"][service]["restarts"] == 2
