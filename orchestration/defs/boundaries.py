"""What the graph shows of the parts that Dagster does not run: the stream, raw, and the API."""

import dagster as dg

from orchestration.lib.owners import OWNERS
from tally.settings import load_settings

_settings = load_settings()

ACTIONS_TOPIC = dg.AssetKey(["kafka", _settings.actions_topic])

RAW_TABLES = {
    "events": "Accepted events; one row per event when read with FINAL.",
    "round_events": "Accepted events of game rounds, ordered by (user, round).",
    "arrivals": "One row per stored message in the order of arrival.",
    "ingest_ledger": "One row per contiguous range of offsets that is readable in raw.",
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
        description=f"{description} Written by `tally ingest`.",
    )
    for table, description in RAW_TABLES.items()
]

stats_api = dg.AssetSpec(
    ["api", "users_stats"],
    deps=[
        ["published", "marts"],
        ["marts", "user_stats_closed"],
        ["marts", "user_stats_touched"],
        ["marts", "user_games_closed"],
        ["marts", "user_games_touched"],
        ["marts", "user_days_touched"],
        ["marts", "user_cards"],
        ["marts", "touched_days_live"],
        ["marts", "materialization_backlog"],
        ["marts", "freshness"],
    ],
    group_name="api",
    owners=OWNERS,
    kinds={"fastapi"},
    description="`GET /api/users/stats`: what the frontend reads.",
)

assets = [stream, *raw, stats_api]
