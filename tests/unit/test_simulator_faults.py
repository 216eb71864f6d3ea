"""Every fault does what it says: its verdict is the contract's, its share is the dial's."""

from collections import Counter
from dataclasses import fields
from datetime import UTC, date, datetime
from functools import cache
from itertools import takewhile
from typing import Any

import pytest

from simulator.events import DAY, Event
from simulator.faults import PROFILES, Delivery, Faults, Verdict, deliver, profile
from simulator.truth import Truth
from simulator.world import World
from tally.errors import TallyError
from tally.events.parsing import Rejection, parse

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WORLD = World(4, users=40, days=30, start=date(2025, 1, 1))
HARMLESS = ("duplicates", "disorder", "late")


@cache
def events() -> list[Event]:
    return list(takewhile(lambda event: event.at < WORLD.ends, WORLD.events()))


@cache
def deliveries(name: str) -> list[Delivery]:
    return list(deliver(events(), PROFILES[name], WORLD.seed))


def truth_of(name: str) -> list[dict[str, Any]]:
    truth = Truth()
    for delivery in deliveries(name):
        if delivery.verdict is Verdict.ACCEPTED:
            truth.accept(delivery.event)
    return list(truth.answers(WORLD.user_ids, date(2025, 1, 30)))


@pytest.mark.parametrize("name", PROFILES)
def test_the_contract_agrees_with_every_verdict(name: str) -> None:
    for delivery in deliveries(name):
        if delivery.value is None:
            assert delivery.verdict in (Verdict.LOST, Verdict.DELAYED)
            continue
        found = parse(delivery.value, received_at=NOW)
        # A conflict shows only beside what came before.
        expected = {Verdict.CONFLICT: Verdict.ACCEPTED}.get(delivery.verdict, delivery.verdict)
        if isinstance(found, Rejection):
            assert found.reason == expected, found.error
        else:
            assert expected is Verdict.ACCEPTED, delivery
            assert found.event_id == delivery.event.event_id


@pytest.mark.parametrize("name", PROFILES)
def test_what_happened_is_recorded_once_whatever_becomes_of_it(name: str) -> None:
    recorded = [d.event.event_id for d in deliveries(name) if d.recorded]
    assert recorded == [event.event_id for event in events()]


@pytest.mark.parametrize("name", PROFILES)
def test_deliveries_come_in_the_order_of_their_time(name: str) -> None:
    times = [delivery.at for delivery in deliveries(name)]
    assert times == sorted(times)


@pytest.mark.parametrize("name", PROFILES)
def test_a_message_is_one_line(name: str) -> None:
    assert all(b"\n" not in (delivery.value or b"") for delivery in deliveries(name))


@pytest.mark.parametrize("dial", [dial.name for dial in fields(Faults)])
def test_a_dial_is_the_share_of_events_that_it_befalls(dial: str) -> None:
    clean = {id(event) for event in events()}
    touched: Counter[str] = Counter()
    for delivery in deliver(events(), Faults(**{dial: 0.1}), 9):
        is_plain = (
            id(delivery.event) in clean
            and delivery.recorded
            and delivery.verdict is Verdict.ACCEPTED
        )
        touched[delivery.event.event_id] += 0 if is_plain else 1
    share = sum(count > 0 for count in touched.values()) / len(events())
    assert 0.09 < share < 0.11


@pytest.mark.parametrize("name", HARMLESS)
def test_repetition_and_delay_change_no_truth(name: str) -> None:
    assert len(deliveries(name)) > len(events())
    assert truth_of(name) == truth_of("none")


@pytest.mark.parametrize("name", ["skewed", "malformed", "lost", "chaos"])
def test_what_is_not_accepted_is_not_in_the_truth(name: str) -> None:
    assert truth_of(name) != truth_of("none")


def test_the_first_payload_of_an_id_is_the_true_one() -> None:
    assert truth_of("conflicts") == truth_of("none")
    payloads: dict[str, list[bytes | None]] = {}
    for delivery in deliveries("conflicts"):
        payloads.setdefault(delivery.event.event_id, []).append(delivery.value)
    conflicts = [values for values in payloads.values() if len(values) == 2]
    assert conflicts
    assert all(one != other for one, other in conflicts)


def test_late_events_come_days_and_months_later() -> None:
    delays = [(d.at - d.event.at) / DAY for d in deliveries("late") if not d.recorded and d.value]
    assert any(1 <= delay <= 10 for delay in delays)
    assert any(30 <= delay <= 200 for delay in delays)
    assert not any(10 < delay < 30 for delay in delays)


def test_every_reason_that_a_message_can_earn_alone_occurs() -> None:
    seen = {delivery.verdict for delivery in deliveries("chaos")}
    assert seen == set(Verdict) - {Verdict.CONFLICT}


def test_the_same_seed_gives_the_same_deliveries() -> None:
    again = [(d.at, d.value) for d in deliver(events(), PROFILES["chaos"], WORLD.seed)]
    assert again == [(d.at, d.value) for d in deliveries("chaos")]


def test_an_unknown_profile_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(TallyError, match="chaos"):
        profile("mayhem")
