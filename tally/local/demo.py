"""`make demo`: the main job once, from real rounds to a proved answer, by plain commands."""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

import click

from tally.settings import Settings, load_settings

# Of the last round. The tests prove 2021-11-30 beside it, for 11 s more of asking the API.
AS_OF = "2021-12-10"
PLAYER = 1
SIMULATED_PLAYER = 1_000_001
# How long `tally up` may take and the rest each, on two busy cores.
STEP_TIMEOUT_SECONDS = 600


def tally(*arguments: str) -> None:
    """Show a command, run it, and stop the demo with its exit code where it fails."""
    click.secho(f"\n$ tally {shlex.join(arguments)}", bold=True)
    done = subprocess.run(
        [sys.executable, "-m", "tally", *arguments], check=False, timeout=STEP_TIMEOUT_SECONDS
    )
    if done.returncode != 0:
        click.secho(f"tally {arguments[0]} failed with exit code {done.returncode}", fg="red")
        raise SystemExit(done.returncode)


def rounds(settings: Settings) -> tuple[Path, str]:
    """The file to replay and its format: the real rounds where they are, else generated ones."""
    real = settings.real_data / "bustabit.csv"
    if real.is_file():
        return real, "bustabit"
    generated = settings.home / "sample.jsonl"
    click.echo(f"The real rounds are not at {real}; a small generated set takes their place.")
    world = ("--users", "50", "--days", "40", "--start", "2021-11-01", "--first-user", "1")
    tally("simulate", *world, "--out", str(generated))
    return generated, "jsonl"


def prove(*options: str) -> None:
    """Bring the marts up to date and compare every number with another engine's."""
    tally("wait")
    tally("materialize")
    tally("verify", *options)


def simulate_history(settings: Settings) -> None:
    """Sixty days of play until now, once a home: a second world would be lived by the same ids."""
    told = settings.home / "demo-history"
    if not told.exists():
        tally("simulate", "--users", "200", "--days", "60", "--until", "now")
        told.touch()


def show_addresses() -> None:
    """Where to look, for each of the three readers."""
    settings = load_settings()
    click.echo(
        f"\n  The page           {settings.api_url}/  (signed in: the address below)"
        f"\n  API documentation  {settings.api_url}/docs"
        f"\n  Dagster            {settings.dagster_url}"
        f"\n  ClickHouse         {settings.clickhouse_url}  (database analytics)"
        f"\n  Kafka              {settings.kafka_bootstrap}"
    )
    players = range(SIMULATED_PLAYER, SIMULATED_PLAYER + 3)
    tally("page", *(word for player in players for word in ("--user", str(player))))


def run(*, stay: bool) -> None:
    """The whole demo; with `stay` the stack runs on until Ctrl-C."""
    began = time.monotonic()
    tally("up", "--detach")
    try:
        path, format_ = rounds(load_settings())
        tally("replay", str(path), "--format", format_)
        prove("--as-of", AS_OF)
        click.secho(f"\nVerified {time.monotonic() - began:.0f} s after the start.", fg="green")
        tally("stats", "--user", str(PLAYER), "--as-of", AS_OF)
        click.echo(
            "\nThat was the main job. Now players who are still there, for something to watch."
        )
        simulate_history(load_settings())
        prove()
        tally("stats", "--user", str(SIMULATED_PLAYER))
        show_addresses()
        if stay:
            click.echo("\nThe stack runs until Ctrl-C.")
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        click.echo()
    finally:
        tally("down")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exit", action="store_true", help="end after the verification")
    run(stay=not parser.parse_args().exit)
