"""Dead letters as their owner handles them: what there is, one of them whole, and sending again.

A letter is sent again as it came, with the same key and bytes and so the same event id, and is
marked. Sent twice, by a crash between the two or on purpose, it is a duplicate like any other.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from clickhouse_connect.driver import Client
from confluent_kafka import KafkaError, Message, Producer
from msgspec import Struct

from ingest.batch import REPLAY_HEADER
from ingest.streams import Stream, parse_stream
from tally.errors import TallyError
from tally.events import Reason
from tally.settings import Settings

DELIVERY_LIMIT_S = 60.0
PAGE = 500  # letters that are sent, then marked, together
MAX_MESSAGE_BYTES = 64 * 2**20

# To send these again as they are gives the same letter again, so they have to be named.
NEVER_BETTER = (Reason.CONFLICT, Reason.TOMBSTONE, Reason.ERASED_USER)
# Of these there is nothing that could be sent.
WITHOUT_VALUE = (Reason.TOMBSTONE, Reason.ERASED_USER)


class LetterId(Struct, frozen=True):
    """`stream:offset`, the place that the message came from."""

    stream: Stream
    offset: int

    def __str__(self) -> str:
        return f"{self.stream}:{self.offset}"


class Letter(Struct, frozen=True):
    """A stored dead letter. `replay_of` names the letter that it was before it was sent again."""

    letter_id: LetterId
    appended_at: datetime
    key: bytes
    value: bytes | None
    reason: str
    error: str
    replay_of: str
    replayed_at: datetime | None


def parse_letter_id(text: str) -> LetterId:
    """The inverse of `str(letter_id)`.

    Raises `TallyError` for anything else.
    """
    stream, _, offset = text.rpartition(":")
    try:
        return LetterId(parse_stream(stream), int(offset))
    except ValueError:
        raise TallyError(
            f"{text!r} is not a dead letter.",
            hint="A letter is named cluster/topic/partition:offset; `tally dlq list` shows them.",
        ) from None


_LETTERS = """
select
    letters.stream, letters.offset, appended_at, key, value, reason, error, replay_of,
    replays.replayed_at
from raw.dead_letters as letters final
left join (select stream, offset, max(replayed_at) as replayed_at from raw.dead_letter_replays
    group by stream, offset) as replays
on letters.stream = replays.stream and letters.offset = replays.offset
where topic = {topic:String} and (reason = {reason:String} or {reason:String} = '')
"""


def read_letters(
    client: Client, topic: str, *, reason: str = "", pending: bool = False, limit: int | None = None
) -> list[Letter]:
    """The topic's letters, the latest first; `pending`: only such as were never sent again."""
    sql = _LETTERS
    if pending:
        sql += " and replays.replayed_at is null and replay_of = ''"
    sql += " order by appended_at desc, letters.stream, letters.offset desc"
    if limit is not None:
        sql += f" limit {limit}"
    return list(_letters(client, sql, {"topic": topic, "reason": reason}))


def read_letter(client: Client, letter_id: LetterId) -> Letter:
    """One letter.

    Raises `TallyError` where there is none.
    """
    sql = _LETTERS + " and letters.stream = {stream:String} and letters.offset = {offset:UInt64}"
    named = {"stream": str(letter_id.stream), "offset": letter_id.offset}
    found = list(_letters(client, sql, {"topic": letter_id.stream.topic, "reason": "", **named}))
    if not found:
        raise TallyError(f"There is no dead letter {letter_id}.", hint="See `tally dlq list`.")
    return found[0]


def _letters(client: Client, sql: str, parameters: dict[str, object]) -> Iterator[Letter]:
    rows = client.query(
        sql,
        parameters=parameters,
        column_formats={"key": "bytes", "value": "bytes"},
        settings={"join_use_nulls": 1},
    ).result_rows
    for stream, offset, appended_at, key, value, reason, error, replay_of, replayed_at in rows:
        yield Letter(
            LetterId(parse_stream(stream), offset),
            appended_at,
            key,
            None if reason in WITHOUT_VALUE else value,
            reason,
            error,
            replay_of,
            replayed_at,
        )


def count_by_reason(client: Client, topic: str) -> list[tuple[str, int, int]]:
    """Of each reason: its name, how many letters there are and how many were sent again."""
    rows = client.query(
        f"select reason, count(), countIf(replayed_at is not null) from ({_LETTERS}) "
        "group by reason order by reason",
        parameters={"topic": topic, "reason": ""},
        settings={"join_use_nulls": 1},
    ).result_rows
    return [(reason, count, replayed) for reason, count, replayed in rows]


def replay(settings: Settings, client: Client, letters: Sequence[Letter]) -> int:
    """Send letters to the topic of user actions and mark them; how many.

    Raises `TallyError` where one is of an erased user, of which nothing is kept, and where Kafka
    does not take one; what was sent before it is marked.
    """
    if erased := [str(each.letter_id) for each in letters if each.reason == Reason.ERASED_USER]:
        raise TallyError(
            f"{erased[0]} is of an erased user: nothing is left of it that could be sent.",
            hint="Nothing was sent. Leave it out.",
        )
    producer = Producer(
        {
            "bootstrap.servers": settings.endpoint("kafka_bootstrap"),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "delivery.timeout.ms": int(DELIVERY_LIMIT_S * 1000),
            "log_level": 2,
        }
    )
    sent = 0
    for start in range(0, len(letters), PAGE):
        page = letters[start : start + PAGE]
        delivered, error = _send(producer, settings.actions_topic, page)
        _mark(client, delivered)
        sent += len(delivered)
        if error is not None:
            raise TallyError(
                f"Kafka took {sent:,} of {len(letters):,} letters: {error}",
                hint="Those are marked; run the same command again for the others.",
            )
    return sent


def _send(
    producer: Producer, topic: str, letters: Sequence[Letter]
) -> tuple[list[LetterId], str | None]:
    delivered: list[LetterId] = []
    errors: list[str] = []

    def told(letter: Letter, error: KafkaError | None) -> None:
        if error is None:
            delivered.append(letter.letter_id)
        else:
            errors.append(f"{letter.letter_id}: {error.str()}")

    for letter in letters:

        def on_delivery(error: KafkaError | None, _: Message, letter: Letter = letter) -> None:
            told(letter, error)

        producer.produce(
            topic,
            key=letter.key or None,
            value=letter.value,
            headers=[(REPLAY_HEADER, str(letter.letter_id).encode())],
            on_delivery=on_delivery,
        )
        producer.poll(0)
    producer.flush(DELIVERY_LIMIT_S)
    missing = len(letters) - len(delivered)
    return delivered, (errors or ["no answer"])[0] if missing else None


def _mark(client: Client, letters: Sequence[LetterId]) -> None:
    if letters:
        client.insert(
            "raw.dead_letter_replays",
            [[str(each.stream), each.offset] for each in letters],
            column_names=["stream", "offset"],
            settings={"async_insert": 0},
        )
