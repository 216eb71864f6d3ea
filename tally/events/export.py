"""The contract as JSON Schema files, for producers of any language: one file per action type.

`python -m tally.events.export [--check]` writes them, and `envelope.json` with what they share.
"""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from tally.events.model import ACTIONS, Action, Envelope, Round
from tally.events.parsing import MAX_CONTEXT_BYTES
from tally.generated import settle

SCHEMAS = Path(__file__).parent / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def _schema_of(model: type) -> Schema:
    """The schema of a struct, without the indirection of `$defs`."""
    exported = msgspec.json.schema(model)
    (schema,) = exported["$defs"].values()
    return dict(schema)


def _envelope() -> Schema:
    schema = _schema_of(Envelope)
    schema["properties"]["context"]["x-max-bytes"] = MAX_CONTEXT_BYTES
    return {"$schema": DIALECT, **schema}


def _action(name: str, action: Action) -> Schema:
    schema = copy.deepcopy(_envelope())
    context = _schema_of(action.context)
    if action.context is Round:
        # `state` is settled where it is absent, and an absent property satisfies `const`.
        context["if"] = {"properties": {"state": {"const": "settled"}}}
        context["then"] = {"required": ["bet", "payout"]}
    context["x-max-bytes"] = MAX_CONTEXT_BYTES
    schema["title"] = name
    schema["description"] = f"A message of action type {name}."
    schema["x-initiator"] = action.initiator
    schema["properties"]["action_type"] = {"const": name}
    schema["properties"]["context"] = context
    if context["required"] or "then" in context:
        schema["required"] = [*schema["required"], "context"]
    return schema


def schemas() -> dict[str, Schema]:
    """Every schema by the name of its file."""
    actions = {f"{name.lower()}.json": _action(name, action) for name, action in ACTIONS.items()}
    return {"envelope.json": _envelope(), **actions}


def action_types() -> str:
    """What SQL has to know of the action types, as CSV: a seed of the dbt project."""
    rows = (
        f"{name},{action.initiator},{action.game_type or ''}" for name, action in ACTIONS.items()
    )
    return "\n".join(["action_type,initiator,game_type", *rows, ""])


def render(schema: Schema) -> str:
    """The text of a schema file."""
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def export(folder: Path = SCHEMAS, *, check: bool = False) -> int:
    """Write every schema to `folder` and remove files of action types that are no more.

    With `check` the differences are printed instead; the exit code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[Path, str | None] = dict.fromkeys(folder.glob("*.json"))
    files |= {folder / name: render(schema) for name, schema in schemas().items()}
    return settle(files, check=check)


if __name__ == "__main__":
    sys.exit(export(check="--check" in sys.argv[1:]))
