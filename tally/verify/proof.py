"""What a verification finds: comparisons made, and the differences among them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that is not what the events say.

    `source` is where it was read (`marts.user_days`, `API`, ...), `key` says of whom or what it is.
    """

    source: str
    metric: str
    key: Mapping[str, Any]
    expected: Any
    found: Any


@dataclass(slots=True)
class Proof:
    """The outcome of one verification."""

    as_of: list[str]
    users: int = 0
    events: int = 0
    stored_rows: int = 0
    dead_letters: int = 0
    metrics: set[str] = field(default_factory=set)
    comparisons: dict[str, int] = field(default_factory=dict)
    not_compared: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    seconds: float = 0.0

    def compared(self, source: str, metrics: list[str], times: int = 1) -> None:
        """Count `times` comparisons of each of `metrics`."""
        self.metrics.update(metrics)
        self.comparisons[source] = self.comparisons.get(source, 0) + times * len(metrics)

    def differs(
        self, source: str, metric: str, key: Mapping[str, Any], expected: Any, found: Any
    ) -> None:
        """Note a difference."""
        self.differences.append(Difference(source, metric, key, expected, found))

    def by_source(self) -> dict[str, list[Difference]]:
        """The differences by where they were read."""
        found: dict[str, list[Difference]] = {}
        for difference in self.differences:
            found.setdefault(difference.source, []).append(difference)
        return found

    def as_dict(self, shown: int) -> dict[str, Any]:
        """For machines; the first `shown` differences of each source are spelt out."""
        by_source = self.by_source()
        return {
            "as_of": self.as_of,
            "users": self.users,
            "events": self.events,
            "stored_rows": self.stored_rows,
            "dead_letters": self.dead_letters,
            "metrics": sorted(self.metrics),
            "comparisons": sum(self.comparisons.values()),
            "comparisons_by_source": self.comparisons,
            "not_compared": self.not_compared,
            "differences": len(self.differences),
            "differences_by_source": {name: len(found) for name, found in by_source.items()},
            "first_differences": [
                asdict(difference) for found in by_source.values() for difference in found[:shown]
            ],
            "seconds": round(self.seconds, 2),
        }
