"""Real servers for tests: each a process of its own on a free loopback port, stopped by its pid."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

START_LIMIT_S = 60
STOP_LIMIT_S = 90


@dataclass
class RunningServer:
    """A server that answers at `url`. As a context manager it is stopped at the end."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def bootstrap(self) -> str:
        """`host:port` of a broker."""
        return self.url

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def suspend(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to end (SIGTERM), wait, and give its exit code."""
        if self.process.poll() is None:
            self.resume()
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_clickhouse(
    path: Path,
    *,
    password: str | None = None,
    analyst_password: str | None = None,
    port: int = 0,
    config: Path | None = None,
) -> RunningServer:
    """Start the embedded warehouse on the folder `path` and wait until it answers.

    It reads no `TALLY_*` variable of the tests' own environment. Its output is in `<path>.log`.
    """
    path.mkdir(parents=True, exist_ok=True)
    passwords = {
        "TALLY_CLICKHOUSE_PASSWORD": password,
        "TALLY_CLICKHOUSE_ANALYST_PASSWORD": analyst_password,
    }
    environment = {name: value for name, value in passwords.items() if value is not None}
    arguments = ["tally.local.clickhouse", "--path", str(path), "--port", str(port)]
    if config is not None:
        arguments += ["--config", str(config)]
    return _start(arguments, path, environment)


def start_kafka(path: Path, *, partitions: int = 12) -> RunningServer:
    """Start the embedded broker and wait until it answers; its `url` is the bootstrap address.

    It stores nothing: `path` only names its output, `<path>.log`.
    """
    return _start(["tally.local.kafka", "--partitions", str(partitions)], path, {})


def start_postgres(path: Path) -> RunningServer:
    """Start the embedded Postgres on the folder `path`; its output is in `<path>.log`."""
    return _start(["tally.local.postgres", "--path", str(path)], path, {})


def _start(arguments: list[str], path: Path, environment: dict[str, str]) -> RunningServer:
    """Run a module that writes its address into `--port-file` once it answers."""
    address = path.with_name(f"{path.name}.url")
    address.unlink(missing_ok=True)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
    command = [sys.executable, "-m", *arguments, "--port-file", str(address)]
    log = path.with_name(f"{path.name}.log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**inherited, **environment}
        )
    wait_until_it_answers(process, address.exists, log)
    return RunningServer(address.read_text().strip(), process)


def wait_until_it_answers(
    process: subprocess.Popen[bytes], answers: Callable[[], bool], log: Path
) -> None:
    """Wait for a server that was started; one that ended or takes too long shows its log."""
    limit = time.monotonic() + START_LIMIT_S
    while not answers():
        if process.poll() is not None or time.monotonic() > limit:
            process.kill()
            process.wait()
            raise RuntimeError(f"{log.stem} did not start:\n{log.read_text()}")
        time.sleep(0.02)
