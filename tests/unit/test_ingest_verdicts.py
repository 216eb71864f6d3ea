"""Many messages judged at once: the usual ones in columns, the others one by one."""

import json
from datetime import UTC, date, datetime
from itertools import islice
from types import SimpleNamespace

import pytest

from ingest import batch, verdicts
from ingest.batch import Batch
from ingest.claims import claims_of
from ingest.streams import Stream
from ingest.verdicts import judge
from simulator.events import encode
from simulator.world import World
from tally.events import Reason, Rejection, parse
from tally.events.usual import read_usual

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def records(values):
    return [
        SimpleNamespace(offset=n, timestamp=1_000 + n, key=b"7", value=value, headers=())
        for n, value in enumerate(values)
    ]


@pytest.fixture(scope="module")
def simulated() -> list[bytes]:
    """What a game backend sends on its first days."""
    world = World(3, 40, 3, date(2026, 1, 1))
    return [encode(event) for event in islice(world.events(), 1_000)]


def test_what_the_backend_sends_is_usual(simulated, monkeypatch):
    """Else ingestion would be right and slow, and no other test would see it."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("judged one by one")

    monkeypatch.setattr(verdicts, "parse", never)
    judged = judge(records(simulated), NOW)
    assert judged.events.num_rows == len(simulated)
    assert len(set(judged.events["action_type"].to_pylist())) > 10


def test_each_message_gets_its_own_verdict_among_many(simulated):
    values = simulated[:400]
    values[7] = b"bad"
    values[11] = None
    values[20] = values[20].replace(b'":', b'": ')
    values[30] = values[30].replace(b"2026-", b"2028-")
    values[40] = values[40].replace(b'"user_id":', b'"user_id":1,"user_id":')
    won = next(n for n, value in enumerate(values) if n > 40 and b'"result":"win"' in value)
    values[won] = values[won].replace(b'"result":"win"', b'"result":"loss"')
    judged = judge(records(values), NOW)
    found = dict(zip(judged.events["offset"].to_pylist(), judged.events.to_pylist(), strict=True))
    assert [letter.message.offset for letter in judged.dead] == [7, 11, 30, 40, won]
    for offset, value in enumerate(values):
        verdict = parse(value, received_at=NOW)
        if isinstance(verdict, Rejection):
            assert offset not in found
        else:
            assert found[offset]["context"] == verdict.context
            assert found[offset]["occurred_at"] == verdict.occurred_at
            assert found[offset]["bet"] == verdict.bet


@pytest.mark.parametrize(
    "changed",
    [
        (b'"bet":100', b'"bet":100,"bet":100'),
        (b'"bet":100', b'"bet":1,"bet":100'),
        (b'"user_id":7', b'"user_id": 7'),
        (b'"round_id":"r1"', b'"round_id":"r\\u0031"'),
        (b'"round_id":"r1"', b'"round_id":"\\u0000"'),
        (b'"bet":100', b'"bet":1e2'),
        (b'"bet":100', b'"bet":-0'),
        (b'"bet":100', b'"bet":"100"'),
        (b'"bet":100', b'"bet":100,"other":1'),
        (b'"bet":100', b'"bet":100,"config_version":12345678901234567890123'),
        (b'"round_id":"r1"', b'"round_id":null'),
        (b"SLOT_SPIN", b"SLOT_SPUN"),
    ],
)
def test_what_an_encoder_would_write_otherwise_is_not_usual(changed):
    raw = (
        b'{"event_id":"018f3a5e-7c1b-7d2e-9a43-0123456789ab","user_id":7,"action_type":"SLOT_SPIN",'
        b'"occurred_at":"2026-03-01T11:59:58.123Z","context":'
        b'{"round_id":"r1","bet":100,"payout":250}}'
    )
    assert read_usual([raw]) != [None]
    assert changed[0] in raw
    assert read_usual([raw.replace(*changed)]) == [None]


def test_the_context_is_kept_as_it_stands_wherever_it_stands(simulated):
    for value in simulated[:200]:
        document = json.loads(value)
        document["context"] = document.pop("context") | {}
        last = json.dumps(document, separators=(",", ":")).encode()
        first = json.dumps(
            {"context": document["context"]} | document, separators=(",", ":")
        ).encode()
        kept = [judge(records([raw]), NOW).events["context"].to_pylist() for raw in (last, first)]
        assert kept[0] == kept[1] == [parse(value, received_at=NOW).context]


def test_claims_are_of_the_events_they_are_made_of(simulated):
    events = judge(records(simulated), NOW).events
    whole, some = list(claims_of("s", events)), list(claims_of("s", events.slice(30, 40)))
    assert [claim[0] for claim in whole] == events["event_id"].to_pylist()
    assert some == whole[30:70]
    assert list(claims_of("s", events.slice(0, 0))) == []


def test_however_a_batch_is_fed_its_verdicts_are_the_same(simulated, monkeypatch):
    monkeypatch.setattr(batch, "JUDGED_TOGETHER", 100)
    values = [b"bad" if n % 37 == 5 else value for n, value in enumerate(simulated)]
    judged: list[int] = []

    def counted(messages, received_at):
        judged.append(len(messages))
        return judge(messages, received_at)

    monkeypatch.setattr(batch, "judge", counted)

    def fed(slice_size: int, *, looked_at: bool = False) -> tuple[object, list[int], int]:
        made = Batch(Stream("c", "t", 0), 0, 0.0)
        made.received_at = NOW
        messages = records(values)
        for first in range(0, len(messages), slice_size):
            made.add(messages[first : first + slice_size])
            if looked_at:
                assert made.accepted + len(made.dead) == len(made)
        dead = [letter.message.offset for letter in made.dead]
        events = made.accepted_events().sort_by("offset").to_pylist()
        return events, dead, made.unknown_actions

    whole = fed(len(values))
    assert whole[1] == [n for n in range(len(values)) if n % 37 == 5]
    judged.clear()
    assert fed(3) == whole
    assert max(judged) <= 102, "the event loop stands still for no longer"
    assert len(judged) <= len(values) // 100 + 1, "a few messages cost as much as many"
    assert fed(70, looked_at=True) == whole


def test_a_batch_in_halves_and_without_what_was_rejected_has_each_message_once(simulated):
    values = simulated[:50]
    values[3] = values[33] = b"bad"
    batch = Batch(Stream("c", "t", 0), 0, 0.0)
    batch.add(records(values)[:20])
    batch.add(records(values)[20:])
    rejected = batch.reject({n: Rejection(Reason.REFUSED, "no") for n in (5, 41)})
    assert rejected == [json.loads(values[n])["event_id"] for n in (5, 41)]
    assert [letter.message.offset for letter in batch.dead] == [3, 5, 33, 41]
    left, right = batch.halves()
    assert (left.accepted, len(left.dead), len(left)) == (23, 2, 25)
    assert (right.accepted, len(right.dead), len(right)) == (23, 2, 25)
    assert len(batch.claims()) == batch.accepted == 46
