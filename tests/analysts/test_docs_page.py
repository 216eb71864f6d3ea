"""`tally docs`: one page with every model and its lineage, from a server on loopback."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tally.settings import child_environment
from tests.platform import Platform

# Several runs of dbt come before the first of these tests.
pytestmark = pytest.mark.timeout(600)


def test_the_page_is_served_with_models_columns_and_lineage(world: Platform) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "tally", "docs"],
        env=child_environment(world.settings.home) | world.settings.warehouse_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        url = re.match(r"http://127\.0\.0\.1:\d+", told)
        assert url is not None, told
        page = httpx.get(f"{url[0]}/").text
    finally:
        os.kill(process.pid, signal.SIGINT)
        code = process.wait(20)
    assert code == 0
    assert "What each user did on each UTC day" in page
    assert "analytics.daily_metrics" in page or '"daily_metrics"' in page
    # Lineage: what a model depends on. The catalog: the types that the warehouse has.
    assert "source.tally.raw.events" in page
    assert "DateTime64(3, 'UTC')" in page
    assert not re.search(r"<(?:script|link)[^>]+(?:src|href)=.?https?:", page)
    assert not Path(world.settings.home / "dbt" / "state" / "static_index.html").exists()
