"""Files that can be replayed, and the messages that they become."""

import csv
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec
from msgspec import Struct

from tally.errors import TallyError

# Ids of Bustabit rounds become event ids in this namespace: the same file makes the same events.
BUSTABIT_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "bustabit.com")
MINOR_UNITS_PER_BIT = 100
NOT_AVAILABLE = "NA"


class Outgoing(Struct, frozen=True, gc=False):
    """A message to produce. The key is the user, so that one user's messages stay in order."""

    key: bytes | None
    value: bytes


class _UserOnly(Struct):
    user_id: int | None = None


_read_user = msgspec.json.Decoder(_UserOnly).decode
_encode = msgspec.json.Encoder().encode


def read_jsonl(path: Path) -> Iterator[Outgoing]:
    """One message a line, byte for byte, keyed by `user_id` where it has one."""
    with path.open("rb") as lines:
        for line in lines:
            value = line.removesuffix(b"\n")
            if value:
                yield Outgoing(_key_of(value), value)


def _key_of(value: bytes) -> bytes | None:
    try:
        user_id = _read_user(value).user_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None if user_id is None else str(user_id).encode()


def read_bustabit(path: Path) -> Iterator[Outgoing]:
    """One settled `CRASH_ROUND` a row. Amounts are in hundredths of a bit.

    Users get dense ids in the order of their first appearance in the file. Raises `TallyError`
    naming the line that cannot be read.
    """
    users: dict[str, int] = {}
    with path.open(encoding="latin-1", newline="") as text:
        for row in (reader := csv.DictReader(text)):
            try:
                user_id = users.setdefault(row["Username"], len(users) + 1)
                event = _crash_round(row, user_id)
            except (KeyError, TypeError, ValueError, InvalidOperation) as error:
                raise TallyError(
                    f"{path}, line {reader.line_num}: not a Bustabit round ({error!r})."
                ) from error
            yield Outgoing(str(user_id).encode(), _encode(event))


def _crash_round(row: dict[str, str], user_id: int) -> dict[str, object]:
    bet = Decimal(row["Bet"])
    lost = row["CashedOut"] == NOT_AVAILABLE
    payout = Decimal(0) if lost else bet + Decimal(row["Profit"])
    return {
        "event_id": str(uuid.uuid5(BUSTABIT_NAMESPACE, row["Id"])),
        "user_id": user_id,
        "action_type": "CRASH_ROUND",
        "occurred_at": row["PlayDate"],
        "source": "bustabit",
        "context": {
            "round_id": row["Id"],
            "state": "settled",
            "bet": minor_units(bet),
            "payout": minor_units(payout),
            "username": row["Username"],
            "game_id": int(row["GameID"]),
            "busted_at": _number(row["BustedAt"]),
            "cashed_out": _number(row["CashedOut"]),
            "bonus": _number(row["Bonus"]),
        },
    }


def minor_units(bits: Decimal) -> int:
    """Bits in minor units, exactly.

    Raises `ValueError` for an amount that is not a whole number of them.
    """
    units = bits * MINOR_UNITS_PER_BIT
    if units != units.to_integral_value():
        raise ValueError(f"{bits} bits are not a whole number of minor units")
    return int(units)


def _number(text: str) -> float | None:
    return None if text == NOT_AVAILABLE else float(text)


READERS: dict[str, Callable[[Path], Iterator[Outgoing]]] = {
    "bustabit": read_bustabit,
    "jsonl": read_jsonl,
}
