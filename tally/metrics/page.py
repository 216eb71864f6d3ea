"""What people read of the metrics: docs/metrics.md, its prose with the tables of the registry, and
the blocks that describe the columns of the models.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from string import Template

from tally.metrics.registry import Metric

_PROSE = Path(__file__).with_name("page.template.md")
_COLUMNS = ("metric", "definition", "formula", "window", "grain", "unit", "additive", "seen by")


def render_page(metrics: Sequence[Metric]) -> str:
    """The whole page; each section's table stands where the prose has its placeholder."""
    prose = Template(_PROSE.read_text(encoding="utf-8"))
    sections: dict[str, list[Metric]] = {}
    for metric in metrics:
        sections.setdefault(metric.section, []).append(metric)
    return prose.substitute(
        {section.lower(): "\n".join(_table(found)) for section, found in sections.items()}
    )


def render_columns(metrics: Sequence[Metric]) -> str:
    """For each metric the dbt docs block of its name, for the columns that hold it."""
    return "\n".join(
        f"{{% docs {metric.name} %}}\n{metric.description}\n{{% enddocs %}}\n" for metric in metrics
    )


def _table(metrics: list[Metric]) -> Iterator[str]:
    yield _row(_COLUMNS)
    yield _row("---" for _ in _COLUMNS)
    for metric in metrics:
        yield _row(
            (
                f"`{metric.name}`",
                metric.description,
                metric.formula,
                metric.window,
                metric.grain,
                metric.unit,
                "yes" if metric.additivity == "additive" else "no",
                metric.privacy,
            )
        )


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
