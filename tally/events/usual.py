"""The usual message, proven good by one typed decode; whatever else comes is for `parse` to judge.

A message is usual where its action type and all its keys are the contract's, and where it is
written without whitespace, escapes or fractions. It costs a quarter of what `parse` takes, and the
verdict is the same: a test holds the two together.
"""

from functools import reduce
from operator import or_
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Struct, UnsetType, defstruct

from tally.events.model import ACTIONS, Action, Context, Envelope, GameType, SignedAmount, outcome
from tally.events.parsing import MAX_CONTEXT_BYTES

ACTION_TYPES = tuple(ACTIONS)
_CONTEXT = b'"context":'


class UsualMessage(Struct, gc=False):
    """What was sent; what was not is `UNSET`, or the contract's default where that is a text.

    `event_id`, `occurred_at` and `client_ts` are texts that nobody has looked into yet: that is
    cheaper for many messages at once.
    """

    number: ClassVar[int]
    """The place of the action type in `ACTION_TYPES`."""
    game_type: ClassVar[GameType | None]

    event_id: str
    user_id: int
    occurred_at: str
    context: Any
    client_ts: str | UnsetType = UNSET
    session_id: str = ""
    source: str = "unknown"
    schema_version: Literal[1] | UnsetType = UNSET


def _exact(kind: Any) -> Any:
    """The type without numbers of which another text could come out than went in."""
    if kind is int:
        return SignedAmount
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return reduce(or_, (_exact(each) for each in get_args(kind) if each is not float))
    return kind


def _context_type(context: type[Context]) -> type[Struct]:
    fields: list[Any] = [
        (f.name, _exact(f.type)) if f.required else (f.name, _exact(f.type) | UnsetType, UNSET)
        for f in msgspec.structs.fields(context)
    ]
    return defstruct(f"Usual{context.__name__}", fields, gc=False, forbid_unknown_fields=True)


def _message_type(number: int, action_type: str, action: Action) -> type[UsualMessage]:
    narrowed: dict[str, Any] = {f.name: f.type for f in msgspec.structs.fields(Envelope)}
    narrowed["context"] = _context_type(action.context)
    fields: list[Any] = []
    for f in msgspec.structs.fields(UsualMessage):
        kind = narrowed[f.name]
        if f.required:
            fields.append((f.name, kind))
        else:
            fields.append((f.name, kind | UnsetType if f.default is UNSET else kind, f.default))
    made: Any = defstruct(
        f"Usual{action_type}",
        fields,
        bases=(UsualMessage,),
        namespace={"number": number, "game_type": action.game_type},
        tag_field="action_type",
        tag=action_type,
        gc=False,
        forbid_unknown_fields=True,
        omit_defaults=True,
    )
    usual: type[UsualMessage] = made
    return usual


_TYPES = tuple(_message_type(n, *named) for n, named in enumerate(ACTIONS.items()))
_decode = msgspec.json.Decoder(reduce(or_, _TYPES)).decode
_encode = msgspec.json.Encoder().encode


def read_usual(raw: bytes) -> UsualMessage | None:
    """The message, if it is usual.

    To encode it again can leave out (a key that stood twice, whitespace) and shorten (an escape),
    but never lengthen. So if as many bytes come out as went in, they say the same, whatever the
    order of the keys. Backslashes are left to `parse`, because of NUL.
    """
    try:
        message: UsualMessage = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if len(raw) != len(_encode(message)) or len(raw) > MAX_CONTEXT_BYTES or b"\\" in raw:
        return None
    if message.game_type is not None and not _is_consistent(message.game_type, message.context):
        return None
    return message


def _is_consistent(game_type: GameType, details: Any) -> bool:
    """Whether a settled round has its stakes, and no other result than they make."""
    if details.state is not UNSET and details.state != "settled":
        return True
    if details.bet is UNSET or details.payout is UNSET:
        return False
    if details.result is UNSET:
        return True
    return bool(details.result == outcome(game_type, details.bet, details.payout))


def context_text(raw: bytes, message: UsualMessage) -> bytes:
    """The context as it stands in `raw`, of which `message` was read."""
    start = raw.index(_CONTEXT) + len(_CONTEXT)
    if raw.endswith(b"}}"):  # it is the last field
        return raw[start:-1]
    return raw[start : start + len(_encode(message.context))]
