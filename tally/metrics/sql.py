"""The dbt macros that follow from the registry: windows, active days, outcomes, sums and ratios.

The models call them, so that changing a definition is one edit in dbt_project/models/metrics.
"""

import re
from collections.abc import Iterator, Mapping

from tally.metrics.project import MetricDefinition, MetricProject

_HEADER = "{#- Generated from models/metrics by `make generate`: definitions are changed there. -#}"
_NAME = re.compile(r"\w+")
_ROUND_FIELDS = ("game_type", "bet", "payout")


def render_macros(project: MetricProject) -> str:
    """The text of macros/registry.sql."""
    return "\n\n\n".join((_HEADER, *_macros(project))) + "\n"


def _macros(project: MetricProject) -> Iterator[str]:
    yield _mapping(
        "active_day_definitions",
        "By the column that says so, the condition on an event that makes its day active.",
        {
            dimension.name: dimension.config.meta.event
            for dimension in project.active_days.values()
            if dimension.config is not None
        },
    )
    yield _mapping(
        "activity_windows",
        "The windows of a user's active days, in dates.",
        {
            definition.name.removesuffix("_active_days"): definition.window_days
            for definition in project.definitions.values()
            if definition.meta.section == "Activity" and definition.window_days is not None
        },
    )
    yield _mapping(
        "population_windows",
        "The windows of the active users, in dates.",
        {
            definition.name: definition.window_days
            for definition in project.definitions.values()
            if definition.meta.section == "Population" and definition.window_days is not None
        },
    )
    yield _mapping(
        "game_metrics",
        "The measures of a day that add up over days and games, and the names of their totals.",
        {
            metric.measure: metric.name
            for metric in project.registry().metrics
            if metric.section == "Games" and metric.measure is not None
        },
    )
    yield _outcome(project)
    for definition in project.definitions.values():
        if definition.inputs:
            yield _composed(project, definition)
        for parameter, value in definition.meta.parameters.items():
            yield _parameter(definition.name, parameter, value)


def _mapping(name: str, says: str, entries: Mapping[str, str | int | None]) -> str:
    lines = "".join(f"        {_literal(k)}: {_literal(v)},\n" for k, v in entries.items())
    return (
        f"{{#- {says} -#}}\n{{% macro {name}() %}}\n    {{{{ return({{\n{lines}    }}) }}}}\n"
        "{% endmacro %}"
    )


def _literal(value: str | int | None) -> str:
    if isinstance(value, str):
        return f'"{value}"' if "'" in value else f"'{value}'"
    return str(value)


def _outcome(project: MetricProject) -> str:
    cases = "".join(
        f"        when {_with_arguments(outcome.when, _ROUND_FIELDS)} then '{outcome.name}'\n"
        for definition in project.definitions.values()
        if (outcome := definition.meta.outcome) is not None
    )
    return (
        "{#- How a settled round ended. -#}\n"
        f"{{% macro outcome({', '.join(_ROUND_FIELDS)}) -%}}\n"
        f"    case\n{cases}    end\n"
        "{%- endmacro %}"
    )


def _composed(project: MetricProject, definition: MetricDefinition) -> str:
    """A macro over the measured metrics that it comes down to; it calls those in between."""
    inputs = project.measured_inputs(definition)
    arguments = ", ".join(f"{name}='{name}'" for name in inputs)
    parts = definition.type_params
    if definition.type == "ratio":
        ends = (_called(project, str(name)) for name in (parts.numerator, parts.denominator))
        body = f"{{{{ ratio({', '.join(ends)}) }}}}"
    else:
        calls = {name: _called(project, name) for name in definition.inputs}
        body = _NAME.sub(
            lambda found: f"{{{{ {calls[found[0]]} }}}}" if found[0] in calls else found[0],
            str(parts.expr),
        )
    return (
        f"{{#- {definition.label}: {definition.meta.formula}. -#}}\n"
        f"{{% macro {definition.name}({arguments}) -%}}\n    {body}\n{{%- endmacro %}}"
    )


def _called(project: MetricProject, name: str) -> str:
    """How a macro names an input: its own argument, or the macro of a composed metric."""
    inputs = project.measured_inputs(project.definitions[name])
    return name if inputs == (name,) else f"{name}({', '.join(inputs)})"


def _parameter(metric: str, parameter: str, value: int) -> str:
    return f"{{% macro {metric}_{parameter}() %}}\n    {{{{ return({value}) }}}}\n{{% endmacro %}}"


def _with_arguments(expression: str, names: tuple[str, ...]) -> str:
    """The expression with each of `names` as an argument of the macro."""
    return _NAME.sub(
        lambda found: f"{{{{ {found[0]} }}}}" if found[0] in names else found[0], expression
    )
