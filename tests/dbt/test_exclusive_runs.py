"""Two materializations at once: the second waits for the first."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestration.lib.exclusive import exclusively
from tally.settings import child_environment
from tests.platform import action, running_platform

LIMIT_S = 240

pytestmark = pytest.mark.timeout(600)


def test_a_materialization_waits_for_the_one_that_runs(tmp_path: Path) -> None:
    """This process holds the lock that another materialization would hold."""
    with running_platform(tmp_path) as platform:
        platform.store([action(1, "LOGIN", "2026-03-01T12:00:00Z")])
        lock = platform.settings.home / "run" / "materialize.lock"
        windows = "select count() from marts.materialization_windows"
        opened = platform.client.command(windows)
        with exclusively(lock, on_wait=lambda: None):
            second = subprocess.Popen(
                [sys.executable, "-m", "tally", "materialize"],
                env=child_environment(platform.settings.home)
                | platform.settings.warehouse_environment(),
            )
            deadline = time.monotonic() + LIMIT_S
            while not has_open(second.pid, lock):
                assert second.poll() is None, "it ended and did not wait"
                assert time.monotonic() < deadline, "it never came to the lock"
                time.sleep(0.05)
            assert platform.client.command(windows) == opened
        assert second.wait(LIMIT_S) == 0
        assert platform.client.command("select count() from marts.user_days") == 1


def has_open(pid: int, file: Path) -> bool:
    """Whether a process has a file open."""
    target = file.stat()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found = descriptor.stat()
        except FileNotFoundError:
            continue
        if (found.st_dev, found.st_ino) == (target.st_dev, target.st_ino):
            return True
    return False
