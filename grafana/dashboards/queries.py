"""A panel's questions: SQL for ClickHouse and PromQL for Prometheus.

The SDK has no query of the ClickHouse plugin (`grafana-clickhouse-datasource`, version 4); this is
what that plugin's SQL editor saves.
"""

import inspect
from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders.prometheus import Dataquery as PrometheusBuilder
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

CLICKHOUSE = DataSourceRef("grafana-clickhouse-datasource", "${clickhouse_datasource}")
PROMETHEUS = DataSourceRef("prometheus", "${prometheus_datasource}")

# The plugin's numbers: a frame a series of `time`, or the rows as they are.
_FORMATS = {"timeseries": 0, "table": 1}


class ClickHouseQuery(Dataquery):
    """A query in SQL. A time series has a column `time`."""

    def __init__(self, sql: str, kind: Literal["timeseries", "table"], ref_id: str) -> None:
        self.sql = sql
        self.kind = kind
        self.ref_id = ref_id

    def to_json(self) -> dict[str, object]:
        """As the plugin saves it."""
        return {
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "format": _FORMATS[self.kind],
            "pluginVersion": "4.18.0",
            "queryType": self.kind,
            "rawSql": self.sql,
            "refId": self.ref_id,
        }


@dataclass(frozen=True)
class Sql:
    """A question for the warehouse.

    The plugin's macros `$__timeFilter(column)` and `$__dateFilter(column)` limit it to the time
    range of the dashboard. `model` is the dbt model that it reads.
    """

    text: str
    model: str
    kind: Literal["timeseries", "table"] = "timeseries"

    def target(self, ref_id: str) -> Builder[Dataquery]:
        """The panel's target."""
        return _Built(ClickHouseQuery(inspect.cleandoc(self.text), self.kind, ref_id))


@dataclass(frozen=True)
class PromQl:
    """A question for Prometheus; `legend` names its series by their labels."""

    text: str
    legend: str = ""
    instant: bool = False

    def target(self, ref_id: str) -> Builder[Dataquery]:
        """The panel's target."""
        query = PrometheusBuilder().expr(self.text).ref_id(ref_id).datasource(PROMETHEUS)
        if self.legend:
            query.legend_format(self.legend)
        return query.instant() if self.instant else query.range()


class _Built(Builder[Dataquery]):
    """The SDK's panels take builders."""

    def __init__(self, query: ClickHouseQuery) -> None:
        self._query = query

    def build(self) -> Dataquery:
        return self._query
