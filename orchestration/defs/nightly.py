"""What the nightly run leaves beside the marts: statistics, documentation, an export, a backup."""

from collections.abc import Callable
from contextlib import closing

import dagster as dg

from ingest.backup import back_up, read_manifest
from orchestration.lib.docs import generate
from orchestration.lib.owners import OWNERS
from orchestration.lib.statistics import as_markdown, table_sizes
from orchestration.lib.transient import retried
from tally.export import export_events
from tally.settings import load_settings
from tally.warehouse import connect

_RAW = [dg.AssetKey(["raw", name]) for name in ("events", "arrivals", "ingest_ledger")]


def _told(context: dg.AssetExecutionContext) -> Callable[[str], None]:
    def tell(message: str) -> None:
        context.log.info(message)

    return tell


@dg.asset(
    key=["warehouse", "statistics"],
    deps=[*_RAW, dg.AssetKey(["published", "marts"])],
    group_name="nightly",
    owners=OWNERS,
    kinds={"clickhouse"},
    description="Rows and bytes of every table of raw and the marts.",
)
def statistics(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Count, at no cost: ClickHouse knows."""
    with retried(context.retry_number), closing(connect(load_settings())) as client:
        sizes = table_sizes(client)
    return dg.MaterializeResult(
        metadata={
            "tables": dg.MetadataValue.md(as_markdown(sizes)),
            "rows": sum(each.rows for each in sizes),
            "bytes": sum(each.bytes for each in sizes),
        }
    )


@dg.asset(
    key=["documentation", "models"],
    deps=[dg.AssetKey(["published", "marts"])],
    group_name="nightly",
    owners=OWNERS,
    kinds={"dbt"},
    description="Every model with its columns, tests, SQL and lineage on one page; `tally docs` "
    "serves it.",
)
def models_documentation(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Write the page of `tally docs`."""
    with retried(context.retry_number):
        page = generate(load_settings())
    return dg.MaterializeResult(metadata={"page": dg.MetadataValue.path(page)})


@dg.asset(
    key=["exports", "events"],
    deps=_RAW,
    group_name="nightly",
    owners=OWNERS,
    kinds={"parquet"},
    description="Every accepted event as Parquet files, a folder a month: what `tally materialize "
    "--target duckdb` builds from.",
)
def events_export(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Replace the export of the night before, at once."""
    settings = load_settings()
    folder = settings.export_folder or settings.home.absolute() / "exports"
    with retried(context.retry_number), closing(connect(settings)) as client:
        manifest = export_events(client, folder, _told(context))
    return dg.MaterializeResult(
        metadata={
            "folder": dg.MetadataValue.path(folder),
            "dagster/row_count": manifest["events"],
            "months": manifest["months"],
            "bytes": manifest["bytes"],
        }
    )


@dg.asset(
    key=["backups", "raw"],
    deps=_RAW,
    group_name="nightly",
    owners=OWNERS,
    kinds={"parquet"},
    description="All of raw as Parquet files, the latest seven nights; `tally restore` fills an "
    "empty warehouse from one.",
)
def raw_backup(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Write tonight's, then let go of the oldest."""
    settings = load_settings()
    with retried(context.retry_number), closing(connect(settings)) as client:
        backup = back_up(client, settings.backup_path, _told(context))
    rows = read_manifest(backup)["rows"]
    return dg.MaterializeResult(
        metadata={
            "backup": dg.MetadataValue.path(backup),
            "dagster/row_count": sum(rows.values()),
            "bytes": sum(file.stat().st_size for file in backup.iterdir()),
        }
    )


assets = [statistics, models_documentation, events_export, raw_backup]
