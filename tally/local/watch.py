"""`python -m tally.local.watch HOME`: reports crashes, and tells of the broker's new address.

supervisord runs it as an event listener and restarts what crashes by itself. The embedded broker
comes back on another port, so what follows it has to be restarted with that address.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from supervisor import childutils

from tally.local import events
from tally.local.layout import Layout, read_json, write_json
from tally.local.services import SERVICES, Service, broker_address
from tally.local.supervision import STOP_SECONDS, WATCH, Supervisor

ADDRESS_SECONDS = 30
POLL_SECONDS = 0.05


class Watch:
    """Acts on supervisord's events, one after the other."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._supervisor = Supervisor(layout)
        self._services = {service.name: service for service in SERVICES}
        self._has_crashed: set[str] = set()
        self._groups = {
            process.name: process.pid
            for process in self._supervisor.processes().values()
            if process.pid is not None
        }

    def on_event(self, kind: str, name: str, pid: int | None, *, expected: bool) -> None:
        """Handle one event of supervisord about the process `name`."""
        if kind == "PROCESS_STATE_RUNNING" and pid is not None:
            self._groups[name] = pid
        else:
            self._groups.pop(name, None)
        service = self._services.get(name)
        if service is None:
            return
        if kind == "PROCESS_STATE_RUNNING" and name in self._has_crashed:
            self._has_crashed.discard(name)
            self._on_return(service)
        elif kind == "PROCESS_STATE_EXITED" and not (expected and service.ready is None):
            self._has_crashed.add(name)
            ended = "ended unexpectedly" if service.ready else "failed"
            again = " and is started again" if service.ready else ""
            self._record(name, "crashed", f"{ended}{again}; see {self._layout.log(name)}")
        elif kind == "PROCESS_STATE_BACKOFF":
            self._has_crashed.add(name)
            text = f"ended within a second of its start; see {self._layout.log(name)}"
            self._record(name, "failed_to_start", text)
        elif kind == "PROCESS_STATE_FATAL":
            text = f"keeps ending and is not started again; see {self._layout.log(name)}"
            self._record(name, "gave_up", text)

    def on_supervisor_death(self) -> None:
        """Kill what the services have started: the kernel killed only the services themselves."""
        for name, group in self._groups.items():
            if name != WATCH:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
        self._layout.settings.unlink(missing_ok=True)
        self._record("stack", "crashed", "ended, because its supervisor was killed")

    def _on_return(self, service: Service) -> None:
        processes = self._supervisor.processes()
        # One that is stopped has not been started yet: `tally up` is still on its way there.
        followers = [
            each.name
            for each in SERVICES
            if each.follows == service.name
            and each.name in processes
            and processes[each.name].state != "STOPPED"
        ]
        if service.name == "kafka":
            self._tell_new_address()
        for name in followers:
            self._supervisor.stop(name)
        for name in followers:
            if self._wait(lambda name=name: not self._is_up(name), STOP_SECONDS + 5):  # type: ignore[misc]
                self._supervisor.start(name)
                self._record(name, "restarted", f"is restarted, because {service.name} was")

    def _tell_new_address(self) -> None:
        if not self._wait(lambda: broker_address(self._layout) is not None, ADDRESS_SECONDS):
            return  # it has died again, which is an event of its own
        address = broker_address(self._layout)
        settings = read_json(self._layout.settings) or {}
        write_json(self._layout.settings, {**settings, "kafka_bootstrap": address})
        text = f"is now at {address}; the messages and commits of the one before are gone"
        self._record("kafka", "moved", text)

    def _is_up(self, name: str) -> bool:
        process = self._supervisor.processes().get(name)
        return process is not None and (process.is_up or process.state == "STOPPING")

    @staticmethod
    def _wait(condition: Callable[[], bool], seconds: float) -> bool:
        limit = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > limit:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _record(self, name: str, kind: events.Kind, text: str) -> None:
        events.record(self._layout, name, kind, text)


def main() -> None:
    """Read events from stdin until supervisord ends this process, or has died itself."""
    watch = Watch(Layout.of(Path(sys.argv[1])))
    childutils.listener.ready()
    while header := sys.stdin.readline():
        headers = childutils.get_headers(header)
        about = childutils.get_headers(sys.stdin.read(int(headers["len"])))
        watch.on_event(
            headers["eventname"],
            about["processname"],
            int(about["pid"]) if "pid" in about else None,
            expected=about.get("expected") == "1",
        )
        childutils.listener.ok()
        childutils.listener.ready()
    watch.on_supervisor_death()


if __name__ == "__main__":
    main()
