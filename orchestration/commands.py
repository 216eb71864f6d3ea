"""The commands of orchestration: `tally prepare`, `tally materialize`, `tally erase`."""

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import get_args

import click
from clickhouse_connect.driver import Client

from tally.cli import with_settings
from tally.errors import TallyError
from tally.settings import Settings, Target
from tally.tokens import MAX_USER_ID
from tally.warehouse import MARTS, connect


@click.command()
@click.option("--parse-only", is_flag=True, help="Write dbt's manifest and touch no warehouse.")
@with_settings
def prepare(settings: Settings, parse_only: bool) -> None:
    """Parse the dbt project and create its relations in the warehouse.

    A nightly table that is there stays as it is: at every start of a stack it would be read anew
    from all of raw. After a change of one, `tally materialize --deep` makes it again.
    """
    from orchestration.lib.dbt import DEEP, ensure_manifest, run_dbt

    if parse_only:
        ensure_manifest(settings)
        click.echo("dbt's manifest is in place")
        return
    with closing(connect(settings)) as client:
        there = client.query(f"select name from system.tables where database = '{MARTS}'")
    made = [f"{DEEP},{name}" for (name,) in there.result_rows]
    run_dbt(["run", *(["--exclude", *made] if made else [])], settings)
    click.echo("dbt relations are in place")


@click.command()
@click.option("--full-refresh", is_flag=True, help="Build every mart anew from all of raw.")
@click.option("--deep", is_flag=True, help="Build and test every model, as the nightly run does.")
@click.option(
    "--days",
    metavar="FIRST..LAST",
    help="Compute these UTC days anew, some at a time: 2026-01-01..2026-03-31.",
)
@click.option(
    "--target",
    type=click.Choice(get_args(Target)),
    default="clickhouse",
    show_default=True,
    help="The engine to build on: the warehouse, the system of record, or a file beside an export.",
)
@click.option(
    "--from",
    "export_folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The export that the target duckdb is built from. [default: TALLY_EXPORT_FOLDER]",
)
@with_settings
def materialize(
    settings: Settings,
    *,
    full_refresh: bool,
    deep: bool,
    days: str | None,
    target: Target,
    export_folder: Path | None,
) -> None:
    """Bring the marts up to date and test them, in this process."""
    if full_refresh + deep + (days is not None) > 1:
        raise click.UsageError("--full-refresh, --deep and --days exclude each other.")
    if target != "clickhouse" and (deep or days is not None):
        raise click.UsageError(f"--deep and --days are of the warehouse; {target} has neither.")
    if export_folder is not None:
        settings = settings.model_copy(update={"export_folder": export_folder})
    if days is not None:
        _backfill(settings, days)
    elif target == "clickhouse":
        _run_job(settings, "rebuild" if full_refresh else "deep" if deep else "materialize")
    else:
        from orchestration.lib.dbt import run_dbt

        run_dbt(["build", *(["--full-refresh"] if full_refresh else [])], settings, target)
        # As dbt_project/profiles.yml names it.
        file = settings.export_folder and settings.export_folder / "tally.duckdb"
        click.echo(f"materialized on {target}{f': {file}' if target == 'duckdb' else ''}")


def _backfill(settings: Settings, text: str) -> None:
    """Run the job `backfill` for the days, range after range; where one fails, from there again."""
    from orchestration.lib.backfill import Days

    days = Days.parse(text)
    ranges = list(days.split())
    for done, each in enumerate(ranges):
        click.echo(f"{each} ({done + 1} of {len(ranges)})")
        try:
            _run_job(
                settings,
                "backfill",
                {
                    "dagster/asset_partition_range_start": str(each.first),
                    "dagster/asset_partition_range_end": str(each.last),
                },
            )
        except TallyError as error:
            left = Days(each.first, days.last)
            raise TallyError(
                error.message, hint=f"{error.hint} Go on with `tally materialize --days {left}`."
            ) from error


def _run_job(settings: Settings, job: str, tags: Mapping[str, str] | None = None) -> None:
    """Run a job as Dagster would, and wait for it.

    Raises `TallyError` where it or one of its checks failed.
    """
    os.environ["TALLY_HOME"] = str(settings.home.absolute())
    from dagster import DagsterInstance

    from orchestration.lib.dbt import ensure_manifest
    from orchestration.lib.launcher import PID_TAG

    ensure_manifest(settings)
    from orchestration.definitions import defs

    dagster_home = settings.home.absolute() / "dagster"
    instance = (
        DagsterInstance.from_config(str(dagster_home))
        if (dagster_home / "dagster.yaml").is_file()
        else DagsterInstance.ephemeral()
    )
    with instance:
        result = defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            raise_on_error=False,
            tags={**(tags or {}), PID_TAG: str(os.getpid())},
            # dbt tells its own progress; of Dagster's events a terminal needs what is wrong.
            run_config={"loggers": {"console": {"config": {"log_level": "WARNING"}}}},
        )
    failed_checks = [
        evaluation.check_name
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
    ]
    if not result.success or failed_checks:
        raise TallyError(
            "The materialization failed"
            + (f" these checks: {', '.join(failed_checks)}." if failed_checks else "."),
            hint=f"Run {result.run_id} is in the Dagster UI ({settings.dagster_url}).",
        )
    click.echo(f"materialized: {len(result.get_asset_materialization_events())} assets")


@click.command()
@click.argument("users", metavar="[USER_ID]...", nargs=-1, type=click.IntRange(1, MAX_USER_ID))
@click.option("--check", is_flag=True, help="Erase nothing; end with 1 where anything is left.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings
def erase(settings: Settings, users: tuple[int, ...], *, check: bool, yes: bool) -> None:
    """Erase users from the warehouse, for good: nothing of theirs is taken or answered any more.

    Without a USER_ID it looks for what is left of everyone who was ever erased: to finish a run
    that died, and after a restore.
    """
    from rich.console import Console

    from orchestration.lib import erasure
    from orchestration.lib.dbt import ensure_manifest, manifest
    from orchestration.lib.exclusive import exclusively, lock_file
    from tally.progress import ProgressLine

    ensure_manifest(settings)
    databases = erasure.databases(manifest(settings))
    with closing(connect(settings)) as client:
        if check:
            _say_what_is_left(client, databases)
            return
        for user in users:
            click.echo(erasure.describe(client, user))
        if users and not yes:
            click.confirm("Erase for good?", abort=True)
        erasure.put_on_list(client, users)
        wait = "A materialization runs; waiting for its end."
        line = ProgressLine(Console(stderr=True, soft_wrap=True))
        with exclusively(lock_file(settings), on_wait=lambda: click.echo(wait)):
            for done in erasure.erase(client, databases, line):
                click.echo(f"{done.table}: {done.rows:,} rows erased")
        _say_what_is_left(client, databases)


def _say_what_is_left(client: Client, databases: Sequence[str]) -> None:
    """Ends with 1 where anything is."""
    from orchestration.lib.erasure import left, listed

    found = left(client, databases)
    for each in found:
        click.echo(f"{each.table}: {each.rows:,} rows are left; run `tally erase` again", err=True)
    if found:
        raise SystemExit(1)
    click.echo(f"nothing is left of the {len(listed(client)):,} users who were ever erased")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=0, show_default=True, help="0 takes a free one.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page to this file and serve nothing.",
)
@with_settings
def docs(settings: Settings, host: str, port: int, output: Path | None) -> None:
    """Serve the documentation of every model: columns, tests, SQL and lineage, on one page.

    Beside it under `/quality/` the Data Docs of the last nightly run.
    """
    from orchestration.lib.docs import QUALITY, generate, pages, serve

    page = generate(settings)
    if output is not None:
        shutil.copyfile(page, output)
        click.echo(output)
        return
    with serve(pages(settings), host, port) as server:
        address = f"http://{host}:{server.server_port}"
        click.echo(f"{address}, until Ctrl-C")
        if (pages(settings) / QUALITY).is_dir():
            click.echo(f"{address}/{QUALITY}/ has what the nightly run found of the expectations")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
