"""`python -m tally.local.watch HOME`: reports crashes, and tells of the broker's new address.

supervisord runs it as an event listener and restarts what crashes by itself. The embedded broker
comes back on another port, so what follows it has to be restarted with that address.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from supervisor import childutils

from tally.local import events
from tally.local.layout import Layout, read_json, write_json
from tally.local.services import SERVICES, Service, broker_address
from tally.local.supervision import STOP_SECONDS, Supervisor

ADDRESS_SECONDS = 30
POLL_SECONDS = 0.05


class Watch:
    """Acts on supervisord's events, one after the other."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._supervisor = Supervisor(layout)
        self._services = {service.name: service for service in SERVICES}
        self._has_crashed: set[str] = set()

    def on_event(self, kind: str, name: str, *, expected: bool) -> None:
        """Handle one event of supervisord about the process `name`."""
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

    def _on_return(self, service: Service) -> None:
        followers = [
            each.name
            for each in SERVICES
            if each.follows == service.name and each.name in self._supervisor.processes()
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
    """Read events from stdin for ever; supervisord ends this process."""
    watch = Watch(Layout.of(Path(sys.argv[1])))
    while True:
        headers, payload = childutils.listener.wait()
        about = childutils.get_headers(payload)
        watch.on_event(
            headers["eventname"], about["processname"], expected=about.get("expected") == "1"
        )
        childutils.listener.ok()


if __name__ == "__main__":
    main()
