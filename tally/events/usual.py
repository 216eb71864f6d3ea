"""The usual message, proven good by one typed decode; whatever else comes is for `parse` to judge.

A message is usual where its action type and all its keys are the contract's, and where it is
written without whitespace, escapes or fractions. It costs a fifth of what `parse` takes, and the
verdict is the same: a test holds the two together.
"""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Struct, defstruct

from tally.events.model import ACTIONS, Action, Context, Envelope, GameType, SignedAmount
from tally.events.parsing import MAX_CONTEXT_BYTES

ACTION_TYPES = tuple(ACTIONS)
_CONTEXT = b'"context":'
# One message that is not usual has the others of its run looked at one by one.
_RUN = 50


class UsualMessage(Struct, gc=False):
    """What was sent; what was not is None, or the contract's default where that is a text.

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
    client_ts: str | None = None
    session_id: str = ""
    source: str = "unknown"
    schema_version: Literal[1] | None = None


def _exact(kind: Any) -> Any:
    """The type without numbers of which another text could come out than went in."""
    if kind is int:
        return SignedAmount
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return reduce(or_, (_exact(each) for each in get_args(kind) if each is not float))
    return kind


def _context_type(context: type[Context]) -> type[Struct]:
    fields: list[Any] = [
        (f.name, _exact(f.type)) if f.required else (f.name, _exact(f.type) | None, None)
        for f in msgspec.structs.fields(context)
    ]
    return defstruct(
        f"Usual{context.__name__}",
        fields,
        gc=False,
        forbid_unknown_fields=True,
        omit_defaults=True,
    )


def _message_type(number: int, action_type: str, action: Action) -> type[UsualMessage]:
    narrowed: dict[str, Any] = {f.name: f.type for f in msgspec.structs.fields(Envelope)}
    narrowed["context"] = _context_type(action.context)
    fields: list[Any] = []
    for f in msgspec.structs.fields(UsualMessage):
        kind = narrowed[f.name]
        if f.required:
            fields.append((f.name, kind))
        else:
            fields.append((f.name, kind | None if f.default is None else kind, f.default))
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


def read_usual(raws: Sequence[bytes | None]) -> list[UsualMessage | None]:
    """The messages; None for one that is not usual.

    To encode a message again can leave out (a key that stood twice, a null, whitespace) and shorten
    (an escape), but never lengthen. So if as many bytes come out as went in, they say the same,
    whatever the order of the keys: of one message, or of many together. Backslashes are left to
    `parse`, because of NUL.
    """
    found: list[UsualMessage | None] = []
    for first in range(0, len(raws), _RUN):
        run = raws[first : first + _RUN]
        found += _all_usual(run) or map(_usual, run)
    return found


def _all_usual(raws: Sequence[Any]) -> list[UsualMessage] | None:
    """The messages, if all are usual."""
    if None in raws:  # a tombstone
        return None
    try:
        messages: list[UsualMessage] = list(map(_decode, raws))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    joined = b"".join(raws)
    commas_and_brackets = len(messages) + 1
    if len(joined) != len(_encode(messages)) - commas_and_brackets or b"\\" in joined:
        return None
    return messages if max(map(len, raws)) <= MAX_CONTEXT_BYTES else None


def _usual(raw: bytes | None) -> UsualMessage | None:
    found = _all_usual([raw])
    return found[0] if found else None


def context_text(raw: bytes, message: UsualMessage) -> bytes:
    """The context as it stands in `raw`, of which `message` was read."""
    start = raw.index(_CONTEXT) + len(_CONTEXT)
    if raw.endswith(b"}}"):  # it is the last field
        return raw[start:-1]
    if "}" in message.session_id or "}" in message.source:
        return raw[start : start + len(_encode(message.context))]
    return raw[start : raw.rindex(b"}", 0, -1) + 1]
