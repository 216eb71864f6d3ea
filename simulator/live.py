"""The first day of a live world, kept in the stack's home.

A live simulation that is started again, a minute or a month later, must be of the same world: then
it sends the same history, which changes no number, and goes on from there. A world that began
"sixty days ago" would be another one every day, with other lives for the same players.
"""

import json
from datetime import date
from pathlib import Path

FILE = "simulated.json"


def first_day(home: Path, world: str, default: date) -> date:
    """The first day of the live world of this name; `default`, at the first call."""
    path = home / FILE
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if world not in known:
        home.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{FILE}.partial")
        partial.write_text(json.dumps({**known, world: default.isoformat()}, indent=2) + "\n")
        partial.replace(path)
        return default
    return date.fromisoformat(known[world])
