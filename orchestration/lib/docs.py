"""The pages that a person reads: dbt's documentation, the Data Docs, and the smallest server."""

import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from orchestration.lib.dbt import run_dbt, state_folder
from orchestration.lib.guides import DOCS, write_guides
from tally.settings import Settings

QUALITY = "quality"

_GUIDES = {
    "stream": "events",
    "raw": "ingest",
    "quality": "quality",
    "analytics": "analysts",
    "reports": "analysts",
    "dashboards": "analysts",
    "api": "api",
    **dict.fromkeys(("staging", "intermediate", "marts", "metrics"), "models"),
    **dict.fromkeys(("backfill", "published", "nightly"), "orchestration"),
}


def guide(group: str) -> Path:
    """The page for the people who look at an asset of the group."""
    return DOCS / f"{_GUIDES[group]}.md"


def pages(settings: Settings) -> Path:
    """What is served, and nothing besides: the models, `guides/`, and `quality/`: the Data Docs."""
    return settings.home.absolute() / "docs"


def generate(settings: Settings) -> Path:
    """Ask dbt for the page, which holds the manifest and the catalog and loads nothing else.

    Raises `TallyError` with dbt's own words where it fails.
    """
    run_dbt(["docs", "generate", "--static"], settings)
    page = state_folder(settings) / "static_index.html"
    served = pages(settings) / "index.html"
    served.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(page, served)  # the folders may be volumes of their own
    write_guides(served.parent / "guides")
    return served


def serve(folder: Path, host: str, port: int) -> ThreadingHTTPServer:
    """A server of the pages that is not started yet."""
    handler = partial(_Quiet, directory=str(folder))
    return ThreadingHTTPServer((host, port), handler)


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and prints no line for each."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""
