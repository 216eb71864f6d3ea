"""The commands of ingestion, from `tally migrate` to `tally verify-ingest`.

The command line imports this module to print its help, so what is heavy is imported where it runs.
"""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from tally.cli import with_settings
from tally.settings import Settings


@click.command()
@with_settings
def migrate(settings: Settings) -> None:
    """Bring the schema of raw up to date."""
    from ingest import migrations
    from tally.warehouse import connect

    applied = 0
    for migration in migrations.migrate(connect(settings)):
        click.echo(f"applied {migration.name}")
        applied += 1
    if not applied:
        click.echo("raw is up to date")


@click.command()
@with_settings
def topics(settings: Settings) -> None:
    """Create the Kafka topics that are missing. (`tally ingest` does it too.)"""
    from ingest.topics import create_missing

    for name in (created := create_missing(settings)):
        click.echo(f"created {name} with {settings.topic_partitions} partitions")
    if not created:
        click.echo("all topics are there")


@click.command()
@with_settings
def ingest(settings: Settings) -> None:
    """Carry user actions from Kafka into the warehouse until SIGTERM."""
    from ingest.service import run

    run(settings)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--format", "file_format", type=click.Choice(["bustabit", "jsonl"]), required=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second.")
@click.option("--shuffle", "seed", type=int, help="Send in a random order of this seed.")
@click.option("--reverse", is_flag=True, help="Send the last line first.")
@click.option(
    "--duplicate",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Probability that a message is sent twice.",
)
@with_settings
def replay(  # noqa: PLR0917 - click passes each option
    settings: Settings,
    file: Path,
    file_format: str,
    rate: float | None,
    seed: int | None,
    reverse: bool,
    duplicate: float,
) -> None:
    """Produce the events of FILE to Kafka."""
    from ingest.replay import Order, replay_file

    if reverse and seed is not None:
        raise click.UsageError("--shuffle and --reverse exclude each other.")
    replay_file(
        settings,
        file,
        file_format,
        Order(seed=seed, reverse=reverse, duplicate=duplicate),
        rate=rate,
    )


@click.command()
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, help="Seconds.")
@with_settings
def wait(settings: Settings, timeout: float) -> None:
    """Wait until everything in Kafka is readable in the warehouse."""
    from ingest.progress import wait_until_stored

    wait_until_stored(settings, timeout_s=timeout, say=click.echo)


@click.command("verify-ingest")
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON.")
@with_settings
def verify_ingest(settings: Settings, as_json: bool) -> None:
    """Account for every offset of the topic; ends with 1 where one is not accounted for."""
    import msgspec
    from rich.console import Console

    from ingest.account import take_account
    from ingest.account_report import tell
    from ingest.progress import Broker, read_backlog
    from tally.warehouse import connect

    client = connect(settings)
    broker = Broker(settings)
    try:
        cluster_id, _ = broker.describe()
        backlog = read_backlog(client, broker)
        account = take_account(client, settings.actions_topic, cluster_id, backlog)
    finally:
        broker.close()
    if as_json:
        document = msgspec.to_builtins(account) | {"clean": not account.every_fault}
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
    else:
        tell(account, Console())
    if account.every_fault:
        raise SystemExit(1)


@click.command("verify-record")
@click.option("--hours", type=click.IntRange(min=1), default=24, help="The last so many, complete.")
@with_settings
def verify_record(settings: Settings, hours: int) -> None:
    """Tell the ingest loss ratio of each UTC hour; ends with 1 where one is 0.5 % or more.

    What was found is kept, for the model `hourly_record`.
    """
    import psycopg
    from rich.console import Console
    from rich.table import Table

    from ingest.record_loss import PAGE_RATIO, WARN_RATIO, keep_losses, read_losses
    from tally.warehouse import connect

    until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with (
        psycopg.connect(settings.endpoint("postgres_url")) as record,
        closing(connect(settings)) as warehouse,
    ):
        losses = list(read_losses(record, warehouse, until - timedelta(hours=hours), until))
        keep_losses(warehouse, losses)
    table = Table("hour (UTC)", "recorded", "arrived", "loss ratio")
    for each in losses:
        style = "red" if each.loss_ratio >= PAGE_RATIO else "yellow"
        table.add_row(
            f"{each.hour:%Y-%m-%d %H:00}",
            f"{each.recorded:,}",
            f"{each.arrived:,}",
            f"{each.loss_ratio:.4%}",
            style=style if each.loss_ratio >= WARN_RATIO else None,
        )
    Console().print(table)
    if any(each.loss_ratio >= PAGE_RATIO for each in losses):
        raise SystemExit(1)


@click.command()
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder that backups are kept in; each is a folder of its own there.",
)
@with_settings
def backup(settings: Settings, folder: Path) -> None:
    """Write all of raw to Parquet files, and keep the latest seven such backups."""
    from rich.console import Console

    from ingest.backup import back_up
    from tally.progress import ProgressLine
    from tally.warehouse import connect

    with closing(connect(settings)) as warehouse:
        click.echo(back_up(warehouse, folder, ProgressLine(Console(stderr=True, soft_wrap=True))))


@click.command()
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="One backup: the folder that `tally backup` printed.",
)
@with_settings
def restore(settings: Settings, folder: Path) -> None:
    """Fill an empty, migrated raw from a backup; ingestion goes on from where that ends."""
    from rich.console import Console

    from ingest import backup
    from tally.progress import ProgressLine
    from tally.warehouse import connect

    line = ProgressLine(Console(stderr=True, soft_wrap=True))
    with closing(connect(settings)) as warehouse:
        rows = backup.restore(warehouse, folder, line)
    click.echo(f"restored {rows['events']:,} events, {sum(rows.values()):,} rows in all")
    click.echo("  tally materialize --full-refresh")
    click.echo("  tally erase USER_ID...  # everyone who was erased after this backup")


@click.group()
def dlq() -> None:
    """List, show and send again the dead letters."""


@dlq.command("list")
@click.option("--reason", default="", help="Only letters with this reason.")
@click.option("--limit", type=click.IntRange(min=1), default=20, help="The latest so many.")
@with_settings
def list_letters(settings: Settings, reason: str, limit: int) -> None:
    """Count the dead letters by reason, and list the latest."""
    from ingest import letters
    from tally.warehouse import connect

    client, topic = connect(settings), settings.actions_topic
    counted = letters.count_by_reason(client, topic)
    if not counted:
        click.echo(f"no dead letters of {topic}")
    for name, count, replayed in counted:
        click.echo(f"{count:>10,} {name}, {replayed:,} of them sent again")
    for letter in letters.read_letters(client, topic, reason=reason, limit=limit):
        again = " (sent again)" if letter.replayed_at else ""
        at = f"{letter.appended_at:%Y-%m-%dT%H:%M:%SZ}"
        click.echo(f"{letter.letter_id}  {at}  {letter.reason}: {letter.error[:100]}{again}")


@dlq.command("show")
@click.argument("letter_id")
@with_settings
def show_letter(settings: Settings, letter_id: str) -> None:
    """Show one dead letter whole. LETTER_ID is cluster/topic/partition:offset."""
    from ingest import letters
    from tally.warehouse import connect

    letter = letters.read_letter(connect(settings), letters.parse_letter_id(letter_id))
    value = "(none)" if letter.value is None else letter.value.decode("utf-8", "backslashreplace")
    for name, text in (
        ("letter", str(letter.letter_id)),
        ("appended", f"{letter.appended_at:%Y-%m-%dT%H:%M:%S.%fZ}"),
        ("reason", letter.reason),
        ("error", letter.error),
        ("replay of", letter.replay_of),
        ("sent again", f"{letter.replayed_at:%Y-%m-%dT%H:%M:%SZ}" if letter.replayed_at else ""),
        ("key", letter.key.decode("utf-8", "backslashreplace")),
        ("value", value),
    ):
        if text:
            click.echo(f"{name + ':':<12}{text}")


@dlq.command("replay")
@click.argument("letter_ids", nargs=-1)
@click.option("--reason", help="All letters with this reason that were never sent again.")
@click.option("--again", is_flag=True, help="Named letters also if they were sent before.")
@with_settings
def replay_letters(
    settings: Settings, letter_ids: tuple[str, ...], reason: str | None, again: bool
) -> None:
    """Send dead letters through ingestion again, by LETTER_IDS or by --reason; each once."""
    from ingest import letters
    from tally.warehouse import connect

    if bool(letter_ids) == (reason is not None):
        raise click.UsageError("Name either letters or a --reason.")
    if reason in letters.NEVER_BETTER:
        raise click.UsageError(f"A {reason} stays one. Name the letters if you mean it.")
    client = connect(settings)
    if reason is not None:
        chosen = letters.read_letters(client, settings.actions_topic, reason=reason, pending=True)
    else:
        named = [letters.read_letter(client, letters.parse_letter_id(i)) for i in letter_ids]
        chosen = [letter for letter in named if again or letter.replayed_at is None]
        if len(chosen) < len(named):
            click.echo(f"{len(named) - len(chosen):,} were sent before; --again sends them anyway")
    click.echo(f"sent {letters.replay(settings, client, chosen):,} letters again")
