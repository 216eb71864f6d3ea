"""The canonical metrics as data: what each number means, for everything that shows or checks one.

`registry.json` is generated from dbt_project/models/metrics by `make generate`, so that readers
need neither dbt nor YAML.
"""

import functools
from pathlib import Path
from typing import Literal

import msgspec

DBT_PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
REGISTRY = Path(__file__).with_name("registry.json")

Additivity = Literal["additive", "not additive"]
Privacy = Literal["player", "public", "aggregate"]
ActiveDay = Literal["as_asked", "all_actions", "daily_login", "none"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric.

    `description` is complete in itself: it names the window, UTC, the active-day definition and
    what zero and null mean. `window_days` is None for a metric without a window. `privacy` says who
    may see it: the player and staff, everyone, or (`aggregate`) it is of no single player.
    `measure` is its name in the relations by day and by game, for a metric that is summed from
    there; `read_from` are the relations in which it can be read.
    """

    name: str
    label: str
    section: str
    description: str
    formula: str
    grain: str
    window: str
    window_days: int | None
    additivity: Additivity
    unit: str
    privacy: Privacy
    empty: str
    active_day: ActiveDay
    measure: str | None
    read_from: tuple[str, ...]


class Registry(msgspec.Struct, frozen=True):
    """Everything that is generated for readers: `active_days` says what each definition means."""

    active_days: dict[str, str]
    metrics: tuple[Metric, ...]


@functools.cache
def registry() -> Registry:
    """The registry. Read once a process."""
    return msgspec.json.decode(REGISTRY.read_bytes(), type=Registry)


@functools.cache
def metrics() -> dict[str, Metric]:
    """Every canonical metric by its name, in the order of the reference page."""
    return {metric.name: metric for metric in registry().metrics}


def window_days(name: str) -> int:
    """How many dates the window of a metric has. Raises `KeyError` for a metric without one."""
    days = metrics()[name].window_days
    if days is None:
        raise KeyError(f"{name} has no window")
    return days
