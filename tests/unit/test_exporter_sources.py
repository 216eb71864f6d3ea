"""The exporter answers in time and says who did not, whatever its sources do."""

import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from tally.exporter import collector
from tally.exporter.collector import Sources
from tally.exporter.families import gauge


def works() -> Iterator[Metric]:
    yield gauge("tally_works", "It works.", 1)


def fails() -> Iterator[Metric]:
    yield gauge("tally_half", "Half an answer.", 1)
    raise OSError("away")


def scrape(sources: Sources) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("source", "")): sample.value
        for family in sources.collect()
        for sample in family.samples
    }


def test_a_source_that_fails_is_told_and_hides_nobody() -> None:
    found = scrape(Sources({"good": works, "bad": fails}))
    assert found["tally_works", ""] == 1
    assert found["tally_exporter_source_up", "good"] == 1
    assert found["tally_exporter_source_up", "bad"] == 0
    assert ("tally_half", "") not in found


def test_a_source_that_hangs_is_told_in_time_and_asked_again_only_after_it_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "DEADLINE_SECONDS", 0.05)
    release, asked = threading.Event(), []

    def hangs() -> Iterator[Metric]:
        asked.append(1)
        release.wait(30)
        yield gauge("tally_late", "It comes late.", 1)

    sources = Sources({"good": works, "slow": hangs})
    for _ in range(2):
        found = scrape(sources)
        assert found["tally_exporter_source_up", "slow"] == 0
        assert found["tally_exporter_source_up", "good"] == 1
    assert len(asked) == 1
    release.set()
    monkeypatch.setattr(collector, "DEADLINE_SECONDS", 30)
    assert scrape(sources)["tally_exporter_source_up", "slow"] == 1


def test_to_register_it_asks_nobody() -> None:
    def never() -> Iterator[Metric]:
        raise AssertionError("asked")

    CollectorRegistry().register(Sources({"any": never}))
