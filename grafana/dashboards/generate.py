"""`python -m grafana.dashboards.generate [--check]`: writes grafana/json, a file a dashboard."""

import sys
from pathlib import Path

from grafana.dashboards import api, business, ingestion, quality, support, warehouse
from grafana.dashboards.board import Board
from tally.generated import settle

JSON = Path(__file__).parents[1] / "json"

BOARDS: tuple[Board, ...] = (
    business.BOARD,
    support.BOARD,
    ingestion.BOARD,
    api.BOARD,
    quality.BOARD,
    warehouse.BOARD,
)


def files() -> dict[Path, str | None]:
    """Every dashboard's file; one of a dashboard that is gone is to go, too."""
    gone: dict[Path, str | None] = dict.fromkeys(JSON.glob("*.json"))
    return gone | {JSON / f"{board.uid}.json": board.json() for board in BOARDS}


if __name__ == "__main__":
    sys.exit(settle(files(), check="--check" in sys.argv[1:]))
