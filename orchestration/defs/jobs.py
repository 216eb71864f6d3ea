"""The jobs: what runs together."""

import dagster as dg
from dagster_dbt import build_dbt_asset_selection

from expectations import catalogue
from expectations.suite import When
from orchestration.defs.backfill import requested_days
from orchestration.defs.loss import ingest_loss
from orchestration.defs.marts import BuildOptions, dbt_models
from orchestration.defs.nightly import (
    events_export,
    models_documentation,
    raw_backup,
    statistics,
)
from orchestration.defs.publication import published_marts
from orchestration.defs.quality import data_docs, publication_expectations, scheduled_expectations
from orchestration.lib.dbt import DEEP, MINUTE, artifacts
from orchestration.lib.retention import purge
from tally.settings import load_settings

# Runs with this tag write the marts; dagster.yaml lets one of them run at a time.
WRITES_MARTS = {"tally/writes": "marts"}

_PUBLISH = dg.AssetSelection.assets(published_marts)
_SCHEDULED = dg.AssetSelection.checks(scheduled_expectations)

_FOLLOW = (
    build_dbt_asset_selection([dbt_models], dbt_select=MINUTE, dbt_exclude=DEEP)
    | dg.AssetSelection.checks(publication_expectations)
    | _PUBLISH
) - _SCHEDULED

materialize = dg.define_asset_job(
    "materialize",
    selection=_FOLLOW,
    tags=WRITES_MARTS,
    description="Bring the tables that follow the stream to the end of the ledger, check them and "
    "publish them.",
)

_ALL = (
    dg.AssetSelection.assets(
        dbt_models, published_marts, data_docs, statistics, models_documentation
    )
    | _SCHEDULED
)

deep = dg.define_asset_job(
    "deep",
    selection=_ALL,
    tags=WRITES_MARTS,
    config=dg.RunConfig(ops={"dbt_models": BuildOptions(even_if_current=True)}),
    description="Build and test every model, also the tables and tests that read all of raw; then "
    "statistics and documentation.",
)

rebuild = dg.define_asset_job(
    "rebuild",
    selection=dg.AssetSelection.assets(dbt_models, published_marts) - _SCHEDULED,
    tags=WRITES_MARTS,
    config=dg.RunConfig(ops={"dbt_models": BuildOptions(full_refresh=True)}),
    description="Build every model anew from all of raw; readers keep the published state.",
)

backfill = dg.define_asset_job(
    "backfill",
    selection=dg.AssetSelection.assets(requested_days) | _FOLLOW,
    # Between two runs of a backfill, what has arrived comes first.
    tags={**WRITES_MARTS, "dagster/priority": "-1"},
    description="Compute a range of UTC days anew, check and publish it.",
)

quality = dg.define_asset_job(
    "quality",
    selection=dg.AssetSelection.checks(
        *(
            dg.AssetCheckKey(dg.AssetKey(list(suite.guards)), expectation.name)
            for suite, expectation in catalogue.named()
            if suite.when is When.REGULARLY
        )
    ),
    description="The expectations on raw, play and delays.",
)

archive = dg.define_asset_job(
    "archive",
    selection=dg.AssetSelection.assets(events_export, raw_backup),
    description="Write the export and the backup of raw; the marts go on meanwhile.",
)

loss = dg.define_asset_job(
    "loss",
    selection=dg.AssetSelection.checks(ingest_loss),
    description="The backend's record of the last day beside what arrived.",
)


@dg.op
def purge_old_runs(context: dg.OpExecutionContext) -> None:
    """Forget runs by the rules of `orchestration/lib/retention.py`."""
    folder = artifacts(load_settings())
    context.log.info(f"{purge(context.instance, materialize.name, folder):,} runs deleted")


@dg.job(description="Delete old runs and their artifacts.")
def retention() -> None:
    """One op."""
    purge_old_runs()


JOBS = (materialize, quality, deep, rebuild, backfill, archive, loss, retention)
