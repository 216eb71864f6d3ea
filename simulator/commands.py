"""The command `tally simulate`. What is heavy is imported where it runs, as `--help` loads this."""

import logging
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click

from tally.cli import with_settings
from tally.errors import TallyError
from tally.settings import Settings

# Without `--until now` a world has the same dates whenever it is run.
FIRST_DAY = date(2025, 1, 1)


@click.command()
@click.option("--users", type=click.IntRange(min=1), default=300, show_default=True)
@click.option("--days", type=click.IntRange(min=1), default=60, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d"]),
    help=f"The first UTC day. [default: {FIRST_DAY}; with --until now, DAYS days ago; with --live, "
    "that of the last time]",
)
@click.option("--until", type=click.Choice(["now"]), help="Go on from the first day until now.")
@click.option("--live", is_flag=True, help="After that go on in real time, until stopped.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Deliveries a second.")
@click.option("--as-fast-as-possible", is_flag=True, help="Without a rate (the default).")
@click.option("--faults", default="none", show_default=True, help="A fault profile.")
@click.option("--scenario", help="One player lives this named scenario instead, on one day.")
@click.option("--first-user", type=click.IntRange(min=1), help="The lowest user id.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the messages to FILE, a line each, and send nothing.",
)
@click.option(
    "--truth",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what every player's statistics must be to FILE, a line each.",
)
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The date of the truth. [default: the last simulated day]",
)
@with_settings
def simulate(
    settings: Settings,
    *,
    users: int,
    days: int,
    seed: int,
    start: datetime | None,
    until: str | None,
    live: bool,
    rate: float | None,
    as_fast_as_possible: bool,
    faults: str,
    scenario: str | None,
    first_user: int | None,
    out: Path | None,
    truth: Path | None,
    as_of: datetime | None,
) -> None:
    """Play a game backend: seeded players, their events, and the truth about them."""
    if as_fast_as_possible and rate is not None:
        raise click.UsageError("--rate and --as-fast-as-possible exclude each other.")
    if scenario is not None and live:
        raise click.UsageError("--scenario is one day; --live goes on.")

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("aiokafka", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)

    from simulator.faults import profile
    from simulator.live import first_day
    from simulator.run import Request, run
    from simulator.scenarios import Scenario
    from simulator.world import FIRST_USER_ID, World

    now = datetime.now(UTC)
    until_now = live or until == "now"
    length = timedelta(days=1 if scenario else days)
    lowest = first_user or FIRST_USER_ID
    if start is not None:
        first = start.date()
    elif until_now:
        first = now.date() + timedelta(days=1) - length
        if live:
            first = first_day(settings.home, f"{seed}/{users}/{days}/{lowest}", first)
    else:
        first = FIRST_DAY
    ends = now.date() if until_now else first + length
    if first > now.date() or (out is None and ends > now.date()):
        raise TallyError(
            f"The world from {first} has days that have not come yet.",
            hint="Begin earlier (--start), or end now (--until now).",
        )
    request = Request(
        world=World(seed, users, days, first, lowest)
        if scenario is None
        else Scenario(scenario, first, lowest, inviter_id=1, seed=seed),
        faults=profile(faults),
        until=now if until_now else None,
        live=live,
        rate=rate,
        out=out,
        truth=truth,
        as_of=as_of.date() if as_of is not None else None,
    )
    click.echo(run(settings, request))
