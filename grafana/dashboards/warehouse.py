"""Warehouse: what ClickHouse holds, how it merges, and what asking it costs."""

from grafana.dashboards.board import Board
from grafana.dashboards.panels import NONE_ALLOWED, Panel, Thresholds
from grafana.dashboards.queries import PromQl

JOB = 'job="tally-exporter"'


def _rate(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{JOB}}}[$__rate_interval]))"


BOARD = Board(
    uid="tally-warehouse",
    title="Warehouse",
    description="ClickHouse: parts, merges, inserts, queries, memory and disk.",
    period="6h",
    refresh="30s",
    rows=[
        (
            "Now",
            [
                Panel(
                    title="Disk free",
                    kind="stat",
                    unit="percentunit",
                    about="Of the disk with the least.",
                    queries=[
                        PromQl(
                            f"min(tally_warehouse_disk_free_bytes{{{JOB}}} / "
                            f"tally_warehouse_disk_size_bytes{{{JOB}}})"
                        )
                    ],
                    runbook="#warehousediskfull",
                    thresholds=Thresholds.below(0.1, 0.2),
                    width=6,
                    height=4,
                ),
                Panel(
                    title="Memory",
                    kind="stat",
                    unit="bytes",
                    about="What the server holds.",
                    queries=[PromQl(f"max(tally_warehouse_memory_bytes{{{JOB}}})")],
                    runbook="monitoring.md#metrics",
                    width=6,
                    height=4,
                ),
                Panel(
                    title="Parts of the fullest partition",
                    kind="stat",
                    unit="none",
                    about="Inserts are delayed from 1,000 and refused from 3,000.",
                    queries=[PromQl(f"max(tally_warehouse_fullest_partition_parts{{{JOB}}})")],
                    runbook="#warehousetoomanyparts",
                    thresholds=Thresholds.above(300, 1_000),
                    width=6,
                    height=4,
                ),
                Panel(
                    title="Answers the exporter",
                    kind="stat",
                    unit="bool_yes_no",
                    about="Whether the warehouse answered the latest scrape.",
                    queries=[PromQl(f'min(tally_exporter_source_up{{{JOB}, source="warehouse"}})')],
                    runbook="#warehousedown",
                    thresholds=Thresholds.below(0.5, 1),
                    width=6,
                    height=4,
                ),
            ],
        ),
        (
            "What it holds",
            [
                Panel(
                    title="Rows by table",
                    kind="timeseries",
                    unit="short",
                    about="In active parts, superseded versions included: no count of events.",
                    queries=[
                        PromQl(
                            f"topk(10, sum by (database, table) (tally_warehouse_rows{{{JOB}}}))",
                            "{{database}}.{{table}}",
                        )
                    ],
                    runbook="monitoring.md#metrics",
                ),
                Panel(
                    title="Bytes by table",
                    kind="timeseries",
                    unit="bytes",
                    about="On disk, of active parts.",
                    queries=[
                        PromQl(
                            f"topk(10, sum by (database, table) (tally_warehouse_bytes{{{JOB}}}))",
                            "{{database}}.{{table}}",
                        )
                    ],
                    runbook="#warehousediskfull",
                ),
                Panel(
                    title="Parts by table",
                    kind="timeseries",
                    unit="none",
                    about="Active parts. What grows and does not shrink again is not merged.",
                    queries=[
                        PromQl(
                            f"topk(10, sum by (database, table) (tally_warehouse_parts{{{JOB}}}))",
                            "{{database}}.{{table}}",
                        )
                    ],
                    runbook="#warehousetoomanyparts",
                    thresholds=Thresholds.above(300, 1_000),
                ),
            ],
        ),
        (
            "What it does",
            [
                Panel(
                    title="Rows inserted",
                    kind="timeseries",
                    unit="cps",
                    about="Those that views write included.",
                    queries=[PromQl(_rate("tally_warehouse_inserted_rows_total"), "inserted")],
                    runbook="monitoring.md#metrics",
                ),
                Panel(
                    title="Merges and mutations under way",
                    kind="timeseries",
                    unit="none",
                    about="A mutation that stays has failed: `select * from system.mutations "
                    "where not is_done`.",
                    queries=[
                        PromQl(f"max(tally_warehouse_merges{{{JOB}}})", "merges"),
                        PromQl(f"max(tally_warehouse_mutations{{{JOB}}})", "mutations"),
                    ],
                    runbook="#warehousetoomanyparts",
                    thresholds=Thresholds.above(20, 100),
                ),
                Panel(
                    title="Rows merged",
                    kind="timeseries",
                    unit="cps",
                    about="Rows that merges read.",
                    queries=[PromQl(_rate("tally_warehouse_merged_rows_total"), "merged")],
                    runbook="#warehousetoomanyparts",
                ),
                Panel(
                    title="Queries by kind",
                    kind="timeseries",
                    unit="ops",
                    about="Finished ones.",
                    queries=[
                        PromQl(_rate("tally_warehouse_finished_queries_total", "kind"), "{{kind}}")
                    ],
                    runbook="monitoring.md#metrics",
                ),
                Panel(
                    title="Seconds a query, mean",
                    kind="timeseries",
                    unit="s",
                    about="Select and insert, each by itself.",
                    queries=[
                        PromQl(
                            f"{_rate('tally_warehouse_query_seconds_total', 'kind')} / "
                            f"({_rate('tally_warehouse_finished_queries_total', 'kind')} > 0)",
                            "{{kind}}",
                        )
                    ],
                    runbook="monitoring.md#metrics",
                    thresholds=Thresholds.above(1, 10),
                ),
                Panel(
                    title="Failed, delayed and refused",
                    kind="timeseries",
                    unit="ops",
                    about="Queries that failed; inserts delayed, then refused, for too many parts.",
                    queries=[
                        PromQl(
                            _rate("tally_warehouse_failed_queries_total", "kind"), "failed {{kind}}"
                        ),
                        PromQl(_rate("tally_warehouse_delayed_inserts_total"), "delayed inserts"),
                        PromQl(_rate("tally_warehouse_rejected_inserts_total"), "refused inserts"),
                    ],
                    runbook="#warehousetoomanyparts",
                    thresholds=NONE_ALLOWED,
                ),
            ],
        ),
    ],
)
