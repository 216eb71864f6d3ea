"""`tally` commands as processes forked from an interpreter that has imported everything already.

Each is a process of its own with its own signals, environment and end, as from a shell; only the
second of imports before its first line is not paid again: tests start hundreds of them.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "pytest",
        "pandas",
        "rich.console",
        "tally.cli",
        "ingest.account",
        "ingest.account_report",
        "ingest.commands",
        "ingest.letters",
        "ingest.progress",
        "ingest.replay",
        "ingest.service",
    ]
)


class Forked:
    """A process that runs a module as `python -m` does, with the interface of `Popen`."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: dict[str, str],
        out: Path,
        err: Path,
    ) -> None:
        """Start it; what it says is appended to `out` and `err`."""
        self._process: ForkServerProcess = _FORKS.Process(
            target=_run, args=(module, list(arguments), environment, str(out), str(err))
        )
        self._process.start()

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, or None while it runs; negative where a signal ended it."""
        return self._process.exitcode

    def wait(self, timeout_s: float) -> int:
        """Wait for the exit code. Raises `TimeoutExpired`."""
        self._process.join(timeout_s)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout_s)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None and self._process.pid is not None:
            os.kill(self._process.pid, number)


def _run(
    module: str, arguments: list[str], environment: dict[str, str], out: str, err: str
) -> None:
    for path, number in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
