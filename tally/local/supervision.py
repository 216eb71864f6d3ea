"""supervisord, the process manager of the local stack: its configuration and its remote calls."""

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from tally.errors import TallyError
from tally.local.layout import Layout
from tally.local.services import Context, Service
from tally.settings import child_environment

WATCH = "watch"
STOP_SECONDS = 20

# No socket, nobody behind it, or a supervisord that is on its way out (fault SHUTDOWN_STATE).
_UNREACHABLE = (OSError, HTTPException, Fault)

_HEADER = """\
; Written by `tally up` at each start.
[supervisord]
nodaemon = true
silent = true
logfile = %(here)s/logs/supervisord.log
logfile_maxbytes = 5MB
logfile_backups = 2
pidfile = %(here)s/run/supervisord.pid

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""


@dataclass(frozen=True)
class Process:
    """What supervisord says of a process; `state` is one of its state names."""

    name: str
    state: str
    pid: int | None
    exit_status: int
    started_at: float
    """Unix seconds; 0 where it never started."""

    @property
    def is_up(self) -> bool:
        """Whether there is a process."""
        return self.state in ("STARTING", "RUNNING")

    @property
    def has_succeeded(self) -> bool:
        """Whether it has run to its end without an error."""
        return self.state == "EXITED" and self.exit_status == 0


def _quoted(command: list[str]) -> str:
    """The command as supervisord reads it: a shell's words in an ini file with `%` expansions."""

    def word(text: str) -> str:
        # A quoted empty string between a space and what would start an ini comment hides it.
        inside = text.replace("'", "'\"'\"'").replace(" ;", " '';").replace(" #", " ''#")
        return f"'{inside}'".replace("%", "%%")

    return " ".join(map(word, command))


def configuration(services: list[Service], context: Context) -> str:
    """supervisord's configuration for the services, each of which starts only when told to."""
    layout = context.layout
    guard = [sys.executable, "-m", "tally.local.guard", str(layout.pidfile)]
    sections = [
        _HEADER,
        f"[unix_http_server]\nfile = {_in_ini(layout.socket, layout)}\nchmod = 0700\n",
    ]
    for position, service in enumerate(services):
        restart = "false" if service.ready is None else "true"
        sections.append(
            f"[program:{service.name}]\n"
            f"command = {_quoted([*guard, *service.command(context)])}\n"
            f"priority = {position + 1}\n"
            "autostart = false\n"
            f"autorestart = {restart}\n"
            # A command that has ended within a second is done; a server that has, did not start.
            f"startsecs = {0 if service.ready is None else 1}\n"
            # Each retry waits a second longer than the one before: it gives up after a minute.
            "startretries = 10\n"
            f"stopwaitsecs = {STOP_SECONDS}\n"
            "killasgroup = true\n"
            "redirect_stderr = true\n"
            f"stdout_logfile = %(here)s/logs/{service.name}.log\n"
            "stdout_logfile_maxbytes = 5MB\n"
            "stdout_logfile_backups = 2\n"
        )
    # Unguarded: it outlives supervisord for the moment that it takes to clean up after it.
    watch = [sys.executable, "-m", "tally.local.watch", str(layout.home)]
    sections.append(
        f"[eventlistener:{WATCH}]\n"
        f"command = {_quoted(watch)}\n"
        "priority = 0\n"
        "events = PROCESS_STATE_EXITED,PROCESS_STATE_BACKOFF,PROCESS_STATE_FATAL,"
        "PROCESS_STATE_RUNNING\n"
        "buffer_size = 1000\n"
        "autorestart = true\n"
        f"stderr_logfile = %(here)s/logs/{WATCH}.log\n"
        "stderr_logfile_maxbytes = 5MB\n"
    )
    return "\n".join(sections)


def _in_ini(path: Path, layout: Layout) -> str:
    """A path as a value, where nothing can be quoted: relative to the configuration's folder."""
    if path.is_relative_to(layout.home):
        return f"%(here)s/{path.relative_to(layout.home)}"
    return str(path)


class Supervisor:
    """The supervisord of one stack, running or not."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(serverurl=f"unix://{self._layout.socket}")
        try:
            proxy = ServerProxy("http://localhost", transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()

    def pid(self) -> int | None:
        """supervisord's process id, or None where none answers."""
        try:
            return int(self._call("getPID"))
        except _UNREACHABLE:
            return None

    def processes(self) -> dict[str, Process]:
        """Every process it knows, by name; empty where no supervisord answers."""
        try:
            found: list[dict[str, Any]] = self._call("getAllProcessInfo")
        except _UNREACHABLE:
            return {}
        return {
            info["name"]: Process(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"] or None,
                exit_status=info["exitstatus"],
                started_at=info["start"],
            )
            for info in found
        }

    def start(self, name: str) -> None:
        """Start a process without waiting; nothing where it has started."""
        with suppress(Fault):  # ALREADY_STARTED, SPAWN_ERROR: the process's state tells
            self._call("startProcess", name, False)

    def stop(self, name: str) -> None:
        """Ask a process to end without waiting; nothing where it has ended."""
        with suppress(Fault):  # NOT_RUNNING
            self._call("stopProcess", name, False)

    def shut_down(self) -> None:
        """Ask supervisord to stop every process and end, without waiting."""
        with suppress(*_UNREACHABLE):
            self._call("shutdown")

    def launch(self) -> subprocess.Popen[bytes]:
        """Run supervisord in a session of its own, where a terminal's Ctrl-C does not reach."""
        layout = self._layout
        environment = child_environment(layout.home) | {"DAGSTER_HOME": str(layout.dagster)}
        with layout.log("supervisord.start").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", layout.configuration],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def launch_error(self) -> TallyError:
        """Why supervisord did not start."""
        text = self._layout.log("supervisord.start").read_text(errors="replace").strip()
        return TallyError(f"supervisord did not start:\n{text}")
