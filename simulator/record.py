"""The backend's system of record in Postgres: what happened, whether or not it was published."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
import psycopg
from alembic import command
from alembic.config import Config

from simulator.events import rfc3339
from simulator.faults import Delivery
from tally.errors import TallyError

_STAGING = """
create temp table staged_actions
(like user_actions including defaults) on commit delete rows
"""
_COPY = """
copy staged_actions
(event_id, user_id, action_type, occurred_at, created_at, session_id, source, context)
from stdin
"""
# The same world played again writes the same actions.
_KEEP = "insert into user_actions select * from staged_actions on conflict do nothing"


class SystemOfRecord:
    """The table `user_actions`, one row an action."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        with connection.transaction():
            connection.execute(_STAGING)

    def write(self, deliveries: Sequence[Delivery]) -> None:
        """Store the actions in one transaction; those that are there already stay as they are."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            with cursor.copy(_COPY) as copy:
                for delivery in deliveries:
                    event = delivery.event
                    copy.write_row(
                        (
                            event.event_id,
                            event.user_id,
                            event.action_type,
                            rfc3339(event.at),
                            rfc3339(delivery.at),
                            event.session_id,
                            event.source,
                            orjson.dumps(event.context).decode(),
                        )
                    )
            cursor.execute(_KEEP)


def alembic_config(url: str) -> Config:
    """What Alembic needs to know of the record at `url`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["url"] = url
    return config


def migrate(url: str) -> None:
    """Bring the schema to its head."""
    command.upgrade(alembic_config(url), "head")


@contextmanager
def open_record(url: str) -> Iterator[SystemOfRecord]:
    """The migrated record at a `postgresql://` address. Raises `TallyError` without an answer."""
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            migrate(url)
            yield SystemOfRecord(connection)
    except psycopg.OperationalError as error:
        raise TallyError(
            f"The system of record does not answer: {error}",
            hint="TALLY_POSTGRES_URL names it; without one, events go to Kafka only.",
        ) from error
