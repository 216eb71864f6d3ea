"""What an expectation is here: plain data, so that naming all of them costs no import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class When(StrEnum):
    """When a suite is validated."""

    PUBLICATION = "before each publication"
    REGULARLY = "every 15 minutes"
    NIGHTLY = "nightly"


@dataclass(frozen=True)
class Expectation:
    """One named expectation: a class of Great Expectations and its arguments.

    A failure of a `blocking` one holds what people read at the last good state.
    """

    name: str
    invariant: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    blocking: bool = False


@dataclass(frozen=True)
class Suite:
    """The expectations on one relation, which guard an asset: the one that would be wrong."""

    relation: str
    guards: tuple[str, ...]
    when: When
    expectations: tuple[Expectation, ...]

    @property
    def database(self) -> str:
        """The relation's database."""
        return self.relation.partition(".")[0]

    @property
    def table(self) -> str:
        """The relation's name in it."""
        return self.relation.partition(".")[2]


def no_rows(name: str, invariant: str, *, blocking: bool = False) -> Expectation:
    """The relation lists violations, and must be empty."""
    return Expectation(name, invariant, "ExpectTableRowCountToEqual", {"value": 0}, blocking)


def always(
    name: str, invariant: str, column: str, value: object, *, blocking: bool = False
) -> Expectation:
    """A column has one value in every row."""
    arguments = {"column": column, "value_set": [value]}
    return Expectation(name, invariant, "ExpectColumnValuesToBeInSet", arguments, blocking)


def one_of(
    name: str, invariant: str, column: str, values: list[Any], *, blocking: bool = False
) -> Expectation:
    """A column has only values of a list."""
    arguments = {"column": column, "value_set": values}
    return Expectation(name, invariant, "ExpectColumnValuesToBeInSet", arguments, blocking)


def between(
    name: str,
    invariant: str,
    column: str,
    low: float | None = None,
    high: float | None = None,
    *,
    blocking: bool = False,
) -> Expectation:
    """A column's values are in a closed range; nulls are left out."""
    bounds = {"min_value": low, "max_value": high}
    arguments = {"column": column} | {name: at for name, at in bounds.items() if at is not None}
    return Expectation(name, invariant, "ExpectColumnValuesToBeBetween", arguments, blocking)


def unique(name: str, invariant: str, *columns: str, blocking: bool = False) -> Expectation:
    """No two rows have the same values in the columns."""
    if len(columns) == 1:
        arguments: dict[str, Any] = {"column": columns[0]}
        return Expectation(name, invariant, "ExpectColumnValuesToBeUnique", arguments, blocking)
    arguments = {"column_list": list(columns)}
    return Expectation(name, invariant, "ExpectCompoundColumnsToBeUnique", arguments, blocking)


def not_null(name: str, invariant: str, column: str, *, blocking: bool = False) -> Expectation:
    """A column has no null."""
    arguments = {"column": column}
    return Expectation(name, invariant, "ExpectColumnValuesToNotBeNull", arguments, blocking)


def columns(name: str, invariant: str, *names: str) -> Expectation:
    """A relation has these columns, in this order."""
    arguments = {"column_list": list(names)}
    return Expectation(name, invariant, "ExpectTableColumnsToMatchOrderedList", arguments)
