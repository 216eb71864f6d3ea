"""What a verification finds: comparisons made, and the differences among them."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that is not what the events say.

    `source` is where it was read (`marts.user_days`, `API`, ...), `at` the date or the question.
    """

    source: str
    user_id: int
    metric: str
    at: str
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
    differences: list[Difference] = field(default_factory=list)
    seconds: float = 0.0

    def compared(self, source: str, metrics: list[str], times: int = 1) -> None:
        """Count `times` comparisons of each of `metrics`."""
        self.metrics.update(metrics)
        self.comparisons[source] = self.comparisons.get(source, 0) + times * len(metrics)

    def as_dict(self, shown: int) -> dict[str, Any]:
        """For machines; the first `shown` differences are spelt out."""
        return {
            "as_of": self.as_of,
            "users": self.users,
            "events": self.events,
            "stored_rows": self.stored_rows,
            "dead_letters": self.dead_letters,
            "metrics": sorted(self.metrics),
            "comparisons": sum(self.comparisons.values()),
            "comparisons_by_source": self.comparisons,
            "differences": len(self.differences),
            "first_differences": [asdict(found) for found in self.differences[:shown]],
            "seconds": round(self.seconds, 2),
        }
