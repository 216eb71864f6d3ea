"""supervisord's configuration, read back by supervisord's own parser."""

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions

from tally.local.layout import Layout
from tally.local.services import SERVICES, Context, Service
from tally.local.supervision import configuration
from tally.settings import Settings


def _parsed(layout: Layout, services: list[Service]) -> ServerOptions:
    layout.create()
    context = Context(layout, Settings(clickhouse_url="http://127.0.0.1:8123"), {})
    layout.configuration.write_text(configuration(services, context))
    options: Any = ServerOptions()
    options.realize(args=["-c", str(layout.configuration)])
    return options


@pytest.mark.parametrize("name", ["plain", "a b", "a ;b", "a #b", "it's"])
def test_an_odd_folder_name_survives_the_configuration(tmp_path: Path, name: str) -> None:
    layout = Layout.of(tmp_path / name)
    services = [service for service in SERVICES if service.name in ("clickhouse", "kafka")]
    options = _parsed(layout, services)
    programs = {
        process.name: process
        for group in options.process_group_configs
        for process in group.process_configs
    }
    program = programs["clickhouse"]
    words = shlex.split(program.command)
    assert words[:4] == [sys.executable, "-m", "tally.local.guard", str(layout.pidfile)]
    assert str(layout.home / "clickhouse") in words
    assert program.stdout_logfile == str(layout.log("clickhouse"))
    assert options.pidfile == str(layout.pidfile)
    assert options.server_configs[0]["file"] == str(layout.socket)
