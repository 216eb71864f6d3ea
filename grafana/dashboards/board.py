"""A dashboard: rows of panels, its variables, and the one way from it to its JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    Row,
    TextBoxVariable,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

from grafana.dashboards.panels import Panel
from grafana.dashboards.queries import CLICKHOUSE, PROMETHEUS, PromQl, Sql

TAG = "tally"
# Where docker-compose.yml publishes `tally docs`.
DOCS = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Variable:
    """What a person types in above a dashboard."""

    name: str
    label: str
    default: str
    about: str


@dataclass(frozen=True)
class Board:
    """One dashboard. `uid` is its address and the name of its file, and never changes.

    `period` is the time range that it opens with, `refresh` how often it asks again.
    """

    uid: str
    title: str
    description: str
    period: str
    refresh: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variables: Sequence[Variable] = ()

    @property
    def panels(self) -> list[Panel]:
        """All its panels, in their order."""
        return [panel for _, panels in self.rows for panel in panels]

    @property
    def models(self) -> list[str]:
        """The dbt models that it reads."""
        return sorted({model for panel in self.panels for model in panel.models})

    def json(self) -> str:
        """The dashboard as Grafana takes it."""
        board = (
            Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([TAG])
            .timezone("utc")
            .time(f"now-{self.period}", "now")
            .refresh(self.refresh)
            .readonly()
            .link(
                DashboardLink("Tally")
                .type(DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .as_dropdown(True)
                .keep_time(True)
            )
        )
        self._declare_variables(board)
        for title, panels in self.rows:
            board.with_row(Row(title))
            for panel in panels:
                board.with_panel(panel.build())
        document = board.build()
        return json.dumps(document, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"

    def _declare_variables(self, board: Dashboard) -> None:
        queries = [query for panel in self.panels for query in panel.queries]
        sources = (
            (Sql, "clickhouse", "ClickHouse", CLICKHOUSE),
            (PromQl, "prometheus", "Prometheus", PROMETHEUS),
        )
        for asks, name, label, reference in sources:
            if any(isinstance(query, asks) for query in queries):
                source = DatasourceVariable(f"{name}_datasource").label(f"{label} data source")
                board.with_variable(source.type(reference.type_val or ""))
        docs = Variable(
            "docs", "Documentation", DOCS, "Where `tally docs` serves, for the panels' links."
        )
        for each in (*self.variables, docs):
            box = TextBoxVariable(each.name).label(each.label).description(each.about)
            board.with_variable(box.default_value(each.default))
