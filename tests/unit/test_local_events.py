"""The record of what happened to the services."""

from pathlib import Path

from tally.local.events import record, restarts, since_start
from tally.local.layout import Layout


def test_only_what_happened_since_the_last_start_counts(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path)
    layout.create()
    assert since_start(layout) == []
    record(layout, "stack", "stack_started", "starts")
    record(layout, "api", "crashed", "ended unexpectedly")
    record(layout, "stack", "stack_started", "starts")
    record(layout, "kafka", "crashed", "ended unexpectedly")
    record(layout, "kafka", "moved", "is now elsewhere")
    record(layout, "ingest", "restarted", "is restarted, because kafka was")
    happened = since_start(layout)
    assert [event.service for event in happened] == ["kafka", "kafka", "ingest"]
    assert restarts(happened) == {"kafka": 1, "ingest": 1}
    assert str(happened[0]).endswith("Z kafka ended unexpectedly")
