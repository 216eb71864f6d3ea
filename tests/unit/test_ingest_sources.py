"""Files become messages: the same file the same events, in any order that is asked for."""

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.replay import Order
from ingest.sources import minor_units, read_bustabit, read_jsonl
from tally.errors import TallyError
from tally.events import Event, parse

HEADER = "Id,GameID,Username,Bet,CashedOut,Bonus,Profit,BustedAt,PlayDate"
ROWS = [
    "14196549,3366002,papai,5,1.2,0,1,8.24,2021-11-20T19:44:19Z",
    "10676217,3343882,znay22,3,NA,NA,NA,1.4,2021-11-14T14:21:50Z",
    "15577107,3374646,1-11ÔÂ,4,1.33,3,1.44,3.15,2021-11-23T06:39:15Z",
    "15577108,3374647,papai,4,1,0,0,3.15,2021-11-23T06:40:15Z",
]


@pytest.fixture
def bustabit(tmp_path: Path) -> Path:
    path = tmp_path / "rounds.csv"
    path.write_bytes("\n".join([HEADER, *ROWS]).encode("latin-1"))
    return path


def events(path: Path) -> list[Event]:
    found = [parse(m.value, received_at=datetime.now(UTC)) for m in read_bustabit(path)]
    assert all(isinstance(event, Event) for event in found), found
    return found


def test_each_row_is_a_settled_crash_round_in_minor_units(bustabit):
    found = events(bustabit)
    assert [(e.user_id, e.round_id, e.bet, e.payout) for e in found] == [
        (1, "14196549", 500, 600),
        (2, "10676217", 300, 0),
        (3, "15577107", 400, 544),
        (1, "15577108", 400, 400),
    ]
    assert {(e.action_type, e.round_state, e.game_type, e.source) for e in found} == {
        ("CRASH_ROUND", "settled", "crash", "bustabit")
    }
    assert found[0].occurred_at == datetime(2021, 11, 20, 19, 44, 19, tzinfo=UTC)
    context = json.loads(found[2].context)
    assert context["username"] == "1-11ÔÂ"
    assert (context["game_id"], context["busted_at"], context["bonus"]) == (3374646, 3.15, 3)
    assert json.loads(found[1].context)["cashed_out"] is None


def test_a_file_makes_the_same_events_each_time(bustabit):
    assert list(read_bustabit(bustabit)) == list(read_bustabit(bustabit))
    assert len({e.event_id for e in events(bustabit)}) == len(ROWS)


def test_a_row_that_cannot_be_read_is_named(bustabit):
    bustabit.write_bytes(bustabit.read_bytes().replace(b"1.44", b"1.445"))
    with pytest.raises(TallyError, match=r"line 4.*whole number of minor units"):
        list(read_bustabit(bustabit))


@pytest.mark.parametrize(
    ("bits", "units"), [("5", 500), ("1.44", 144), ("0.01", 1), ("1E+3", 100_000)]
)
def test_bits_are_hundreds_of_minor_units(bits, units):
    assert minor_units(Decimal(bits)) == units


def test_an_empty_file_has_no_messages(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert list(read_jsonl(tmp_path / "empty")) == []
    assert list(read_bustabit(tmp_path / "empty")) == []


def test_jsonl_lines_are_sent_byte_for_byte_under_their_user(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(
        b'{"user_id": 7,  "a": "\xff"}\r\n{"user_id": 8 }\n\nnot json\n{"user_id": "9"}\n[]'
    )
    assert [(m.key, m.value) for m in read_jsonl(path)] == [
        (b"7", b'{"user_id": 7,  "a": "\xff"}\r'),
        (b"8", b'{"user_id": 8 }'),
        (None, b"not json"),
        (None, b'{"user_id": "9"}'),
        (None, b"[]"),
    ]


@given(st.lists(st.integers()), st.none() | st.integers(0, 9), st.booleans())
def test_every_order_sends_everything(items, seed, reverse):
    assert Counter(Order(seed=seed, reverse=reverse).apply(items)) == Counter(items)


def test_orders():
    items = list(range(100))
    assert list(Order().apply(items)) == items
    assert list(Order(reverse=True).apply(items)) == items[::-1]
    shuffled = list(Order(seed=1).apply(items))
    assert shuffled != items
    assert shuffled == list(Order(seed=1).apply(items)) != list(Order(seed=2).apply(items))


def test_duplicates_are_as_many_as_asked_for():
    items = list(range(10_000))
    sent = Counter(Order(duplicate=0.25).apply(items))
    assert set(sent) == set(items)
    assert 2_300 < sent.total() - len(items) < 2_700
    assert set(Order(duplicate=1.0).apply([1])) == {1}
    assert list(Order(duplicate=1.0).apply([1, 2])) == [1, 1, 2, 2]


def test_the_real_file_is_read_whole(real_rounds):
    users, bets = set(), 0
    found = events(real_rounds)
    for event in found:
        users.add(event.user_id)
        bets += event.bet
    assert (len(found), len(users), max(users)) == (50_000, 4_147, 4_147)
    assert bets == 14_676_254_900
    assert min(e.occurred_at for e in found).isoformat() == "2021-10-31T15:38:43+00:00"
