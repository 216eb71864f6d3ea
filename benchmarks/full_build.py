"""A full `dbt build` on what a running stack holds: every model from nothing, every test.

    export TALLY_HOME=$(mktemp -d)
    tally up --detach --without dagster,api
    tally replay bustabit.csv --format bustabit
    tally wait && python -m benchmarks.full_build; tally down

The floor, in the same run, is dbt that parses the project and builds nothing. Seconds by the clock,
and of the CPU by dbt and by the warehouse.
"""

import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import click
from clickhouse_connect.driver import Client

from orchestration.lib.dbt import run_dbt
from tally.settings import Settings, load_settings
from tally.warehouse import connect

GOAL_SECONDS = 60

_CPU = """
select sum(value) / 1e6 from system.events
where event in ('UserTimeMicroseconds', 'SystemTimeMicroseconds')
"""


@dataclass(frozen=True)
class Cost:
    """What one run of dbt cost, in seconds."""

    clock: float
    dbt: float
    warehouse: float

    def __str__(self) -> str:
        return (
            f"{self.clock:6.1f} s by the clock; CPU: dbt {self.dbt:.1f} s,"
            f" the warehouse {self.warehouse:.1f} s"
        )


def timed(arguments: list[str], settings: Settings, client: Client) -> Cost:
    """Run dbt and tell what it cost."""

    def used() -> Cost:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        ((warehouse,),) = client.query(_CPU).result_rows
        return Cost(time.perf_counter(), children.ru_utime + children.ru_stime, warehouse)

    before = used()
    run_dbt(arguments, settings)
    after = used()
    return Cost(
        after.clock - before.clock, after.dbt - before.dbt, after.warehouse - before.warehouse
    )


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False))
@click.option("--runs", default=3, show_default=True)
def main(home: Path | None, runs: int) -> None:
    """Measure the running stack."""
    settings = load_settings(home)
    client = connect(settings)
    ((events, users),) = client.query(
        "select count(), uniqExact(user_id) from raw.events"
    ).result_rows
    print(f"{events:,} events of {users:,} players")
    floor = timed(["parse", "--no-partial-parse"], settings, client)
    builds = [timed(["build", "--full-refresh"], settings, client) for _ in range(runs)]
    clock = statistics.median(build.clock for build in builds)
    print(f"  parse  {floor}")
    for build in builds:
        print(f"  build  {build}")
    print(f"  build / parse: {clock / floor.clock:.1f}x by the clock (medians)")
    print(f"goal < {GOAL_SECONDS} s by the clock: {'met' if clock < GOAL_SECONDS else 'missed'}")


if __name__ == "__main__":
    main()
