"""Whether a batch whose insert was interrupted is really in every table behind `landing`.

A MergeTree that is not replicated remembers the token of a block a moment before it has the block's
rows (seen with ClickHouse 26.9: two lines of a deduplication log named one part). A server that is
killed in between knows the token and not the rows, and takes the retry for a repetition: 275 events
were in `raw.events` and never in `raw.arrivals`, so no materialization saw them. Therefore an
acknowledgement is only believed where no attempt before it had an unknown end.
"""

import uuid

from clickhouse_connect.driver import Client
from clickhouse_connect.driver.external import ExternalData

from ingest.batch import Batch, texts_of

_THEIRS = "stream = {stream:String} and offset >= {first:UInt64} and offset <= {last:UInt64}"
_KNOWN = "user_id in (select user_id from asked) and event_id in (select event_id from asked)"

# A natural duplicate is merged away in the tables by event: there its id is looked for.
_MISSING = f"""
select countIf(
    if(
        is_dead,
        offset not in (select offset from raw.dead_letters where {_THEIRS}),
        offset not in (select offset from raw.arrivals where {_THEIRS})
        or event_id not in (select event_id from raw.events where {_KNOWN})
        or (is_of_round and event_id not in (select event_id from raw.round_events where {_KNOWN}))
    )
)
from asked
"""

_NO_ID = uuid.UUID(int=0)

# For a replicated table: what another replica has acknowledged is seen.
_SETTINGS = {"select_sequential_consistency": 1}


# Whoever shares an insert names the tokens of all that are in it.
TOKENS_BETWEEN = ","

# An operator's kill is the same: what has an unknown end is looked for.
_END_INSERTS = f"""
kill query where arrayExists(
    token -> startsWith(token, {{range:String}}),
    splitByChar('{TOKENS_BETWEEN}', Settings['insert_deduplication_token'])
) sync
"""


def end_inserts(client: Client, batch: Batch) -> None:
    """End the inserts of the batch that still run: whoever sent them is gone or was not answered.

    Under the batch's own token a second insert is refused by the tables; in an insert that the
    batch shared with others its rows would come twice.
    """
    client.command(_END_INSERTS, parameters={"range": f"{batch.stream}:{batch.first_offset}-"})


def is_whole(client: Client, batch: Batch) -> bool:
    """Whether every message of the batch is in each table that it belongs to."""
    asked = ExternalData(
        file_name="asked",
        data=_lines(batch),
        fmt="TabSeparated",
        structure="offset UInt64, user_id UInt64, event_id UUID, is_of_round Bool, is_dead Bool",
    )
    ((missing,),) = client.query(
        _MISSING, parameters=_range(batch), external_data=asked, settings=_SETTINGS
    ).result_rows
    return not missing


def forget_arrivals(client: Client, batch: Batch) -> None:
    """Take the batch out of the one table in which a row that comes again stays twice.

    Not where it is of dead letters alone: the arrivals among them are another batch's. Nor where
    nothing arrived, as after most crashes: a mutation waits for merges, and eight batches of a
    killed process were made again in 5.8 s, in 2.6 s without.
    """
    if not batch.accepted:
        return
    asked = _range(batch)
    ((arrived,),) = client.query(
        f"select count() from raw.arrivals where {_THEIRS}", parameters=asked, settings=_SETTINGS
    ).result_rows
    if arrived:
        client.command(
            f"alter table raw.arrivals delete where {_THEIRS}",
            parameters=asked,
            settings={"mutations_sync": 1},
        )


def _range(batch: Batch) -> dict[str, str | int]:
    return {
        "stream": str(batch.stream),
        "first": batch.first_offset,
        "last": batch.last_offset,
    }


def _lines(batch: Batch) -> bytes:
    events = batch.accepted_events()
    offsets, users, rounds = (events[n].to_pylist() for n in ("offset", "user_id", "round_id"))
    accepted = (
        f"{offset}\t{user_id}\t{event_id}\t{int(bool(round_id))}\t0\n"
        for offset, user_id, event_id, round_id in zip(
            offsets, users, texts_of(events), rounds, strict=True
        )
    )
    dead = (f"{d.message.offset}\t0\t{_NO_ID}\t0\t1\n" for d in batch.dead)
    return "".join((*accepted, *dead)).encode()
