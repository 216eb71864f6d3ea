"""`python -m tally.metrics.generate [--check]`: writes what follows from the metric definitions.

And the seed of the dbt project, which follows from the event contract.
"""

import sys
from pathlib import Path

import msgspec

from tally.events.export import action_types
from tally.generated import settle
from tally.metrics.page import render_columns, render_page
from tally.metrics.project import MetricProject
from tally.metrics.registry import DBT_PROJECT, REGISTRY
from tally.metrics.sql import render_macros

DOCS = DBT_PROJECT.parent / "docs"


def files(project: Path = DBT_PROJECT) -> dict[Path, str]:
    """The generated files and their texts."""
    definitions = MetricProject(project)
    found = definitions.registry()
    registry = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    return {
        REGISTRY: f"{registry}\n",
        project / "macros" / "registry.sql": render_macros(definitions),
        project / "models" / "metrics" / "definitions.md": render_columns(found.metrics),
        project / "seeds" / "action_types.csv": action_types(),
        DOCS / "metrics.md": render_page(found.metrics),
    }


if __name__ == "__main__":
    sys.exit(settle(files(), check="--check" in sys.argv[1:]))
