"""Build aside, check, publish: the asset that stands between the marts and who reads them."""

from collections.abc import Iterator
from contextlib import closing

import dagster as dg

from orchestration.defs.marts import dbt_models
from orchestration.defs.quality import CHECKS
from orchestration.lib.owners import OWNERS
from orchestration.lib.publication import has_unpublished, publish, retire
from orchestration.lib.transient import retried
from tally.settings import load_settings
from tally.warehouse import connect

PUBLISHED = dg.AssetKey(["published", "marts"])

_settings = load_settings()

# Every mart, so that each blocking check of each of them has to pass first.
_GUARDED = sorted(key for key in dbt_models.keys if key.path[0] == "marts")

_KNOWN = {key.name for checks in (dbt_models, *CHECKS) for key in checks.check_keys}


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            PUBLISHED,
            deps=_GUARDED,
            group_name="published",
            owners=OWNERS,
            kinds={"clickhouse"},
            skippable=True,
            description="The state that people read: clones of the marts, made once every blocking "
            "check has passed. While one fails it stays as it is and the API says `held`.",
        )
    ],
    required_resource_keys={"exclusive_run"},
)
def published_marts(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    """Publish, or say which checks hold the state back."""
    with retried(context.retry_number), closing(connect(_settings)) as client:
        if not has_unpublished(client):
            return
        for name in retire(client, _KNOWN, context.run.run_id):
            context.log.warning(f"The check {name} held the state and is no longer in the code.")
        outcome = publish(client, context.run.run_id)
    if outcome.held_by:
        raise dg.Failure(
            f"Held at the last good state by: {', '.join(outcome.held_by)}.", allow_retries=False
        )
    yield dg.MaterializeResult(asset_key=PUBLISHED, metadata={"tables": len(outcome.tables)})
