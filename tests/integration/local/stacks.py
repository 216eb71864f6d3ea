"""Stacks under test: the real command line on real processes, and what is left of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally.local.services import SERVICES
from tally.local.stack import Stack, Status

LIMIT_SECONDS = 60


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Wait for a condition, and fail by its name after a limit."""
    limit = time.monotonic() + LIMIT_SECONDS
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError(f"not within {LIMIT_SECONDS} s: {what}")
        time.sleep(0.1)


@dataclass(frozen=True)
class StackUnderTest:
    """The stack of one home, by its commands."""

    home: Path

    def command(self, name: str, *arguments: str) -> list[str]:
        """The words of a `tally` command about this stack."""
        return [sys.executable, "-m", "tally", name, "--home", str(self.home), *arguments]

    def run(
        self, name: str, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(name, *arguments),
            env=_environment(environment),
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS * 2,
            check=False,
        )

    def up(self, *services: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Start only the named services, and return when they are ready."""
        return self.run("up", "--detach", "--without", without(*services), **environment)

    def status(self) -> Status:
        """What `tally status` prints."""
        return Stack(self.home).status()

    def pid(self, service: str) -> int:
        """The process id of a service that runs."""
        pid = self.status().services[service].pid
        assert pid is not None
        return pid

    def events(self) -> list[tuple[str, str]]:
        """What happened: service and kind."""
        lines = (self.home / "logs" / "events.jsonl").read_text().splitlines()
        return [(line["service"], line["kind"]) for line in map(json.loads, lines)]

    def kill_supervisor(self) -> None:
        """End supervisord as a crash would."""
        os.kill(int((self.home / "run" / "supervisord.pid").read_text()), signal.SIGKILL)

    def processes(self) -> list[str]:
        """The command lines of the living processes that name this home."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    words = (folder / "cmdline").read_bytes().decode().split("\0")
                except OSError:
                    continue
                if any(word.startswith(str(self.home)) for word in words):
                    found.append(" ".join(words))
        return found


def without(*services: str) -> str:
    """The value of `--without` that leaves only the named services."""
    return ",".join(each.name for each in SERVICES if each.name not in services)


def _environment(extra: dict[str, str]) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
    return {**inherited, **extra}
