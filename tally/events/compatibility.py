"""Refuses a change of the contract that would break a producer or a consumer that exists.

`python -m tally.events.compatibility [BASE_DIR]` compares the contract in the code with the schemas
in BASE_DIR, by default those committed at git HEAD, and exits with 1 and one line a breakage.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click
from msgspec import Struct

from tally.errors import TallyError
from tally.events.export import SCHEMAS, Schema, schemas

# A limit that moves this way refuses what was accepted before.
LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_BOUNDS = (
    "maximum",
    "exclusiveMaximum",
    "maxLength",
    "maxItems",
    "maxProperties",
    "x-max-bytes",
)


class Breakage(Struct, frozen=True):
    """One incompatible change: who breaks, where, and why."""

    breaks: Literal["producers", "consumers", "producers and consumers"]
    path: str
    change: str

    def __str__(self) -> str:
        return f"{self.path}: {self.change} (breaks {self.breaks})"


def compare(base: dict[str, Schema], current: dict[str, Schema]) -> list[Breakage]:
    """Every breakage between two sets of schemas by file name."""
    found: list[Breakage] = []
    for name, old in sorted(base.items()):
        subject = name.removesuffix(".json")
        if name not in current:
            found.append(Breakage("producers and consumers", subject, "action type removed"))
        else:
            found.extend(_compare(subject, old, current[name]))
    return found


def _compare(path: str, old: Schema, new: Schema) -> Iterator[Breakage]:
    yield from _compare_values(path, old, new)
    yield from _compare_bounds(path, old, new)
    yield from _compare_required(path, old, new)
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    for field, schema in old_fields.items():
        if field in new_fields:
            yield from _compare(f"{path}.{field}", schema, new_fields[field])
        else:
            yield Breakage("consumers", f"{path}.{field}", "field removed or renamed")
    if old.get("additionalProperties", True) and not new.get("additionalProperties", True):
        yield Breakage("producers", path, "unknown fields are no longer taken")


def _types(schema: Schema) -> list[str]:
    """The JSON types that a schema takes, as sorted text; empty where it takes any."""
    if "anyOf" in schema:
        return sorted(name for option in schema["anyOf"] for name in _types(option))
    if "type" in schema:
        return [str(schema["type"])]
    values = schema["enum"] if "enum" in schema else [schema["const"]] if "const" in schema else []
    return sorted({type(value).__name__ for value in values})


def _compare_values(path: str, old: Schema, new: Schema) -> Iterator[Breakage]:
    if _types(old) != _types(new):
        before, after = ("/".join(_types(schema)) or "any" for schema in (old, new))
        yield Breakage("producers and consumers", path, f"type changed from {before} to {after}")
    gone = [v for v in _allowed(old) or () if (kept := _allowed(new)) is not None and v not in kept]
    if gone:
        yield Breakage("producers", path, f"values no longer taken: {', '.join(map(str, gone))}")
    if _allowed(old) is None and _allowed(new) is not None:
        yield Breakage("producers", path, "only listed values are taken now")
    for word in ("default", "x-initiator"):
        if word in old and old.get(word) != new.get(word):
            change = f"{word} changed from {old[word]!r} to {new.get(word)!r}"
            yield Breakage("consumers", path, change)
    for word in ("pattern", "format"):
        if word in new and old.get(word) != new[word]:
            change = f"{word} changed from {old.get(word)!r} to {new[word]!r}"
            yield Breakage("producers", path, change)


def _allowed(schema: Schema) -> list[object] | None:
    """The listed values; none where any value of the type is taken."""
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return None if values is None else list(values)


def _compare_bounds(path: str, old: Schema, new: Schema) -> Iterator[Breakage]:
    for bound in (*LOWER_BOUNDS, *UPPER_BOUNDS):
        before, after = old.get(bound), new.get(bound)
        if after is None:
            continue
        rises = before is None or after > before
        falls = before is None or after < before
        if rises if bound in LOWER_BOUNDS else falls:
            yield Breakage("producers", path, f"{bound} narrowed from {before} to {after}")
    options = zip(old.get("anyOf", ()), new.get("anyOf", ()), strict=False)
    for before, after in options:
        yield from _compare_bounds(path, before, after)


def _compare_required(path: str, old: Schema, new: Schema) -> Iterator[Breakage]:
    for field in new.get("required", ()):
        if field not in old.get("required", ()):
            yield Breakage("producers", f"{path}.{field}", "required now")
    if new.get("then") is not None and (old.get("if"), old.get("then")) != (
        new.get("if"),
        new["then"],
    ):
        added = [f for f in new["then"].get("required", ()) if f not in _conditional(old)]
        if added or old.get("if") != new.get("if"):
            fields = ", ".join(added) or "fields"
            yield Breakage("producers", path, f"{fields} required now under a condition")


def _conditional(schema: Schema) -> list[str]:
    required: list[str] = schema.get("then", {}).get("required", [])
    return required


def read_folder(folder: Path) -> dict[str, Schema]:
    """The schemas in a folder.

    Raises `TallyError` where it holds none.
    """
    found = {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    if not found:
        raise TallyError(f"{folder} holds no schema (*.json).")
    return found


def read_commit(commit: str = "HEAD") -> dict[str, Schema]:
    """The schemas as committed; empty where that commit has none yet."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=SCHEMAS.parent, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise TallyError(
                f"git {arguments[0]} failed: {done.stderr.strip()}",
                hint="Name a folder with the schemas to compare with.",
            )
        return done.stdout

    names = git("ls-tree", "--name-only", commit, "schemas/").split()
    return {
        Path(name).name: json.loads(git("show", f"{commit}:./{name}"))
        for name in names
        if name.endswith(".json")
    }


@click.command()
@click.argument("base_dir", required=False, type=click.Path(path_type=Path, exists=True))
def main(base_dir: Path | None) -> None:
    """Compare the contract in the code with BASE_DIR, or with the schemas at git HEAD."""
    base = read_commit() if base_dir is None else read_folder(base_dir)
    found = compare(base, schemas())
    for breakage in found:
        click.echo(str(breakage), err=True)
    if found:
        click.echo(
            f"{len(found)} incompatible changes. Add a new optional field or a new action type "
            "instead, and keep the old one until nobody sends or reads it.",
            err=True,
        )
        sys.exit(1)
    click.echo(f"Compatible with {len(base)} schemas.")


if __name__ == "__main__":
    try:
        main()
    except TallyError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
