"""The commands of the local stack: `tally up`, `down`, `status`, `logs` and `env`."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tally.cli import with_settings
from tally.errors import TallyError
from tally.settings import Settings

if TYPE_CHECKING:
    from tally.local.stack import Stack, Status

FOLLOW_SECONDS = 0.2


def _stack(settings: Settings) -> Stack:
    from tally.local.stack import Stack

    return Stack(settings.home)


@click.command()
@click.option("--detach", is_flag=True, help="Return as soon as the stack is ready.")
@click.option(
    "--without",
    metavar="NAME,...",
    default="",
    help="Services to leave out, for example `dagster` or `kafka,ingest`.",
)
@click.option(
    "--with",
    "extra",
    metavar="NAME,...",
    default="",
    help="Services to start besides: `simulator` (players who play, and their Postgres), "
    "`monitoring` (the exporter, and Prometheus and Alertmanager where they are installed).",
)
@click.option("--clickhouse-port", type=click.IntRange(1, 65535))
@click.option("--api-port", type=click.IntRange(1, 65535))
@click.option("--dagster-port", type=click.IntRange(1, 65535))
@with_settings
def up(
    settings: Settings,
    *,
    detach: bool,
    without: str,
    extra: str,
    clickhouse_port: int | None,
    api_port: int | None,
    dagster_port: int | None,
) -> None:
    """Start the local stack; without --detach it runs until Ctrl-C.

    What the environment names (TALLY_CLICKHOUSE_URL, TALLY_KAFKA_BOOTSTRAP, ...) is not started.
    Ports are those of the last start in the same home where they are still free.
    """
    from tally.local.stack import Ports

    stack = _stack(settings)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with stack.exclusively():
        if stack.supervisor.pid() is not None:
            _say_running(stack.status())
            return
        click.echo(f"Starting the stack in {stack.layout.home}")
        began = time.monotonic()
        try:
            child = stack.start(
                without=_names(without),
                extra=_names(extra),
                ports=Ports(clickhouse_port, api_port, dagster_port),
                report=lambda name, seconds: click.echo(f"  {name:<18} {seconds:5.1f} s"),
            )
        except KeyboardInterrupt:
            click.echo("Stopped.")
            sys.exit(130)
    click.secho(f"Ready after {time.monotonic() - began:.1f} s", fg="green")
    _echo_endpoints(stack.status())
    if detach:
        click.echo(f"Stop it with `tally down --home {shlex.quote(str(settings.home))}`.")
    else:
        click.echo("It runs until Ctrl-C.")
        _stay(stack, child)


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _say_running(status: Status) -> None:
    """Tell of a stack that runs already.

    Raises `TallyError` where it is not ready.
    """
    home = shlex.quote(str(status.home))
    if not status.ready:
        missing = ", ".join(name for name, each in status.services.items() if not each.ready)
        raise TallyError(
            f"A stack runs in {status.home} already, and is not ready: {missing}.",
            hint=f"`tally status --home {home}` shows it, `tally down --home {home}` stops it.",
        )
    click.echo(f"The stack in {status.home} runs already.")
    _echo_endpoints(status)


def _stay(stack: Stack, child: subprocess.Popen[bytes]) -> None:
    """Report what happens to the services until Ctrl-C, then stop them."""
    from tally.local.events import since_start

    told = len(since_start(stack.layout))
    try:
        while child.poll() is None:
            happened = since_start(stack.layout)
            for event in happened[told:]:
                click.secho(str(event), fg="yellow", err=True)
            told = len(happened)
            time.sleep(FOLLOW_SECONDS)
    except KeyboardInterrupt:
        click.echo("\nStopping ...")
        with stack.exclusively():
            stack.stop(child)
        click.echo("Stopped.")
        return
    if child.returncode != 0:
        raise TallyError(
            "The supervisor was killed, and its services with it.",
            hint="`tally up` starts them again.",
        )
    click.echo("Stopped by `tally down`.")


@click.command()
@with_settings
def down(settings: Settings) -> None:
    """Stop the local stack and wait until every process is gone."""
    stack = _stack(settings)
    if not stack.layout.home.exists():
        click.echo(f"Nothing runs in {stack.layout.home}.")
        return
    with stack.exclusively():
        stopped = stack.stop()
    click.echo("Stopped." if stopped else f"Nothing runs in {stack.layout.home}.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings
def status(settings: Settings, *, as_json: bool) -> None:
    """Show every endpoint and service; the exit code is 1 where the stack is not ready."""
    found = _stack(settings).status()
    if as_json:
        click.echo(json.dumps(_document(found), indent=2))
    elif not found.running:
        click.echo(f"Nothing runs in {found.home}.")
    else:
        _echo_endpoints(found)
        _echo_services(found)
    sys.exit(0 if found.ready else 1)


def _endpoints(status: Status) -> dict[str, dict[str, str | None]]:
    """The addresses of the running stack; those that a killed one left behind are nobody's."""
    settings = status.settings

    def known(address: str | None) -> str | None:
        return address if status.running else None

    return {
        "clickhouse": {"url": known(settings.clickhouse_url)},
        "kafka": {"bootstrap": known(settings.kafka_bootstrap)},
        "postgres": {"url": known(settings.postgres_url)},
        "api": {"url": known(settings.api_url)},
        "page": {"url": known(settings.api_url and f"{settings.api_url}/")},
        "dagster": {"url": known(settings.dagster_url)},
        "prometheus": {"url": known(settings.prometheus_url)},
        "alertmanager": {"url": known(settings.alertmanager_url)},
    }


def _document(status: Status) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "home": str(status.home),
        "running": status.running,
        "ready": status.ready,
        **_endpoints(status),
        "services": {name: asdict(each) for name, each in status.services.items()},
    }


def _echo_endpoints(status: Status) -> None:
    for name, endpoint in _endpoints(status).items():
        for address in endpoint.values():
            if address is not None:
                click.echo(f"  {name:<18} {address}")


def _echo_services(status: Status) -> None:
    click.echo(f"\n  {'service':<18} {'state':<10} {'ready':<6} {'pid':>7}  restarts")
    for name, each in status.services.items():
        ready = click.style(
            f"{'yes' if each.ready else 'no':<6}", fg="green" if each.ready else "red"
        )
        click.echo(f"  {name:<18} {each.state:<10} {ready} {each.pid or '':>7}  {each.restarts}")
        if each.last_event is not None:
            click.secho(f"    {each.last_event}", fg="yellow")


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True)
@with_settings
def logs(settings: Settings, *, name: str, follow: bool, lines: int) -> None:
    """Print the end of the log of the service NAME."""
    layout = _stack(settings).layout
    path = layout.log(name)
    if not path.is_file():
        found = ", ".join(sorted(log.stem for log in layout.logs.glob("*.log"))) or "none"
        raise TallyError(f"There is no log {path}.", hint=f"Logs there: {found}.")
    with path.open(errors="replace") as text:
        click.echo("".join(deque(text, maxlen=lines)), nl=False)
        position = text.tell()
    if follow:
        try:
            for piece in _followed(path, position):
                click.echo(piece, nl=False)
        except KeyboardInterrupt:
            click.echo()


def _followed(path: Path, position: int) -> Iterator[str]:
    """What is appended to a file from a position on, across rotations; it never ends."""
    inode = path.stat().st_ino
    while True:
        try:
            found = path.stat()
        except FileNotFoundError:  # in the middle of a rotation
            found = None
        if found is not None:
            if found.st_ino != inode or found.st_size < position:
                inode, position = found.st_ino, 0
            if found.st_size > position:
                with path.open("rb") as content:
                    content.seek(position)
                    piece = content.read()
                position += len(piece)
                yield piece.decode(errors="replace")
                continue
        time.sleep(FOLLOW_SECONDS)


@click.command()
@with_settings
def env(settings: Settings) -> None:
    """Print the running stack's settings for a shell: `eval "$(tally env)"`."""
    from tally.local.layout import read_json

    stack = _stack(settings)
    known = read_json(stack.layout.settings)
    if known is None or stack.supervisor.pid() is None:
        raise TallyError(
            f"Nothing runs in {stack.layout.home}.",
            hint=f"Start it with `tally up --home {shlex.quote(str(settings.home))}`.",
        )
    for name, value in {"home": stack.layout.home, **known}.items():
        click.echo(f"export TALLY_{name.upper()}={shlex.quote(str(value))}")
