"""The frames of the event contract's realtime messages: what is said, and nothing about sockets.

Each is `{type, user_id, data, timestamp}`. Pure, so that the rules can be tested without a server.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tally.events import Event

_encode = msgspec.json.Encoder().encode


class RewardGranted(Struct):
    reward_type: str
    amount: int
    balance_after: int


class StreakUpdate(Struct):
    action_type: str
    streak_count: int


class AchievementProgress(Struct):
    achievement_code: str | int
    progress: int
    unlocked: bool


class ProfileChanges(Struct, omit_defaults=True):
    gold_balance: int | UnsetType = UNSET
    level: int | UnsetType = UNSET
    exp: int | UnsetType = UNSET


class ProfileUpdate(Struct):
    changes: ProfileChanges


# What the game backend may say to its players through the updates topic. A `stats_update` there is
# a hint that numbers changed: what is sent is what the warehouse says.
FORWARDED: dict[str, type[Struct]] = {
    "reward_granted": RewardGranted,
    "streak_update": StreakUpdate,
    "achievement_progress": AchievementProgress,
    "profile_update": ProfileUpdate,
}
STATS_UPDATE = "stats_update"

# The actions after which a card shows something else.
CARD_ACTIONS = frozenset({"REWARD_GRANTED", "LEVEL_UP"})


class Update(Struct):
    """A message of the updates topic."""

    type: str
    user_id: int
    data: msgspec.Raw = msgspec.Raw(b"{}")


_decode_update = msgspec.json.Decoder(Update).decode


def frame(kind: str, user_id: int, data: object, now: datetime) -> str:
    """One frame as JSON."""
    said = {"type": kind, "user_id": user_id, "data": data, "timestamp": instant(now)}
    return _encode(said).decode()


def frames_of(event: Event, token: str, now: datetime) -> Iterator[str]:
    """What the event's user is told of it.

    `token` is the consistency token of the event: a read with `after=` it counts the event.
    """
    context: dict[str, Any] = msgspec.json.decode(event.context)
    data: dict[str, object] = {
        "event_id": event.event_id,
        "action_type": event.action_type,
        "context": context,
        "server_ts": instant(event.occurred_at),
        "consistency_token": token,
    }
    if event.client_ts is not None:
        data["client_ts"] = instant(event.client_ts)
    yield frame("user_action", event.user_id, data, now)
    if (derived := _derived(event.action_type, context)) is not None:
        kind, said = derived
        yield frame(kind, event.user_id, said, now)


def _derived(action_type: str, context: dict[str, Any]) -> tuple[str, Struct] | None:
    """The frame that stands for an action of its own kind, where the action has one."""
    try:
        match action_type:
            case "REWARD_GRANTED":
                return "reward_granted", msgspec.convert(context, RewardGranted)
            case "STREAK_CLAIM" | "DAILY_LOGIN":
                said = {"action_type": action_type, **context}
                return "streak_update", msgspec.convert(said, StreakUpdate)
            case "ACHIEVEMENT_PROGRESS":
                return "achievement_progress", msgspec.convert(context, AchievementProgress)
    except msgspec.ValidationError:  # a DAILY_LOGIN need not say its streak
        pass
    return None


def parse_update(raw: bytes) -> tuple[Update, Struct | None]:
    """A message of the updates topic and its data; None where it is only a hint.

    Raises `ValueError` for one that no player may be sent.
    """
    try:
        update = _decode_update(raw)
        if update.type == STATS_UPDATE:
            return update, None
        shape = FORWARDED.get(update.type)
        if shape is None:
            raise ValueError(f"{update.type!r} is not for the updates topic")
        return update, msgspec.json.decode(update.data, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def instant(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
