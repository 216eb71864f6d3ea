"""The jobs that build, check and publish, and when they run."""

import dagster as dg
from dagster_dbt import build_dbt_asset_selection

from expectations import catalogue
from expectations.suite import When
from orchestration.defs.marts import BuildOptions, dbt_models
from orchestration.defs.publication import published_marts
from orchestration.defs.quality import data_docs, publication_expectations, scheduled_expectations
from orchestration.lib.dbt import DEEP, MINUTE

# Runs with this tag write the marts; dagster.yaml lets one of them run at a time.
WRITES_MARTS = {"tally/writes": "marts"}

_PUBLISH = dg.AssetSelection.assets(published_marts)
_SCHEDULED = dg.AssetSelection.checks(scheduled_expectations)

materialize = dg.define_asset_job(
    "materialize",
    selection=(
        build_dbt_asset_selection([dbt_models], dbt_select=MINUTE, dbt_exclude=DEEP)
        | dg.AssetSelection.checks(publication_expectations)
        | _PUBLISH
    )
    - _SCHEDULED,
    tags=WRITES_MARTS,
    description="Bring the tables that follow the stream to the end of the ledger, check them and "
    "publish them.",
)

_ALL = dg.AssetSelection.assets(dbt_models, published_marts, data_docs) | _SCHEDULED

deep = dg.define_asset_job(
    "deep",
    selection=_ALL,
    tags=WRITES_MARTS,
    config=dg.RunConfig(ops={"dbt_models": BuildOptions(even_if_current=True)}),
    description="Build and test every model, also the tables and tests that read all of raw.",
)

rebuild = dg.define_asset_job(
    "rebuild",
    selection=dg.AssetSelection.assets(dbt_models, published_marts) - _SCHEDULED,
    tags=WRITES_MARTS,
    config=dg.RunConfig(ops={"dbt_models": BuildOptions(full_refresh=True)}),
    description="Build every model anew from all of raw; readers keep the published state.",
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

nightly = dg.ScheduleDefinition(
    name="nightly",
    job=deep,
    # The day is closed in UTC, and the evening's peak is over in Europe.
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

quality_schedule = dg.ScheduleDefinition(
    name="quality_every_15_minutes",
    job=quality,
    cron_schedule="*/15 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
