"""The dbt models as assets and their tests as asset checks."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtCliInvocation,
    DbtCliResource,
    DbtProject,
    dbt_assets,
)

from expectations.engine import import_ahead
from orchestration.defs.backfill import REQUESTED_DAYS
from orchestration.lib.dbt import MINUTE, artifacts, manifest, project
from orchestration.lib.materialization import last_window, rows, watermark
from orchestration.lib.owners import OWNERS
from orchestration.lib.publication import CheckResult, reason_to_run, record
from orchestration.lib.transient import is_transient, retried, retry
from tally.settings import load_settings
from tally.warehouse import connect


class Translator(DagsterDbtTranslator):
    """Groups assets by the folder of their model and gives every one an owner."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """`staging`, `marts`, `analytics`, ..."""
        folder: str = dbt_resource_props["fqn"][1]
        return folder

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """The model's own where its `meta` names one."""
        return list(super().get_owners(dbt_resource_props) or OWNERS)

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        """What takes arrivals takes those of a backfill, too."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        tags = self.get_resource_props(manifest, unique_id)["tags"]
        if MINUTE.removeprefix("tag:") not in tags:
            return spec
        return spec.replace_attributes(deps=[*spec.deps, REQUESTED_DAYS])


class BuildOptions(dg.Config):
    """What a person may choose when launching a build."""

    full_refresh: bool = False
    even_if_current: bool = False


_settings = load_settings()


@dbt_assets(
    manifest=manifest(_settings),
    project=project(_settings),
    dagster_dbt_translator=Translator(DagsterDbtTranslatorSettings(enable_code_references=True)),
    required_resource_keys={"dbt", "exclusive_run"},
)
def dbt_models(context: dg.AssetExecutionContext, config: BuildOptions) -> Iterator[Any]:
    """`dbt build`: each model, then its tests. Nothing at all where nothing is new."""
    with retried(context.retry_number):
        yield from _build(context, config)


def _build(context: dg.AssetExecutionContext, config: BuildOptions) -> Iterator[Any]:
    with closing(connect(_settings)) as client:
        reason = reason_to_run(client)
    if reason is None and not (config.full_refresh or config.even_if_current):
        context.log.info("The published marts are at the end of the ledger; nothing holds them.")
        return
    context.log.info(f"Builds because of: {reason or 'the launch'}.")
    # Unit tests need no data: they run where the models change, in the checks.
    arguments = ["build", "--exclude-resource-type", "unit_test"]
    if config.full_refresh:
        arguments.append("--full-refresh")
    dbt: DbtCliResource = context.resources.dbt
    invocation = dbt.cli(
        arguments,
        context=context,
        target_path=artifacts(_settings) / context.run.run_id,
        raise_on_error=False,
    )
    import_ahead()
    results: list[CheckResult] = []
    for event in invocation.stream():
        if isinstance(event, dg.AssetCheckResult):
            results.append(_recorded(event))
        yield _described(context, event) if isinstance(event, dg.Output) else event
    with closing(connect(_settings)) as client:
        record(client, results, context.run.run_id)
    raise_for_errors(context, invocation)


def _recorded(event: dg.AssetCheckResult) -> CheckResult:
    assert event.asset_key is not None
    assert event.check_name is not None
    return CheckResult(
        event.check_name,
        event.asset_key.to_user_string(),
        bool(event.passed),
        event.severity is dg.AssetCheckSeverity.ERROR,
    )


def _described(context: dg.AssetExecutionContext, output: dg.Output[Any]) -> dg.Output[Any]:
    """The output with what the run of its model did."""
    database, table = context.asset_key_for_output(output.output_name).path[-2:]
    with closing(connect(_settings)) as client:
        found = rows(client, database, table)
        touched = last_window(client, table)
        newest = watermark(client)
    metadata: dict[str, Any] = {**output.metadata}
    if found is not None:
        metadata["dagster/row_count"] = found
    if touched is not None:
        metadata |= {
            "messages": touched.messages,
            "touched_user_days": touched.user_days,
            "touched_days": touched.in_words(),
        }
    if newest is not None:
        metadata["watermark"] = dg.MetadataValue.timestamp(newest)
    return dg.Output(None, output_name=output.output_name, metadata=metadata)


def raise_for_errors(context: dg.AssetExecutionContext, invocation: DbtCliInvocation) -> None:
    """End the step where dbt did, with another try only for what passes by itself."""
    if invocation.is_successful():
        return
    error = invocation.get_error()
    said = str(error)
    if is_transient(said):
        raise retry(context.retry_number) from error
    raise dg.Failure(
        "dbt found errors or failed tests; what people read stays as it was published last.",
        metadata={"dbt": dg.MetadataValue.md(f"```\n{said[-4000:]}\n```")},
        allow_retries=False,
    ) from error
