"""The panels of this house: none lacks a title, a description, a unit, thresholds or links."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, table, timeseries
from grafana_foundation_sdk.builders.common import GraphThresholdsStyleConfig as ThresholdStyle
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import DashboardLink, ThresholdsConfig
from grafana_foundation_sdk.models.common import (
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
)

from grafana.dashboards.queries import CLICKHOUSE, PROMETHEUS, PromQl, Sql
from tally.metrics import metrics

Kind = Literal["stat", "timeseries", "table", "heatmap", "bars"]
AnyPanel = stat.Panel | timeseries.Panel | table.Panel | heatmap.Panel | bargauge.Panel

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


@dataclass(frozen=True)
class Thresholds:
    """Where a value changes its colour: `base` below the first step."""

    base: str = BLUE
    steps: tuple[tuple[float, str], ...] = ()

    @classmethod
    def above(cls, warning: float, page: float) -> "Thresholds":
        """Good until `warning`, bad from `page`; these are the limits of the alerts."""
        return cls(GREEN, ((warning, YELLOW), (page, RED)))

    @classmethod
    def below(cls, page: float, warning: float) -> "Thresholds":
        """Bad until `page`, good from `warning`."""
        return cls(RED, ((page, YELLOW), (warning, GREEN)))

    def builder(self) -> ThresholdsConfig:
        """As the SDK has them."""
        steps = [Threshold(None, self.base), *(Threshold(*step) for step in self.steps)]
        return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


# Of a number that is neither good nor bad.
PLAIN = Thresholds()
# Of one that must be 0.
NONE_ALLOWED = Thresholds(GREEN, ((1, RED),))
# Of a share that was lost.
LOSS = Thresholds.above(0.001, 0.005)


@dataclass(frozen=True)
class Panel:
    """A panel, before it has a place.

    `metric` names the canonical metric that it shows, whose description is then the registry's;
    `about` says what that does not. `runbook` is a heading of docs/runbooks.md or another page
    (`page.md#heading`). `units` are those of single columns.
    """

    title: str
    kind: Kind
    unit: str
    queries: Sequence[Sql | PromQl]
    runbook: str
    about: str = ""
    metric: str | None = None
    thresholds: Thresholds = PLAIN
    width: int = 8
    height: int = 7
    units: dict[str, str] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """What a person reads behind the panel's (i)."""
        parts = [metrics()[self.metric].description if self.metric else "", self.about]
        return " ".join(part for part in parts if part)

    @property
    def models(self) -> list[str]:
        """The dbt models that it reads."""
        return list(dict.fromkeys(each.model for each in self.queries if isinstance(each, Sql)))

    def links(self) -> list[DashboardLink]:
        """To what explains it: the page of what to do, and the documentation of its models."""
        found = [_link("Runbook", guide_url(self.runbook))]
        for model in self.models:
            address = f"${{docs}}/#!/model/model.tally.{model}"
            found.append(_link(f"dbt: {model}", address))
        return found

    def build(self) -> AnyPanel:
        """The SDK's panel."""
        panel = _new(self.kind)
        is_sql = isinstance(self.queries[0], Sql)
        panel.title(self.title).description(self.description).unit(self.unit)
        panel.datasource(CLICKHOUSE if is_sql else PROMETHEUS)
        panel.thresholds(self.thresholds.builder()).links([*self.links()])
        panel.span(self.width).height(self.height)
        for position, query in enumerate(self.queries):
            panel.with_target(query.target(chr(ord("A") + position)))
        for column, unit in self.units.items():
            panel.override_by_name(column, [DynamicConfigValue("unit", unit)])
        if isinstance(panel, timeseries.Panel) and self.thresholds.steps:
            dashed = ThresholdStyle().mode(GraphThresholdsStyleMode.DASHED)
            panel.thresholds_style(dashed)
        return panel


def guide_url(runbook: str) -> str:
    """The address of a page of docs/, or of a heading on it, as `tally docs` serves them."""
    page, _, heading = runbook.partition("#")
    address = f"${{docs}}/guides/{(page or 'runbooks.md').removesuffix('.md')}.html"
    return f"{address}#{heading}" if heading else address


def _link(title: str, address: str) -> DashboardLink:
    return DashboardLink(title).type(DashboardLinkType.LINK).url(address).target_blank(True)


def _new(kind: Kind) -> AnyPanel:
    if kind == "stat":
        return stat.Panel().reduce_options(_last())
    if kind == "bars":
        return bargauge.Panel().reduce_options(ReduceDataOptions().values(True))
    if kind == "table":
        return table.Panel()
    if kind == "heatmap":
        return heatmap.Panel().calculate(False)
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST)
    return timeseries.Panel().legend(legend.placement(LegendPlacement.BOTTOM).show_legend(True))


def _last() -> ReduceDataOptions:
    """The newest value that there is, of each column."""
    return ReduceDataOptions().calcs(["lastNotNull"]).values(False)
