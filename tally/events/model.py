"""The typed model of the contract: the envelope, and each action type's initiator and context.

JSON Schemas are exported from these types (`tally.events.export`) and messages are validated by
them (`tally.events.parsing`), so that a field is declared here and nowhere else.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

MAX_SAFE_INTEGER = 2**53 - 1  # what every JSON reader keeps exactly
SCHEMA_VERSION = 1

UUID_PATTERN = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
ACTION_TYPE_PATTERN = "[A-Z][A-Z0-9_]{1,63}"

Initiator = Literal["user", "system"]
GameType = Literal["slot", "gacha", "rps", "crash"]
RoundState = Literal["started", "settled", "cancelled", "voided"]
Outcome = Literal["win", "loss", "draw", "none"]

# msgspec searches a pattern where the contract means the whole string, so patterns and formats are
# documentation here and `parsing` matches them in full.
EventId = Annotated[
    str,
    Meta(
        description="The idempotency key of the event; UUIDv7 is recommended.",
        extra_json_schema={"format": "uuid", "pattern": f"^{UUID_PATTERN}$"},
    ),
]
UserId = Annotated[int, Meta(ge=1, le=MAX_SAFE_INTEGER)]
ActionType = Annotated[str, Meta(extra_json_schema={"pattern": f"^{ACTION_TYPE_PATTERN}$"})]
Timestamp = Annotated[
    str,
    Meta(
        description="RFC 3339 with a zone; kept in UTC, cut to milliseconds.",
        extra_json_schema={"format": "date-time"},
    ),
]
Label = Annotated[str, Meta(max_length=64)]
Text = Annotated[str, Meta(min_length=1, max_length=256)]
Code = Annotated[str, Meta(min_length=1, max_length=256)] | int
Count = Annotated[int, Meta(ge=0, le=MAX_SAFE_INTEGER)]
Amount = Annotated[int, Meta(ge=0, le=MAX_SAFE_INTEGER, description="Minor units.")]
SignedAmount = Annotated[
    int, Meta(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER, description="Minor units.")
]
Units = Annotated[int, Meta(ge=1, le=2**32 - 1)]


class Envelope(Struct, gc=False):
    """What every message carries, whatever its action type."""

    event_id: EventId
    user_id: UserId
    action_type: ActionType
    occurred_at: Timestamp
    client_ts: Timestamp | UnsetType = UNSET
    session_id: Label = ""
    source: Label = "unknown"
    schema_version: Literal[1] = 1
    context: dict[str, Any] = {}


class Context(Struct, gc=False):
    """A context without a field of its own; unknown fields are kept in every context."""


class SignUp(Context):
    invite_code_hash: str | UnsetType = UNSET


class Login(Context):
    method: str | UnsetType = UNSET


class DailyLogin(Context):
    streak_count: Count | UnsetType = UNSET


class Refusal(Context):
    reason: str | UnsetType = UNSET


class Round(Context):
    """One event of a game round. `bet` and `payout` are required once it is settled."""

    round_id: Text
    state: RoundState = "settled"
    bet: Amount | UnsetType = UNSET
    payout: Amount | UnsetType = UNSET
    result: Outcome | UnsetType = UNSET
    units: Units = 1
    is_demo: bool = False
    config_version: Code | UnsetType = UNSET


class ShopBuy(Context):
    purchase_id: Text
    state: Literal["pending", "success", "failed"]
    item_id: Code
    amount: Amount
    receipt_hash: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    limited: bool | UnsetType = UNSET


class RewardGranted(Context):
    """`amount` is negative for a correction."""

    reward_type: Text
    amount: SignedAmount
    balance_after: SignedAmount
    reference_id: Code | UnsetType = UNSET


class StreakClaim(Context):
    streak_count: Count


class AchievementProgress(Context):
    achievement_code: Text
    progress: int | float
    unlocked: bool


class BattlePassProgress(Context):
    season: Code
    tier: Count
    xp: Count


class LevelUp(Context):
    level: Count


class EventParticipation(Context):
    event_code: Text


class AgeVerified(Context, forbid_unknown_fields=True):
    """The result and nothing else: a birth date must not travel here."""

    result: str | bool


class FraudBlocked(Context):
    rule: Text


class AdminAction(Context):
    action: Text
    actor: Code


class WebSocket(Context):
    path: Text
    close_code: Count | UnsetType = UNSET


class DeprecatedEndpoint(Context):
    path: Text
    method: Text
    successor: str


class ApiRequest(Context):
    route: Text
    caller: str
    status: Count
    duration_ms: int | float


class Action(Struct, frozen=True):
    """What the contract says of one action type. A game type marks a game round."""

    initiator: Initiator
    context: type[Context] = Context
    game_type: GameType | None = None


ACTIONS: dict[str, Action] = {
    "SIGN_UP": Action("user", SignUp),
    "LOGIN": Action("user", Login),
    "LOGOUT": Action("user", Login),
    "DAILY_LOGIN": Action("user", DailyLogin),
    "LOGIN_FAILED": Action("system", Refusal),
    "LOGIN_LOCKED": Action("system", Refusal),
    "TOKEN_REFRESHED": Action("system", Refusal),
    "SLOT_SPIN": Action("user", Round, "slot"),
    "GACHA_SPIN": Action("user", Round, "gacha"),
    "RPS_PLAY": Action("user", Round, "rps"),
    "CRASH_ROUND": Action("user", Round, "crash"),
    "SHOP_BUY": Action("user", ShopBuy),
    "REWARD_GRANTED": Action("system", RewardGranted),
    "STREAK_CLAIM": Action("user", StreakClaim),
    "ACHIEVEMENT_PROGRESS": Action("user", AchievementProgress),
    "BATTLE_PASS_PROGRESS": Action("user", BattlePassProgress),
    "LEVEL_UP": Action("user", LevelUp),
    "EVENT_JOIN": Action("user", EventParticipation),
    "EVENT_CLAIM": Action("user", EventParticipation),
    "AGE_VERIFIED": Action("user", AgeVerified),
    "FRAUD_BLOCKED": Action("system", FraudBlocked),
    "ADMIN_ACTION": Action("system", AdminAction),
    "WS_CONNECTED": Action("system", WebSocket),
    "WS_DISCONNECTED": Action("system", WebSocket),
    "DEPRECATED_ENDPOINT_CALLED": Action("system", DeprecatedEndpoint),
    "API_REQUEST": Action("system", ApiRequest),
}

# Every recorded action counts: a type that the contract does not know yet is the user's.
UNKNOWN_ACTION = Action("user")


def initiator_of(action_type: str) -> Initiator:
    """Who caused an action: only those of the user make an active day."""
    return ACTIONS.get(action_type, UNKNOWN_ACTION).initiator


def outcome(game_type: GameType, bet: int, payout: int) -> Outcome:
    """The outcome of a settled round. A free bet that pays nothing is a loss, never a draw."""
    if game_type == "gacha":
        return "none"
    if payout > bet:
        return "win"
    if payout < bet or bet == 0:
        return "loss"
    return "draw"
