"""Dagster's launcher of local runs, which also tells whether a run's process is still there.

The default one cannot, so run monitoring leaves a run whose process was killed together with its
code server, or on a terminal, as started for hours; its place in the queue is taken that long.
"""

import os

from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

# Of a run that a person's command executes itself.
PID_TAG = "tally/pid"


class WatchedRunLauncher(DefaultRunLauncher):
    """Named in dagster.yaml."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Makes run monitoring ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the run's command lives, or its code server still has its process.

        A code server that does not answer may be busy: the next look tells.
        """
        if pid := run.tags.get(PID_TAG):
            return _status(_lives(int(pid)), f"process {pid}")
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        known = deserialize_value(answer, CanCancelExecutionResult).can_cancel
        return _status(known, "process of the code server")


def _status(is_there: bool, what: str) -> CheckRunHealthResult:
    if is_there:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, f"The {what} is gone.")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
