"""The simulator as a service of the local stack: it fills the record and the warehouse."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tally.warehouse import connect
from tests.stacks import Stack, running_stack

# Sixty days of 600 players come first: a busy CI machine once took over 90 s.
LIMIT_S = 240


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.1)


def stored(stack: Stack) -> set[str]:
    """The ids of the events that are readable in the warehouse."""
    client = connect(stack.settings)
    try:
        rows = client.query("select distinct toString(event_id) from raw.events").result_rows
    finally:
        client.close()
    return {event_id for (event_id,) in rows}


def recorded(stack: Stack) -> set[str]:
    """The ids of the actions in the system of record."""
    assert stack.settings.postgres_url is not None
    with psycopg.connect(stack.settings.postgres_url) as connection:
        rows = connection.execute("select event_id::text from user_actions").fetchall()
    return {event_id for (event_id,) in rows}


@pytest.mark.timeout(800)
def test_it_plays_into_the_record_and_the_topic_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    options = ("--without", "dagster,api,prepare", "--with", "simulator")
    with running_stack(tmp_path / "home", *options) as stack:
        until(lambda: len(stored(stack)) > 2_000)
        first = stored(stack)
        # What is in the warehouse was in the record before it was sent.
        assert first <= recorded(stack)

        service = stack.status()["services"]["simulator"]
        os.kill(service["pid"], signal.SIGKILL)
        until(lambda: stack.status()["services"]["simulator"]["restarts"] == 1)
        until(lambda: len(stored(stack)) > len(first) + 2_000)
        # The same world again: had it been another, every event would have come twice.
        assert stored(stack) >= first
        assert stored(stack) <= recorded(stack)
        client = connect(stack.settings)
        signed_up_twice = client.query(
            "select user_id from raw.events final where action_type = 'SIGN_UP' "
            "group by user_id having count() > 1"
        ).result_rows
        client.close()
        assert signed_up_twice == []
