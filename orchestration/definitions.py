"""The code location. Each subject's definitions live in `defs/`; this only gathers them."""

import os

import dagster as dg
from dagster_dbt import DbtCliResource

from orchestration.defs import (
    backfill,
    boundaries,
    freshness,
    jobs,
    loss,
    marts,
    nightly,
    publication,
    quality,
    schedules,
    stream,
)
from orchestration.lib.dbt import DBT, project, state_folder
from orchestration.lib.docs import guide
from orchestration.lib.exclusive import ExclusiveRun, lock_file
from tally.settings import load_settings

_settings = load_settings()

# dbt's profile is made of these, and dagster-dbt starts each run from the parsed project there.
os.environ |= {
    **_settings.warehouse_environment(),
    "DBT_TARGET_PATH": str(state_folder(_settings)),
}


def _with_guide(spec: dg.AssetSpec) -> dg.AssetSpec:
    page = dg.MetadataValue.path(guide(spec.group_name or ""))
    return spec.merge_attributes(metadata={"guide": page})


defs = dg.Definitions(
    assets=[
        backfill.requested_days,
        marts.dbt_models,
        publication.published_marts,
        quality.data_docs,
        *nightly.assets,
        *boundaries.assets,
    ],
    asset_checks=[*quality.CHECKS, loss.ingest_loss],
    jobs=jobs.JOBS,
    schedules=schedules.SCHEDULES,
    sensors=[freshness.marts_follow_the_stream, stream.observe_the_stream],
    resources={
        # The target is named as `tally prepare` names it: where the arguments differ dbt parses
        # anew, which took 7 s of each run.
        "dbt": DbtCliResource(
            project_dir=project(_settings), dbt_executable=DBT, target="clickhouse"
        ),
        "exclusive_run": ExclusiveRun(lock_file=str(lock_file(_settings))),
    },
    # The default multiprocess executor took 18.7 s for a 3-step run on two cores, in process 6.3 s.
    executor=dg.in_process_executor,
).map_asset_specs(func=_with_guide)
