"""The dbt models as assets, their tests as asset checks, and the jobs that run them."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DbtCliResource,
    build_dbt_asset_selection,
    dbt_assets,
)

from orchestration.lib.dbt import DEEP, MINUTE, artifacts, manifest, project
from orchestration.lib.exclusive import exclusively
from tally.settings import load_settings


class Translator(DagsterDbtTranslator):
    """Groups assets by the folder of their model."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """`staging`, `marts` or `analytics`."""
        folder: str = dbt_resource_props["fqn"][1]
        return folder


class BuildOptions(dg.Config):
    """What a person may choose when launching a build."""

    full_refresh: bool = False


_settings = load_settings()


@dbt_assets(
    manifest=manifest(_settings),
    project=project(_settings),
    dagster_dbt_translator=Translator(),
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
)
def dbt_models(
    context: dg.AssetExecutionContext, dbt: DbtCliResource, config: BuildOptions
) -> Iterator[Any]:
    """`dbt build`: each model, then its tests."""
    # Unit tests need no data: they run where the models change, in the checks.
    arguments = ["build", "--exclude-resource-type", "unit_test"]
    if config.full_refresh:
        arguments.append("--full-refresh")
    with exclusively(
        _settings.home / "materialize.lock",
        on_wait=lambda: context.log.info("Another materialization runs; this one waits for it."),
    ):
        yield from dbt.cli(
            arguments, context=context, target_path=artifacts(_settings, context.run_id)
        ).stream()


materialize = dg.define_asset_job(
    "materialize",
    selection=build_dbt_asset_selection([dbt_models], dbt_select=MINUTE, dbt_exclude=DEEP),
    description="Bring the tables that follow the stream to the end of the ledger and test them.",
)

deep = dg.define_asset_job(
    "deep",
    selection=dg.AssetSelection.assets(dbt_models),
    description="Build and test every model, also the tables and tests that read all of raw.",
)

nightly = dg.ScheduleDefinition(
    name="nightly",
    job=deep,
    # The day is closed in UTC, and the evening's peak is over in Europe.
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

rebuild = dg.define_asset_job(
    "rebuild",
    selection=dg.AssetSelection.assets(dbt_models),
    config=dg.RunConfig(ops={"dbt_models": BuildOptions(full_refresh=True)}),
    description="Build every model anew from all of raw; readers see the old tables until then.",
)
