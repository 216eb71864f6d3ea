"""Where a stack keeps its things under its home."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally.errors import TallyError
from tally.settings import STACK_SETTINGS

# sun_path holds 108 bytes with the final NUL; supervisord first binds `<path>.<pid>` (7 digits).
MAX_SOCKET_PATH_BYTES = 108 - 1 - 8


@dataclass(frozen=True)
class Layout:
    """The paths of the stack in `home`, which is absolute."""

    home: Path

    @classmethod
    def of(cls, home: Path) -> "Layout":
        """The layout of a home given in any form."""
        return cls(home.absolute())

    @property
    def run(self) -> Path:
        """What is only true while the stack runs."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """One log file a service, and `events.jsonl`."""
        return self.home / "logs"

    @property
    def settings(self) -> Path:
        """The endpoints of the running stack, read by `tally.settings`."""
        return self.home / STACK_SETTINGS

    @property
    def ports(self) -> Path:
        """The ports of the last start, so that the next one keeps its addresses."""
        return self.home / "ports.json"

    @property
    def plan(self) -> Path:
        """The names of the services that the running stack was started with."""
        return self.run / "services.json"

    @property
    def lock(self) -> Path:
        """Held while a command starts or stops the stack."""
        return self.run / "lock"

    @property
    def events(self) -> Path:
        """What happened to the services: one JSON object a line."""
        return self.logs / "events.jsonl"

    @property
    def pidfile(self) -> Path:
        """supervisord's process id."""
        return self.run / "supervisord.pid"

    @property
    def configuration(self) -> Path:
        """supervisord's configuration, written at each start."""
        return self.home / "supervisord.conf"

    @property
    def kafka_address(self) -> Path:
        """`host:port` of the embedded broker, written by it when it answers."""
        return self.run / "kafka"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.home / "dagster"

    @property
    def socket(self) -> Path:
        """supervisord's socket: in `run`, or under /tmp where that path is too long for one."""
        inside = self.run / "supervisord.sock"
        if len(os.fsencode(inside)) <= MAX_SOCKET_PATH_BYTES:
            return inside
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        return Path(f"/tmp/tally-{os.getuid()}") / f"{digest}.sock"  # noqa: S108

    def log(self, service: str) -> Path:
        """The log of a service."""
        return self.logs / f"{service}.log"

    def create(self) -> None:
        """Make the folders.

        Raises `TallyError` where that is not possible, or where another user owns the socket's.
        """
        if "%" in str(self.home):  # supervisord expands it twice in the names of log files
            raise TallyError(f"A stack's home cannot have a % in its path: {self.home}.")
        try:
            for folder in (self.home, self.run, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise TallyError(
                f"The stack cannot keep its state in {self.home}: {error.strerror}.",
                hint="Choose another folder with --home.",
            ) from error
        if self.socket.parent.stat().st_uid != os.getuid():
            raise TallyError(
                f"{self.socket.parent} belongs to another user.",
                hint=f"Choose a --home whose path is shorter than {self.home}.",
            )


def write_json(path: Path, value: Any) -> None:
    """Write a file so that a reader sees the old text or the new, never a part."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=2) + "\n")
    partial.replace(path)


def read_json(path: Path) -> Any:
    """The content of a file that `write_json` wrote, or None where there is none."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
