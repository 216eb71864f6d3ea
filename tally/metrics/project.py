"""The metrics as they are written in dbt_project/models/metrics: dbt's YAML, typed and checked.

What dbt can check (that a measure or a model exists) it checks when it parses the project; here are
the fields that dbt only carries (`meta`), and the words that are made from them.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from tally.errors import TallyError
from tally.metrics.registry import (
    DBT_PROJECT,
    ActiveDay,
    Additivity,
    Metric,
    Privacy,
    Registry,
)

SECTIONS = ("Activity", "Games", "Population")

_DAYS = re.compile(r"(\d+) days?")


class CumulativeParameters(msgspec.Struct):
    """`window` is a number of days."""

    window: str


class TypeParameters(msgspec.Struct):
    """How dbt composes a metric: of a measure, of two metrics, or of an expression over metrics."""

    measure: str | None = None
    cumulative_type_params: CumulativeParameters | None = None
    numerator: str | None = None
    denominator: str | None = None
    expr: str | None = None
    metrics: list[str] = []


class Outcome(msgspec.Struct, forbid_unknown_fields=True):
    """Which played rounds have an outcome: a condition on game_type, bet and payout."""

    name: str
    when: str


class Meta(msgspec.Struct, forbid_unknown_fields=True):
    """What dbt carries for us; activity.yml says what each field means, games.yml of `outcome`.

    `parameters` are numbers of the definition that are no window: each becomes a macro
    `<metric>_<parameter>`, and the words have them as `{parameter}`.
    """

    section: Literal["Activity", "Games", "Population"]
    formula: str
    grain: str
    additivity: Additivity
    unit: str
    privacy: Privacy
    empty: str
    active_day: ActiveDay
    window: str | None = None
    window_days: int | None = None
    outcome: Outcome | None = None
    parameters: dict[str, int] = {}
    read_from: tuple[str, ...] = ()


class MetricConfig(msgspec.Struct):
    meta: Meta


class MetricDefinition(msgspec.Struct):
    """One metric of dbt's semantic layer."""

    name: str
    label: str
    description: str
    type: Literal["simple", "cumulative", "ratio", "derived"]
    type_params: TypeParameters
    config: MetricConfig

    @property
    def meta(self) -> Meta:
        return self.config.meta

    @property
    def inputs(self) -> list[str]:
        """The metrics that it is composed of."""
        parts = self.type_params
        ends = [name for name in (parts.numerator, parts.denominator) if name is not None]
        return [*ends, *parts.metrics]

    @property
    def window_days(self) -> int | None:
        """How many dates its window has."""
        cumulative = self.type_params.cumulative_type_params
        if cumulative is None:
            return self.meta.window_days
        days = _DAYS.fullmatch(cumulative.window)
        if days is None:
            raise TallyError(f"The window of {self.name} is {cumulative.window!r}, not 'N days'.")
        return int(days[1])


class Measure(msgspec.Struct):
    name: str
    expr: str | None = None


class ActiveDayMeta(msgspec.Struct, forbid_unknown_fields=True):
    """`event` is the condition on an event that makes its day active."""

    active_day_definition: ActiveDay
    event: str


class DimensionConfig(msgspec.Struct):
    meta: ActiveDayMeta


class Dimension(msgspec.Struct):
    name: str
    description: str = ""
    config: DimensionConfig | None = None


class SemanticModelMeta(msgspec.Struct, forbid_unknown_fields=True):
    read_from: tuple[str, ...]


class SemanticModelConfig(msgspec.Struct):
    meta: SemanticModelMeta


class SemanticModel(msgspec.Struct):
    """A model that metrics are measured on."""

    name: str
    config: SemanticModelConfig
    dimensions: list[Dimension] = []
    measures: list[Measure] = []


class _Files(msgspec.Struct):
    semantic_models: list[SemanticModel]
    metrics: list[MetricDefinition]


class MetricProject:
    """Everything under `models/metrics` of one dbt project.

    Raises `TallyError` where a file is not what the types say.
    """

    def __init__(self, project: Path = DBT_PROJECT) -> None:
        self.folder = project / "models" / "metrics"
        files = _read(self.folder)
        self.semantic_models = files.semantic_models
        self.definitions = {
            metric.name: metric
            for section in SECTIONS
            for metric in files.metrics
            if metric.meta.section == section
        }
        self._measured_on = {
            measure.name: model for model in files.semantic_models for measure in model.measures
        }

    @property
    def active_days(self) -> dict[str, Dimension]:
        """By the name of each active-day definition the dimension that holds it."""
        return {
            dimension.config.meta.active_day_definition: dimension
            for model in self.semantic_models
            for dimension in model.dimensions
            if dimension.config is not None
        }

    def measured_on(self, metric: MetricDefinition) -> SemanticModel | None:
        """The semantic model of a metric's own measure."""
        measure = metric.type_params.measure
        return None if measure is None else self._measured_on[measure]

    def measured_inputs(self, definition: MetricDefinition) -> tuple[str, ...]:
        """The measured metrics that a metric comes down to; itself, where it is one of them."""
        if not definition.inputs:
            return (definition.name,)
        found = (self.measured_inputs(self.definitions[name]) for name in definition.inputs)
        return tuple(dict.fromkeys(name for names in found for name in names))

    def registry(self) -> Registry:
        """What readers get, in the order of the sections."""
        return Registry(
            active_days={name: found.description for name, found in self.active_days.items()},
            metrics=tuple(self._metric(definition) for definition in self.definitions.values()),
        )

    def _metric(self, definition: MetricDefinition) -> Metric:
        meta = definition.meta
        days = definition.window_days
        if days == 1:
            window = "D"
        elif days is not None:
            window = f"[D - {days - 1}, D]"
        else:
            window = meta.window or "all dates until D"
        return Metric(
            name=definition.name,
            label=definition.label,
            section=meta.section,
            description=self._description(definition),
            formula=meta.formula.format_map(meta.parameters),
            grain=meta.grain,
            window=window,
            window_days=days,
            additivity=meta.additivity,
            unit=meta.unit,
            privacy=meta.privacy,
            empty=meta.empty,
            active_day=meta.active_day,
            measure=self._summed(definition),
            read_from=self._read_from(definition),
        )

    def _summed(self, definition: MetricDefinition) -> str | None:
        """The measure of which the metric is the plain sum, over days and games."""
        measure = definition.type_params.measure
        return measure if definition.meta.additivity == "additive" else None

    def _description(self, definition: MetricDefinition) -> str:
        said = definition.description.format_map(definition.meta.parameters)
        sentences = [" ".join(said.split())]
        days = definition.window_days
        if days is not None and days > 1:
            sentences.append(f"The window is the {days} UTC dates that end with D (`as_of`).")
        sentences.append(self._active_day_sentence(definition.meta.active_day))
        empty = definition.meta.empty
        sentences.append(f"{empty[0].upper()}{empty[1:]}.")
        return " ".join(sentences)

    def _active_day_sentence(self, applies: ActiveDay) -> str:
        words = {name: dimension.description for name, dimension in self.active_days.items()}
        match applies:
            case "as_asked":
                either = " or ".join(f"{said} (`{name}`)" for name, said in words.items())
                return f"An active day is, by the definition that the answer names, {either}."
            case "none":
                return "Days are UTC dates; no active-day definition applies."
            case _:
                return f"By `{applies}`, whatever is asked for: {words[applies]}."

    def _read_from(self, definition: MetricDefinition) -> tuple[str, ...]:
        if definition.meta.read_from:
            return definition.meta.read_from
        model = self.measured_on(definition)
        if model is not None:
            return model.config.meta.read_from
        inputs = (self._read_from(self.definitions[name]) for name in definition.inputs)
        return tuple(dict.fromkeys(relation for relations in inputs for relation in relations))


def _read(folder: Path) -> _Files:
    merged: dict[str, list[Any]] = {"semantic_models": [], "metrics": []}
    for path in sorted(folder.glob("*.yml")):
        content: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        for kind, found in merged.items():
            found.extend(content.get(kind, ()))
    if not merged["metrics"]:
        raise TallyError(f"{folder} defines no metric.")
    try:
        return msgspec.convert(merged, _Files)
    except msgspec.ValidationError as error:
        raise TallyError(f"The metrics in {folder} are not well formed: {error}.") from error
