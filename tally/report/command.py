"""`tally report`: reads the models and writes the page."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import click
from clickhouse_connect.driver.exceptions import DatabaseError

from tally.cli import with_settings
from tally.errors import TallyError
from tally.report.page import render
from tally.report.readings import read
from tally.settings import Settings
from tally.warehouse import ANALYTICS, connect


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
)
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The last UTC date of every window. [default: the last with an active user]",
)
@click.option("--title", default="Tally", show_default=True)
@with_settings
def report(settings: Settings, *, output: Path, as_of: datetime | None, title: str) -> None:
    """Write one HTML page with the plots people look for first; it loads nothing when viewed."""
    try:
        with closing(connect(settings, ANALYTICS)) as client:
            readings = read(client, as_of.date() if as_of else None, datetime.now(UTC))
    except DatabaseError as error:
        if error.code not in (60, 81):  # unknown table, unknown database
            raise
        raise TallyError(
            "The warehouse lacks models that the report reads.",
            hint="Run `tally prepare`, then `tally materialize --deep`.",
        ) from error
    output.write_text(render(readings, title), encoding="utf-8")
    click.echo(f"{output} ({output.stat().st_size / 1000:,.0f} kB)")
