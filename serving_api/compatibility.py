"""Checks that a new OpenAPI document breaks no client of the old one.

    python -m serving_api.compatibility [COMMIT]

Compares the committed document with the one of COMMIT, by default the last commit in which it was
another. Where there is no such commit (a shallow clone, an unpacked archive) the document that the
code makes is compared with the committed one.

`tally.events.compatibility` does the like for events, whose schemas are flat and have no direction;
here a request and an answer break in opposite ways.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import click

from serving_api.openapi import COMMITTED, render
from tally.errors import TallyError
from tally.settings import Settings

Document = Mapping[str, Any]
Schema = Mapping[str, Any]
Direction = Literal["request", "answer"]


def breakages(old: Document, new: Document) -> list[str]:
    """What of `old` a client may rely on and `new` does not keep, a line each."""
    return list(_Comparison(old, new).run())


class _Comparison:
    def __init__(self, old: Document, new: Document) -> None:
        self._old, self._new = old, new

    def run(self) -> Iterator[str]:
        for path, operations in self._old["paths"].items():
            if path not in self._new["paths"]:
                yield f"{path}: path removed"
                continue
            for method, operation in operations.items():
                name = f"{method.upper()} {path}"
                if method not in self._new["paths"][path]:
                    yield f"{name}: method removed"
                    continue
                yield from self._operation(name, operation, self._new["paths"][path][method])

    def _operation(self, name: str, old: Schema, new: Schema) -> Iterator[str]:
        before, after = _parameters(old), _parameters(new)
        for key, parameter in before.items():
            if key not in after:
                yield f"{name}: parameter {key} removed"
            else:
                yield from self._schema(
                    f"{name}: {key}", parameter["schema"], after[key]["schema"], "request"
                )
        for key, parameter in after.items():
            if parameter.get("required") and not before.get(key, {}).get("required"):
                yield f"{name}: parameter {key} is required now"
        yield from self._body(name, old.get("requestBody", {}), new.get("requestBody", {}))
        for status, answer in old["responses"].items():
            if status not in new["responses"]:
                yield f"{name}: answer {status} removed"
                continue
            yield from self._content(
                f"{name}: {status}", answer, new["responses"][status], "answer"
            )

    def _body(self, name: str, old: Schema, new: Schema) -> Iterator[str]:
        if new.get("required") and not old.get("required"):
            yield f"{name}: a body is required now"
        yield from self._content(f"{name}: body", old, new, "request")

    def _content(self, name: str, old: Schema, new: Schema, way: Direction) -> Iterator[str]:
        for media_type, content in old.get("content", {}).items():
            if media_type not in new.get("content", {}):
                yield f"{name}: {media_type} removed"
            elif "schema" in content:
                after = new["content"][media_type].get("schema", {})
                yield from self._schema(name, content["schema"], after, way)

    def _schema(self, name: str, old: Schema, new: Schema, way: Direction) -> Iterator[str]:
        old, new = _resolved(self._old, old), _resolved(self._new, new)
        if (before := self._types(self._old, old)) != (after := self._types(self._new, new)):
            yield f"{name}: type changed from {_words(before)} to {_words(after)}"
            return
        yield from _values(name, old, new, way)
        fields = new.get("properties", {})
        for field, schema in old.get("properties", {}).items():
            if field not in fields:
                yield f"{name}.{field}: field removed"
            else:
                yield from self._schema(f"{name}.{field}", schema, fields[field], way)
        was, is_now = set(old.get("required", ())), set(new.get("required", ()))
        if way == "request":
            yield from (f"{name}.{field}: required now" for field in sorted(is_now - was))
        else:
            may_lack = (was - is_now) & fields.keys()
            yield from (f"{name}.{field}: may be absent now" for field in sorted(may_lack))
        if "items" in old and "items" in new:
            yield from self._schema(f"{name}[]", old["items"], new["items"], way)
        for before_option, after_option in zip(
            old.get("anyOf", ()), new.get("anyOf", ()), strict=False
        ):
            yield from self._schema(name, before_option, after_option, way)

    def _types(self, document: Document, schema: Schema) -> list[str]:
        """The JSON types that a schema takes, sorted; empty for any."""
        options = [_resolved(document, option) for option in schema.get("anyOf", ())]
        if options:
            return sorted(name for option in options for name in self._types(document, option))
        if "type" in schema:
            return [str(schema["type"])]
        return sorted({type(value).__name__ for value in _listed(schema) or ()})


def _values(name: str, old: Schema, new: Schema, way: Direction) -> Iterator[str]:
    before, after = _listed(old), _listed(new)
    if before is not None and after is not None:
        yield from (f"{name}: value {value!r} removed" for value in before if value not in after)
    elif before is None and after is not None and way == "request":
        yield f"{name}: takes only listed values now"


def _listed(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values: list[Any] | None = schema.get("enum")
    return values


def _parameters(operation: Schema) -> dict[str, Schema]:
    return {f"{each['in']}.{each['name']}": each for each in operation.get("parameters", ())}


def _resolved(document: Document, schema: Schema) -> Schema:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _words(types: list[str]) -> str:
    return "/".join(types) or "any"


def read_commit(commit: str) -> Document:
    """The document of a commit. Raises `TallyError` where git has none."""
    document: Document = json.loads(_git("show", f"{commit}:./{COMMITTED.name}"))
    return document


def last_other_commit() -> str | None:
    """The last commit in which the document is another; None where the history holds none."""
    current = COMMITTED.read_text(encoding="utf-8")
    try:
        commits = _git("log", "--format=%H", "--", COMMITTED.name).split()
    except TallyError:
        return None
    return next(
        (each for each in commits if _git("show", f"{each}:./{COMMITTED.name}") != current), None
    )


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=COMMITTED.parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise TallyError(
            f"git {arguments[0]} failed: {getattr(error, 'stderr', error)}".strip(),
            hint="Name a commit that has serving_api/openapi.json.",
        ) from error
    return done.stdout


@click.command()
@click.argument("commit", required=False)
def main(commit: str | None) -> None:
    """Compare the committed document with the one of COMMIT."""
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    base = commit or last_other_commit()
    if base is None:
        from serving_api.app import create_app

        click.echo("The history has no other document: comparing with the committed one.")
        name, old, new = "the committed one", committed, json.loads(render(create_app(Settings())))
    else:
        name, old, new = base[:10], read_commit(base), committed
    found = breakages(old, new)
    for line in found:
        click.echo(line, err=True)
    if found:
        raise SystemExit(
            f"{len(found)} changes since {name} break clients. Add a field or a path instead, "
            "and deprecate the old one."
        )
    click.echo(f"Compatible with {name}: {len(old['paths'])} paths.")


if __name__ == "__main__":
    try:
        main()
    except TallyError as error:
        raise SystemExit(f"error: {error}") from None
