"""What happened to the services of a stack since it started: crashes, restarts, new addresses."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from tally.local.layout import Layout

Kind = Literal["stack_started", "crashed", "failed_to_start", "gave_up", "restarted", "moved"]


@dataclass(frozen=True)
class Event:
    """One thing that happened; `at` is ISO 8601 in UTC, `text` is for a person."""

    at: str
    service: str
    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.at[11:19]}Z {self.service} {self.text}"


def record(layout: Layout, service: str, kind: Kind, text: str) -> None:
    """Append an event to the stack's log of events."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps(asdict(Event(at, service, kind, text)))
    with layout.events.open("a") as log:
        log.write(line + "\n")


def since_start(layout: Layout) -> list[Event]:
    """The events of the running stack, oldest first."""
    try:
        lines = layout.events.read_text().splitlines()
    except FileNotFoundError:
        return []
    events = [Event(**json.loads(line)) for line in lines]
    starts = [at for at, event in enumerate(events) if event.kind == "stack_started"]
    return events[starts[-1] + 1 :] if starts else events


def restarts(events: list[Event]) -> Counter[str]:
    """How often each service was started again."""
    again = ("crashed", "failed_to_start", "restarted")
    return Counter(event.service for event in events if event.kind in again)
