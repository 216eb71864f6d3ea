"""The world's faults: what becomes of each event between the backend and the topic, by dials.

Every fault knows its verdict, so that the truth beside the messages counts what must be accepted.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from heapq import heappop, heappush
from itertools import accumulate, count
from random import Random
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from simulator.events import DAY, HOUR, MINUTE, SECOND, Event, document, encode
from tally.errors import TallyError

TOO_LARGE = 256 * 1024 + 1
TOO_LARGE_CONTEXT = 17 * 1024


class Verdict(StrEnum):
    """What must become of a message. All but the first three are reasons of dead letters."""

    ACCEPTED = "accepted"
    LOST = "lost"
    DELAYED = "delayed"
    CONFLICT = "conflict"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    TOO_LARGE = "too_large"
    SCHEMA = "schema"
    FUTURE_TIMESTAMP = "future_timestamp"
    TOO_OLD = "too_old"
    CONTRADICTION = "contradiction"


class Delivery(Struct, gc=False):
    """What the backend does at `at`: `value` goes to the topic, the event to its own record.

    `value` is None where nothing is sent (lost, or delayed until a later delivery), and `recorded`
    is false for a message that was not sent for the first time.
    """

    at: int
    event: Event
    value: bytes | None
    verdict: Verdict = Verdict.ACCEPTED
    recorded: bool = True


@dataclass(frozen=True)
class Faults:
    """The dials: each is the share of events that the fault befalls."""

    duplicate_at_once: float = 0
    duplicate_after_minutes: float = 0
    duplicate_after_months: float = 0
    out_of_order: float = 0
    late_by_days: float = 0
    late_by_months: float = 0
    skewed_clock: float = 0
    reset_clock: float = 0
    malformed: float = 0
    oversized: float = 0
    conflict: float = 0
    lost: float = 0


# Conflicting payloads are in no mixture: until ingestion puts them in quarantine, its numbers and
# the truth (the first accepted payload wins) differ there.
PROFILES: dict[str, Faults] = {
    "none": Faults(),
    "duplicates": Faults(
        duplicate_at_once=0.03, duplicate_after_minutes=0.03, duplicate_after_months=0.02
    ),
    "disorder": Faults(out_of_order=0.2),
    "late": Faults(late_by_days=0.03, late_by_months=0.02),
    "skewed": Faults(skewed_clock=0.05, reset_clock=0.01),
    "malformed": Faults(malformed=0.03, oversized=0.0005),
    "lost": Faults(lost=0.01),
    "conflicts": Faults(conflict=0.01),
    "chaos": Faults(
        duplicate_at_once=0.02,
        duplicate_after_minutes=0.02,
        duplicate_after_months=0.01,
        out_of_order=0.05,
        late_by_days=0.02,
        late_by_months=0.01,
        skewed_clock=0.02,
        reset_clock=0.005,
        malformed=0.01,
        oversized=0.0002,
        lost=0.005,
    ),
}


def profile(name: str) -> Faults:
    """The named dials. Raises `TallyError` for a name that is not known."""
    try:
        return PROFILES[name]
    except KeyError:
        raise TallyError(
            f"There is no fault profile {name!r}.", hint=f"There are: {', '.join(PROFILES)}."
        ) from None


def deliver(events: Iterable[Event], faults: Faults, seed: int) -> Iterator[Delivery]:
    """The deliveries in the order in which the backend makes them, the late ones at the end."""
    shares = [getattr(faults, dial.name) for dial in fields(faults)]
    if not any(shares):
        for event in events:
            yield Delivery(event.at, event, encode(event))
        return
    rng = Random(f"faults/{seed}")  # noqa: S311
    limits = list(accumulate(shares))
    befall = [_BEFALL[dial.name] for dial in fields(faults)]
    waiting: list[tuple[int, int, Delivery]] = []
    entries = count()
    for event in events:
        while waiting and waiting[0][0] <= event.at:
            yield heappop(waiting)[2]
        chance = rng.random()
        if chance >= limits[-1]:
            yield Delivery(event.at, event, encode(event))
            continue
        fault = next(fault for limit, fault in zip(limits, befall, strict=True) if chance < limit)
        for delivery in fault(event, rng):
            if delivery.at <= event.at:
                yield delivery
            else:
                heappush(waiting, (delivery.at, next(entries), delivery))
    while waiting:
        yield heappop(waiting)[2]


def _again(after: Callable[[Random], int]) -> Callable[[Event, Random], list[Delivery]]:
    def duplicate(event: Event, rng: Random) -> list[Delivery]:
        value = encode(event)
        return [
            Delivery(event.at, event, value),
            Delivery(event.at + after(rng), event, value, recorded=False),
        ]

    return duplicate


def _later(after: Callable[[Random], int]) -> Callable[[Event, Random], list[Delivery]]:
    def delay(event: Event, rng: Random) -> list[Delivery]:
        return [
            Delivery(event.at, event, None, Verdict.DELAYED),
            Delivery(event.at + after(rng), event, encode(event), recorded=False),
        ]

    return delay


def _between(low: int, high: int) -> Callable[[Random], int]:
    return lambda rng: low + int(rng.random() * (high - low))


def _skew(event: Event, rng: Random) -> list[Delivery]:
    # At most four minutes ahead: five are accepted.
    skew = int(rng.random() * 4 * MINUTE) if rng.random() < 0.5 else -int(rng.random() * 3 * HOUR)
    skewed = msgspec.structs.replace(event, at=event.at + skew)
    return [Delivery(event.at, skewed, encode(skewed))]


def _reset(event: Event, rng: Random) -> list[Delivery]:
    """A clock that starts at 1970, or thirty years ahead."""
    if rng.random() < 0.5:
        at, verdict = event.at % DAY, Verdict.TOO_OLD
    else:
        at, verdict = event.at + 30 * 365 * DAY, Verdict.FUTURE_TIMESTAMP
    wrong = msgspec.structs.replace(event, at=at)
    return [Delivery(event.at, wrong, encode(wrong), verdict)]


def _malform(event: Event, rng: Random) -> list[Delivery]:
    value, verdict = rng.choice(_MALFORMATIONS)(event)
    return [Delivery(event.at, event, value, verdict)]


def _truncated(event: Event) -> tuple[bytes, Verdict]:
    return encode(event)[:-7], Verdict.NOT_JSON


def _in_latin_1(event: Event) -> tuple[bytes, Verdict]:
    return encode(event).replace(b'"source":"', b'"source":"\xe9'), Verdict.NOT_UTF8


def _in_an_array(event: Event) -> tuple[bytes, Verdict]:
    return b"[" + encode(event) + b"]", Verdict.NOT_OBJECT


def _without_id(event: Event) -> tuple[bytes, Verdict]:
    envelope = document(event)
    del envelope["event_id"]
    return orjson.dumps(envelope), Verdict.SCHEMA


def _with(**wrong: Any) -> Callable[[Event], tuple[bytes, Verdict]]:
    def malform(event: Event) -> tuple[bytes, Verdict]:
        return orjson.dumps(document(event) | wrong), Verdict.SCHEMA

    return malform


def _without_zone(event: Event) -> tuple[bytes, Verdict]:
    envelope = document(event)
    return orjson.dumps(envelope | {"occurred_at": envelope["occurred_at"][:-1]}), Verdict.SCHEMA


def _contradicted(event: Event) -> tuple[bytes, Verdict]:
    """A result against the amounts, of an event that settles a round."""
    if "payout" not in event.context:
        return _without_id(event)
    declared = event.context["result"]
    wrong = event.context | {"result": "win" if declared in ("loss", "none") else "loss"}
    return encode(msgspec.structs.replace(event, context=wrong)), Verdict.CONTRADICTION


_MALFORMATIONS: tuple[Callable[[Event], tuple[bytes, Verdict]], ...] = (
    _truncated,
    _in_latin_1,
    _in_an_array,
    _without_id,
    _without_zone,
    _contradicted,
    _with(user_id="42"),
    _with(user_id=0),
    _with(schema_version=9),
    _with(action_type="slot spin"),
)


def _oversize(event: Event, rng: Random) -> list[Delivery]:
    """Too large as a whole, or in its context alone."""
    if rng.random() < 0.5:
        size, verdict = TOO_LARGE, Verdict.TOO_LARGE
    else:
        size, verdict = TOO_LARGE_CONTEXT, Verdict.SCHEMA
    padded = msgspec.structs.replace(event, context=event.context | {"note": "x" * size})
    return [Delivery(event.at, event, encode(padded), verdict)]


def _contradict_oneself(event: Event, rng: Random) -> list[Delivery]:
    other = msgspec.structs.replace(event, context=event.context | {"note": "corrected"})
    if "payout" in event.context:
        other.context |= {"bet": event.context["bet"] + 100, "payout": 0}
        other.context.pop("result", None)
    after = event.at + int(rng.random() * 10 * MINUTE)
    return [
        Delivery(event.at, event, encode(event)),
        Delivery(after, other, encode(other), Verdict.CONFLICT, recorded=False),
    ]


def _lose(event: Event, rng: Random) -> list[Delivery]:  # noqa: ARG001
    return [Delivery(event.at, event, None, Verdict.LOST)]


_BEFALL: dict[str, Callable[[Event, Random], list[Delivery]]] = {
    "duplicate_at_once": _again(lambda _: 0),
    "duplicate_after_minutes": _again(_between(MINUTE, HOUR)),
    "duplicate_after_months": _again(_between(30 * DAY, 200 * DAY)),
    "out_of_order": _later(_between(1 * SECOND, 5 * MINUTE)),
    "late_by_days": _later(_between(1 * DAY, 10 * DAY)),
    "late_by_months": _later(_between(30 * DAY, 200 * DAY)),
    "skewed_clock": _skew,
    "reset_clock": _reset,
    "malformed": _malform,
    "oversized": _oversize,
    "conflict": _contradict_oneself,
    "lost": _lose,
}
