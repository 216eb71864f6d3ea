"""`tally verify`: one consistent look at everything, then the verdict."""

import asyncio
import functools
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import click
import duckdb
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.table import Table

from tally.backlog import messages_behind
from tally.cli import with_settings
from tally.errors import TallyError
from tally.progress import ProgressLine
from tally.settings import Settings
from tally.tokens import LocalSigner
from tally.verify.answers import Question, compare_answers
from tally.verify.export import export_raw
from tally.verify.marts import compare_marts
from tally.verify.proof import Proof
from tally.verify.recompute import DEFINITIONS, derive_facts, expected_answers
from tally.warehouse import connect

# Of each source, so that a mart that is all wrong does not hide the others.
SHOWN_DIFFERENCES = 20
ATTEMPTS = 3

_POLL_SECONDS = 0.5

_LEDGER_END = """
select stream, max(last_offset) from raw.ingest_ledger group by stream order by stream
"""


class LedgerMovedError(Exception):
    """Events were stored meanwhile, or a day ended: the readings are not of one state."""


@click.command()
@click.option(
    "--as-of",
    "as_of",
    type=click.DateTime(["%Y-%m-%d"]),
    multiple=True,
    help="UTC date to ask the API for; may be given several times. [default: today in UTC]",
)
@click.option(
    "--wait",
    type=click.IntRange(0),
    default=120,
    show_default=True,
    help="Seconds to wait for the marts to reach the end of the ingest ledger.",
)
@click.option(
    "--deep",
    is_flag=True,
    help="Compare the marts of the nightly run as well, after `tally materialize --deep`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@with_settings
def verify(
    settings: Settings, as_of: tuple[datetime, ...], wait: int, deep: bool, as_json: bool
) -> None:
    """Recompute every metric from raw with another engine, of every user and of all, and compare.

    Exits with 0 only when there was something to compare and nothing differs.
    """
    dates = sorted({given.date() for given in as_of}) or [datetime.now(UTC).date()]
    if dates[-1] > datetime.now(UTC).date():
        raise TallyError(f"{dates[-1]} is in the future: the API answers until today in UTC.")
    console = Console(stderr=True, soft_wrap=True)
    proof = prove(settings, dates, deep=deep, wait_seconds=wait, console=console)
    _record(settings, proof, console)
    if as_json:
        click.echo(json.dumps(proof.as_dict(SHOWN_DIFFERENCES), indent=2, default=str))
    else:
        _print(proof, Console(soft_wrap=True))
    if proof.differences:
        sys.exit(1)


def _record(settings: Settings, proof: Proof, console: Console) -> None:
    """Leave the outcome for the exporter; whoever may only read has verified all the same."""
    try:
        with closing(connect(settings)) as warehouse:
            warehouse.insert(
                "marts.verifications",
                [[len(proof.differences), sum(proof.comparisons.values()), proof.seconds]],
                column_names=["differences", "compared", "seconds"],
            )
    except ClickHouseError as error:
        console.print(f"the outcome could not be recorded for the metrics: {error}")


def prove(
    settings: Settings, dates: list[date], *, deep: bool, wait_seconds: float, console: Console
) -> Proof:
    """Verify one state of the platform; starts over when events are stored meanwhile.

    Raises `TallyError` when the marts stay behind, when ingestion does not pause for long enough,
    and when there is no event at all: nothing compared is nothing proven.
    """
    settings.endpoint("api_url")
    with closing(connect(settings)) as warehouse:
        for attempt in range(ATTEMPTS):
            _wait_for_marts(warehouse, wait_seconds, console)
            try:
                return _prove_once(settings, warehouse, dates, console, deep=deep)
            except LedgerMovedError:
                console.print(f"events were stored meanwhile, again ({attempt + 1}/{ATTEMPTS})")
    raise TallyError(
        f"Events were stored during each of {ATTEMPTS} verifications: no two readings are of one "
        "state.",
        hint="Verify while nothing is produced.",
    )


def _prove_once(
    settings: Settings, warehouse: Client, dates: list[date], console: Console, *, deep: bool
) -> Proof:
    started = time.perf_counter()
    proof = Proof(as_of=[as_of.isoformat() for as_of in dates])
    report = ProgressLine(console)
    with (
        tempfile.TemporaryDirectory(prefix="tally-verify-") as folder,
        duckdb.connect(Path(folder) / "proof.duckdb") as database,
    ):
        ledger, today = _ledger_end(warehouse), datetime.now(UTC).date()
        export_raw(warehouse, database, report)
        if _ledger_end(warehouse) != ledger:
            raise LedgerMovedError
        derive_facts(database, today, proof)
        if proof.users == 0:
            raise TallyError(
                "There is no accepted event in raw, so there is nothing to prove.",
                hint="Produce and ingest some actions first.",
            )
        console.print(f"recomputed {proof.events:,} events of {proof.users:,} users in DuckDB")
        compare_marts(warehouse, database, proof, report, deep=deep)
        signed = functools.cache(LocalSigner(settings).sign)
        in_all = proof.users * len(dates) * len(DEFINITIONS)
        answers = itertools.count(1)
        comparing = compare_answers(
            settings.endpoint("api_url"),
            signed,
            _questions(database, dates),
            proof,
            lambda: report(f"asked the API {next(answers):,} of {in_all:,}"),
        )
        asyncio.run(comparing)
        if (_ledger_end(warehouse), datetime.now(UTC).date()) != (ledger, today):
            raise LedgerMovedError
    proof.seconds = time.perf_counter() - started
    return proof


def _questions(database: duckdb.DuckDBPyConnection, dates: list[date]) -> Iterator[Question]:
    """Every user under each date and definition.

    Games do not depend on the definition: they are asked for with the first, and the others prove
    the answers that leave them out, which the API takes from another mart.
    """
    for as_of in dates:
        for definition in DEFINITIONS:
            for expected in expected_answers(database, as_of, definition):
                if definition != DEFINITIONS[0]:
                    del expected["by_game"]
                yield Question(as_of, definition, expected)


def _ledger_end(warehouse: Client) -> list[tuple[str, int]]:
    return [tuple(row) for row in warehouse.query(_LEDGER_END).result_rows]


def _wait_for_marts(warehouse: Client, limit_seconds: float, console: Console) -> None:
    """Wait until the marts have seen everything in the ledger, as the schedule sees to it."""
    deadline = time.monotonic() + limit_seconds
    told = False
    while behind := messages_behind(warehouse):
        if not told:
            console.print(
                f"the marts are {behind:,} messages behind the ingest ledger; waiting up to "
                f"{limit_seconds:.0f} s for the schedule"
            )
            told = True
        if time.monotonic() > deadline:
            raise TallyError(
                f"The marts are {behind:,} messages behind the ingest ledger.",
                hint="Run `tally materialize`, then verify again.",
            )
        time.sleep(_POLL_SECONDS)


def _print(proof: Proof, console: Console) -> None:
    console.print(f"as of          {', '.join(proof.as_of)} (UTC)")
    console.print(
        f"events         {proof.events:,} accepted ({proof.stored_rows:,} rows stored), "
        f"{proof.dead_letters:,} dead letters"
    )
    console.print(f"users          {proof.users:,}")
    console.print(f"metrics        {len(proof.metrics)}")
    for source, count in proof.comparisons.items():
        console.print(f"comparisons    {count:,} with {source}")
    if proof.not_compared:
        console.print(f"not compared   {', '.join(proof.not_compared)} (nightly; see --deep)")
    console.print(f"seconds        {proof.seconds:.1f}")
    verdict = "green" if not proof.differences else "red"
    console.print(f"[{verdict}]differences    {len(proof.differences):,}[/{verdict}]")
    for source, differences in proof.by_source().items():
        table = Table("metric", "key", "expected", "found", box=None, title_justify="left")
        table.title = f"{source}: {len(differences):,} differences"
        for found in differences[:SHOWN_DIFFERENCES]:
            key = " ".join(f"{name}={value}" for name, value in found.key.items())
            table.add_row(found.metric, key, str(found.expected), str(found.found))
        console.print(table)
        if len(differences) > SHOWN_DIFFERENCES:
            console.print(f"the first {SHOWN_DIFFERENCES} of {len(differences):,}")
