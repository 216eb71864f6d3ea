"""Whether a run's process is still there, where a command executes it itself."""

import os
import subprocess
import sys

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from orchestration.lib.launcher import PID_TAG, WatchedRunLauncher


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("pid", "status"),
    [(os.getpid(), WorkerStatus.RUNNING), (ended_process(), WorkerStatus.FAILED)],
    ids=["living", "killed"],
)
def test_a_run_of_a_terminal_is_there_as_long_as_its_process(
    pid: int, status: WorkerStatus
) -> None:
    launcher = WatchedRunLauncher()
    assert launcher.supports_check_run_worker_health
    run = dg.DagsterRun(job_name="materialize", tags={PID_TAG: str(pid)})
    assert launcher.check_run_worker_health(run).status is status
