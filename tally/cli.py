"""The `tally` command: finds each subcommand by entry point and imports it only when it is called.

The packages above `tally` register their own commands in pyproject.toml under `tally.commands`, so
that the ground floor imports none of them and `tally --help` stays quick.
"""

import functools
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from tally.errors import TallyError
from tally.settings import load_settings


class EntryPointGroup(click.Group):
    """A click group whose commands are the entry points `tally.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(entry_points(group="tally.commands").names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for found in entry_points(group="tally.commands", name=cmd_name):
            command: click.Command = found.load()
            return command
        return None


@click.group(cls=EntryPointGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tally")
def tally() -> None:
    """Exact, provable player analytics: from Kafka to one number everywhere."""


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its `--home` option and pass it the `Settings` as first argument."""

    @click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="Folder of the local stack. [default: TALLY_HOME or .tally]",
    )
    @functools.wraps(command)
    def wrapped(*args: Any, home: Path | None, **kwargs: Any) -> Any:
        return command(load_settings(home), *args, **kwargs)

    return wrapped


def main() -> None:
    """Run the command line; a `TallyError` is printed for its reader, not as a traceback."""
    try:
        tally(prog_name="tally")
    except TallyError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(error.exit_code)
