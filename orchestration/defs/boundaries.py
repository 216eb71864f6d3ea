"""What the graph shows of the parts that Dagster does not run: the stream, raw, and who reads."""

import json
from collections.abc import Iterator

import dagster as dg

from orchestration.defs.marts import Translator
from orchestration.defs.publication import PUBLISHED
from orchestration.lib.dbt import manifest
from orchestration.lib.owners import OWNERS
from tally.settings import load_settings

_settings = load_settings()

ACTIONS_TOPIC = dg.AssetKey(["kafka", _settings.actions_topic])

RAW_TABLES = {
    "events": "Accepted events; one row per event when read with FINAL.",
    "round_events": "Accepted events of game rounds, ordered by (user, round).",
    "arrivals": "One row per stored message in the order of arrival.",
    "ingest_ledger": "One row per contiguous range of offsets that is readable in raw.",
    "event_ids": "The uses of each event id; the first decides.",
    "dead_letter_replays": "One row per dead letter that was sent again.",
    "erased_users": "Who was erased: nothing of theirs is taken any more.",
    "erased_offsets": "The offsets of messages that were accepted, and erased with their user.",
    "recorded_hours": "The backend's own record of each hour beside what arrived.",
    "dead_letters": "One row per message that was not accepted, with its bytes and the reason.",
}

stream = dg.AssetSpec(
    ACTIONS_TOPIC,
    group_name="stream",
    owners=OWNERS,
    kinds={"kafka"},
    description="User actions as the game backend sends them, keyed by user.",
)

raw = [
    dg.AssetSpec(
        ["raw", table],
        deps=[ACTIONS_TOPIC],
        group_name="raw",
        owners=OWNERS,
        kinds={"clickhouse"},
        description=f"{description} Written by ingestion.",
    )
    for table, description in RAW_TABLES.items()
]

# By the type of dbt's exposure: the first part of the key, and what the UI draws.
_READERS = {
    "application": ("api", "fastapi"),
    "dashboard": ("dashboards", "grafana"),
    "analysis": ("reports", "python"),
}


def _readers() -> Iterator[dg.AssetSpec]:
    """Who reads the models, as dbt's exposures name them."""
    found = json.loads(manifest(_settings).read_text())
    for exposure in found["exposures"].values():
        group, kind = _READERS[exposure["type"]]
        models = (found["nodes"][node] for node in exposure["depends_on"]["nodes"])
        yield dg.AssetSpec(
            [group, exposure["name"]],
            deps=[PUBLISHED, *map(Translator().get_asset_key, models)],
            group_name=group,
            owners=OWNERS,
            kinds={kind},
            description=f"{exposure['label']}: {exposure['description']}",
            metadata={"maturity": exposure["maturity"]},
        )


assets = [stream, *raw, *_readers()]
