"""dbt with the project parsed and imported once: each run is a fork of it, and may die on request.

A run of the `dbt` program spends 8 of its 10 seconds on importing and parsing. The process of this
module does that once, has no thread, and forks for every run that it is asked for on stdin. A run
is a real one, in a process of its own, with its own connection and its own `invocation_id`.
"""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestration.lib.dbt import PROJECT_DIR
from tally.settings import Settings, child_environment

When = Literal["before", "during", "after"]

KILLED = -signal.SIGKILL
_WRITES = re.compile(r"^\s*(?:/\*.*?\*/)?\s*(?:insert|create|exchange|rename|drop)\b", re.I | re.S)
# What a run creates and drops before its first model.
_PREPARES = re.compile(r"if not exists|__dbt_exchange_test")
# From the first bytes on the wire to some of the rows stored.
_DURING_S = 0.005


@dataclass(frozen=True)
class Run:
    """A run that was started."""

    number: int
    dbt: "WarmDbt"

    def wait(self) -> int:
        """The exit code; negative where a signal ended it."""
        return self.dbt.exit_code(self.number)

    @property
    def writes(self) -> list[str]:
        """The statements that it wrote with, once it has ended."""
        return [json.loads(line) for line in self.dbt.writes(self.number).read_text().splitlines()]


class WarmDbt:
    """The parsed project, on the warehouse of the settings."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._numbers = itertools.count()
        self._ended: dict[int, int] = {}
        assert self._answer() == {"ready": True}, self.log()

    def start(self, *arguments: str, die: tuple[When, int] | None = None) -> Run:
        """Start a run and do not wait.

        `die` ends it with SIGKILL at its nth statement that writes; the first is 1.
        """
        number = next(self._numbers)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([number, arguments, die]) + "\n")
        self._process.stdin.flush()
        return Run(number, self)

    def run(self, *arguments: str, die: tuple[When, int] | None = None) -> Run:
        """Run to the end: success, or death where it was asked for."""
        run = self.start(*arguments, die=die)
        assert run.wait() == (KILLED if die else 0), self.log()
        return run

    def exit_code(self, number: int) -> int:
        """Wait for a run to end."""
        while number not in self._ended:
            answer = self._answer()
            self._ended[answer["number"]] = answer["exit_code"]
        return self._ended.pop(number)

    def writes(self, number: int) -> Path:
        """The file in which a run writes down its statements."""
        return self._folder / f"writes-{number}.jsonl"

    def log(self) -> str:
        """The end of what all runs said."""
        return (self._folder / "warm_dbt.log").read_text()[-5000:]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log()
        return json.loads(line)


@contextmanager
def warm_dbt(settings: Settings, folder: Path) -> Iterator[WarmDbt]:
    """Start it; `folder` gets dbt's artifacts and the log."""
    with (
        (folder / "warm_dbt.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.dbt.warm_dbt", str(folder)],
            env=child_environment(settings.home) | settings.warehouse_environment(),
            cwd=PROJECT_DIR.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield WarmDbt(process, folder)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


def _watch_writes(record: Path, die: tuple[When, int] | None) -> None:
    """Write down each statement that writes, and kill this process at the one that is asked for."""
    from clickhouse_connect.driver.httpclient import HttpClient

    original, writes = HttpClient.command, itertools.count(1)

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def command(self: HttpClient, cmd: str, *arguments: Any, **options: Any) -> Any:
        if not _WRITES.search(cmd) or _PREPARES.search(cmd):
            return original(self, cmd, *arguments, **options)
        when = die[0] if die is not None and next(writes) == die[1] else None
        if when == "before":
            kill()
        if when == "during":
            threading.Thread(target=lambda: (time.sleep(_DURING_S), kill()), daemon=True).start()
        answer = original(self, cmd, *arguments, **options)
        if when is not None:
            kill()
        with record.open("a") as file:
            file.write(json.dumps(cmd) + "\n")
        return answer

    HttpClient.command = command  # type: ignore[method-assign]


def _reap(running: dict[int, int], *, wait: bool) -> None:
    """Tell of the runs that have ended."""
    while running:
        pid, status = os.waitpid(-1, 0 if wait else os.WNOHANG)
        if pid == 0:
            return
        ended = {"number": running.pop(pid), "exit_code": os.waitstatus_to_exitcode(status)}
        print(json.dumps(ended), file=sys.__stdout__, flush=True)


def main(folder: Path) -> None:
    """Answer the requests of stdin until it closes."""
    from dbt.cli.main import dbtRunner

    options = [
        *("--quiet", "--no-use-colors", "--project-dir", str(PROJECT_DIR)),
        *("--profiles-dir", str(PROJECT_DIR), "--target-path", str(folder / "target")),
        *("--log-path", str(folder / "log")),
    ]
    parsed = dbtRunner().invoke(["parse", *options])
    assert parsed.success, parsed.exception
    print(json.dumps({"ready": True}), flush=True)
    running: dict[int, int] = {}
    signal.signal(signal.SIGCHLD, lambda *_: _reap(running, wait=False))
    for line in sys.stdin:
        number, arguments, die = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            os.dup2(2, 1)
            _watch_writes(folder / f"writes-{number}.jsonl", die)
            done = dbtRunner(parsed.result).invoke([*arguments, *options])
            if done.exception is not None:
                print(done.exception, file=sys.stderr)
            sys.stderr.flush()
            os._exit(0 if done.success else 1)
        running[pid] = number
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    _reap(running, wait=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
