"""The local stack as a whole: start its services in order, tell how they are, stop them."""

import fcntl
import os
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tally.errors import TallyError
from tally.local import events, monitoring
from tally.local.layout import Layout, read_json, write_json
from tally.local.services import SERVICES, Context, Service, broker_address
from tally.local.supervision import STOP_SECONDS, Process, Supervisor, configuration
from tally.settings import Settings, load_settings

POLL_SECONDS = 0.1
LAUNCH_SECONDS = 20
LOG_LINES_OF_AN_ERROR = 15

# The embedded broker forgets what a partition holds beyond 5 MiB; producers keep below half of it.
KAFKA_MAX_UNREAD_BYTES = 2 * 2**20

_DAGSTER_YAML = Path(__file__).with_name("dagster.yaml")
# Each process of Dagster reads the variable, so that no password is in the file.
_DAGSTER_DRIVER = "postgresql+psycopg2://"
_DAGSTER_ON_POSTGRES = """
storage:
  postgres:
    postgres_url:
      env: TALLY_DAGSTER_POSTGRES_URL
"""
_WORKSPACE_YAML = """\
load_from:
  - grpc_server:
      host: 127.0.0.1
      port: {port}
      location_name: tally
"""


@dataclass(frozen=True)
class Ports:
    """Ports that a person asks for; None takes the one of the last start, or a free one."""

    clickhouse: int | None = None
    api: int | None = None
    dagster: int | None = None


@dataclass(frozen=True)
class ServiceStatus:
    """How one service is."""

    state: str
    ready: bool
    pid: int | None
    restarts: int
    last_event: str | None


@dataclass(frozen=True)
class Status:
    """How the stack is; `ready` when every service of it is."""

    home: Path
    running: bool
    ready: bool
    settings: Settings
    services: dict[str, ServiceStatus]


class Stack:
    """The stack in one home."""

    def __init__(self, home: Path) -> None:
        self.layout = Layout.of(home)
        self.supervisor = Supervisor(self.layout)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Hold the stack while it is started or stopped.

        Raises `TallyError` where another command holds it.
        """
        self.layout.create()
        with self.layout.lock.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TallyError(
                    f"Another command is starting or stopping the stack in {self.layout.home}.",
                    hint="Wait for it to finish; `tally status` shows how far it is.",
                ) from None
            yield

    def start(
        self,
        *,
        without: Collection[str] = (),
        extra: Collection[str] = (),
        ports: Ports | None = None,
        report: Callable[[str, float], None],
    ) -> subprocess.Popen[bytes]:
        """Start every service in order, and give the supervisor's process.

        `report` is told the name of each service that became ready, and after how many seconds.
        Raises `TallyError`, with nothing left running, where one does not become ready.
        """
        _refuse_unknown({*without, *extra})
        # A stack that was killed leaves its endpoints behind, which are nobody's now.
        self.layout.settings.unlink(missing_ok=True)
        self.layout.kafka_address.unlink(missing_ok=True)
        outside = load_settings(self.layout.home)
        services = [
            service
            for service in SERVICES
            if not service.is_named(without)
            and (not service.optional or service.is_named(extra))
            and not (service.replaced_by and getattr(outside, service.replaced_by))
        ]
        context = self._prepare(services, outside, ports or Ports())
        self.layout.configuration.write_text(configuration(services, context))
        write_json(self.layout.plan, [service.name for service in services])
        events.record(self.layout, "stack", "stack_started", "starts")
        process = self.supervisor.launch()
        try:
            _wait(
                lambda: self.supervisor.pid() == process.pid or process.poll() is not None,
                LAUNCH_SECONDS,
            )
            if process.poll() is not None or self.supervisor.pid() is None:
                raise self.supervisor.launch_error()
            _Start(self, services, report).run()
        except BaseException:
            self.stop(process)
            raise
        return process

    def _prepare(self, services: list[Service], outside: Settings, asked: Ports) -> Context:
        """Choose the ports, and write what the services read before they start."""
        if asked.api and outside.api_port and asked.api != outside.api_port:
            raise TallyError(
                f"--api-port says {asked.api}, and TALLY_API_PORT says {outside.api_port}."
            )
        names = {service.name for service in services}
        ports = choose_ports(
            {
                "clickhouse": asked.clickhouse,
                "api": asked.api or outside.api_port or None,
                "api_metrics": outside.api_metrics_port,
                "ingest_metrics": outside.ingest_metrics_port,
                "exporter_metrics": outside.exporter_metrics_port,
                "dagster": asked.dagster,
                "dagster_code": None,
                "prometheus": None,
                "alertmanager": None,
                "postgres": None,
            },
            read_json(self.layout.ports) or {},
        )
        write_json(self.layout.ports, ports)
        stack: dict[str, object] = {}
        if "clickhouse" in names:
            stack["clickhouse_url"] = f"http://127.0.0.1:{ports['clickhouse']}"
        if "postgres" in names:
            stack["postgres_url"] = f"postgresql://postgres@127.0.0.1:{ports['postgres']}/postgres"
        if "kafka" in names:
            stack["kafka_max_unread_bytes"] = KAFKA_MAX_UNREAD_BYTES
        if "ingest" in names:
            stack["ingest_metrics_port"] = ports["ingest_metrics"]
        if "api" in names:
            stack["api_port"] = ports["api"]
            stack["api_metrics_port"] = ports["api_metrics"]
            stack["api_url"] = f"http://127.0.0.1:{ports['api']}"
        if "exporter" in names:
            stack["exporter_metrics_port"] = ports["exporter_metrics"]
        if "dagster-webserver" in names:
            stack["dagster_url"] = f"http://127.0.0.1:{ports['dagster']}"
        for name in {"prometheus", "alertmanager"} & names:
            stack[f"{name}_url"] = f"http://127.0.0.1:{ports[name]}"
        if "prometheus" in names:
            monitoring.write_configuration(
                self.layout, names, ports, outside.prometheus_interval_seconds
            )
        if outside.jwks is None:
            from tally.tokens import ensure_local_keys

            stack["jwks"] = str(ensure_local_keys(self.layout.home))
        write_json(self.layout.settings, stack)
        self.layout.dagster.mkdir(exist_ok=True)
        (self.layout.dagster / "dagster.yaml").write_text(dagster_configuration(outside))
        workspace = _WORKSPACE_YAML.format(port=ports["dagster_code"])
        (self.layout.dagster / "workspace.yaml").write_text(workspace)
        return Context(self.layout, load_settings(self.layout.home), ports)

    def publish_broker(self) -> None:
        """Write the address of the embedded broker among the stack's endpoints."""
        known = read_json(self.layout.settings) or {}
        address = broker_address(self.layout)
        write_json(self.layout.settings, {**known, "kafka_bootstrap": address})

    def context(self) -> Context:
        """What the probes of the running stack look at."""
        settings = load_settings(self.layout.home)
        return Context(self.layout, settings, read_json(self.layout.ports) or {})

    def status(self) -> Status:
        """Ask supervisord and every service."""
        processes = self.supervisor.processes()
        planned = set(read_json(self.layout.plan) or []) if processes else set()
        context = self.context()
        happened = events.since_start(self.layout)
        restarts = events.restarts(happened)
        last = {event.service: str(event) for event in happened}

        def ask(service: Service) -> ServiceStatus:
            process = processes.get(service.name)
            return ServiceStatus(
                state=process.state.lower() if process else "unknown",
                ready=process is not None and _is_ready(service, process, context),
                pid=process.pid if process else None,
                restarts=restarts[service.name],
                last_event=last.get(service.name),
            )

        chosen = [service for service in SERVICES if service.name in planned]
        with ThreadPoolExecutor(max_workers=len(SERVICES)) as pool:
            asked = dict(zip((each.name for each in chosen), pool.map(ask, chosen), strict=True))
        return Status(
            home=self.layout.home,
            running=bool(processes),
            ready=bool(asked) and all(each.ready for each in asked.values()),
            settings=context.settings,
            services=asked,
        )

    def stop(self, child: subprocess.Popen[bytes] | None = None) -> bool:
        """Stop every service and the supervisor, and wait until they are gone.

        `child` is the supervisor where this process started it. False where nothing ran.
        """
        pid = child.pid if child else self.supervisor.pid()
        if pid is not None:
            try:
                self._stop_what_uses_others()
            finally:  # also at a second Ctrl-C
                self.supervisor.shut_down()
            limit = (STOP_SECONDS + 5) * 3
            if not _wait(lambda: _is_gone(pid, child), limit):
                raise TallyError(
                    f"The supervisor (process {pid}) has not ended after {limit} s.",
                    hint=f"Its log is {self.layout.log('supervisord')}.",
                )
        for leftover in (self.layout.settings, self.layout.kafka_address, self.layout.plan):
            leftover.unlink(missing_ok=True)
        return pid is not None

    def _stop_what_uses_others(self) -> None:
        """Stop, all at once, what is not a server that others need to end well."""
        with suppress(OSError):
            users = [service.name for service in SERVICES if service.after]
            for name in users:
                self.supervisor.stop(name)
            _wait(
                lambda: all(
                    not process.is_up and process.state != "STOPPING"
                    for process in self.supervisor.processes().values()
                    if process.name in users
                ),
                STOP_SECONDS + 5,
            )


class _Start:
    """One start of the services: each as soon as what it needs is ready."""

    def __init__(
        self, stack: Stack, services: list[Service], report: Callable[[str, float], None]
    ) -> None:
        self._stack = stack
        self._waiting = {service.name: service for service in services}
        self._began: dict[str, float] = {}
        self._first_pid: dict[str, int | None] = {}
        self._log_began: dict[str, int] = {}
        self._report = report

    def run(self) -> None:
        while self._waiting:
            for service in list(self._waiting.values()):
                if service.name in self._began:
                    continue
                if not any(name in self._waiting for name in service.after):
                    self._start(service)
            context = self._stack.context()
            processes = self._stack.supervisor.processes()
            for name in [name for name in self._waiting if name in self._began]:
                self._look(self._waiting[name], processes.get(name), context)
            time.sleep(POLL_SECONDS)

    def _start(self, service: Service) -> None:
        log = self._stack.layout.log(service.name)
        self._log_began[service.name] = log.stat().st_size if log.exists() else 0
        self._began[service.name] = time.monotonic()
        self._stack.supervisor.start(service.name)

    def _look(self, service: Service, process: Process | None, context: Context) -> None:
        seconds = time.monotonic() - self._began[service.name]
        if process is None:
            raise TallyError("supervisord ended while the stack was starting.")
        if _is_ready(service, process, context):
            if service.name == "kafka":
                self._stack.publish_broker()
            del self._waiting[service.name]
            self._report(service.name, seconds)
            return
        # supervisord may have restarted it between two looks; that is a failed start all the same.
        first_pid = self._first_pid.setdefault(service.name, process.pid)
        if not process.is_up or first_pid != process.pid:
            raise TallyError(f"{service.name} ended at its start.{self._last_lines(service)}")
        if seconds > service.limit_seconds:
            raise TallyError(
                f"{service.name} is not ready after {service.limit_seconds:.0f} s."
                f"{self._last_lines(service)}"
            )

    def _last_lines(self, service: Service) -> str:
        """The end of what it wrote during this start."""
        log = self._stack.layout.log(service.name)
        with suppress(FileNotFoundError), log.open("rb") as text:
            # A rotation in between makes the file shorter than it was.
            text.seek(min(self._log_began[service.name], log.stat().st_size))
            lines = text.read().decode(errors="replace").splitlines()[-LOG_LINES_OF_AN_ERROR:]
            if lines:
                return f" The end of {log}:\n  " + "\n  ".join(lines)
        return f" It wrote nothing into {log}."


def _is_ready(service: Service, process: Process, context: Context) -> bool:
    if service.ready is None:
        return process.has_succeeded
    return process.is_up and service.ready(context)


def dagster_configuration(settings: Settings) -> str:
    """The text of dagster.yaml.

    Raises `TallyError` where the address of its Postgres does not name the driver that it needs.
    """
    url = settings.dagster_postgres_url
    if url is None:
        return _DAGSTER_YAML.read_text()
    if not url.startswith(_DAGSTER_DRIVER):
        raise TallyError(
            f"TALLY_DAGSTER_POSTGRES_URL does not start with {_DAGSTER_DRIVER}.",
            hint="Dagster speaks the language of this driver only.",
        )
    return _DAGSTER_YAML.read_text() + _DAGSTER_ON_POSTGRES


def _refuse_unknown(names: Collection[str]) -> None:
    known = {service.name for service in SERVICES} | {each.part for each in SERVICES if each.part}
    if unknown := set(names) - known:
        raise TallyError(
            f"There is no service {', '.join(sorted(unknown))}.",
            hint=f"The services are: {', '.join(sorted(known))}.",
        )


def choose_ports(asked: dict[str, int | None], last: dict[str, Any]) -> dict[str, int]:
    """The port asked for, else the one of the last start where it is free, else a free one.

    Raises `TallyError` where a port that was asked for is taken.
    """
    chosen: dict[str, int] = {}
    for name, port in asked.items():
        if port is not None:
            if not _is_free(port):
                raise TallyError(
                    f"Port {port}, asked for {name}, is in use.",
                    hint="Stop what listens on it, or ask for another.",
                )
            chosen[name] = port
        elif name in last and last[name] not in chosen.values() and _is_free(last[name]):
            chosen[name] = last[name]
        else:
            chosen[name] = _free_port()
    return chosen


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_gone(pid: int, child: subprocess.Popen[bytes] | None) -> bool:
    """Whether the process has ended; one that its parent has not yet reaped has."""
    if child is not None:
        return child.poll() is not None
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(POLL_SECONDS)
    return True
