"""The panels of Prometheus on a running stack: what makes them tell something, and the asking."""

import json
import math
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlencode

import httpx
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from grafana.dashboards.generate import BOARDS
from grafana.dashboards.queries import PromQl
from serving_api.realtime.endpoints import SUBPROTOCOL, SYNC, TOKEN_PREFIX
from tally.tokens import mint
from tests.stacks import Stack

LIMIT_S = 1.0
# Grafana's is four scrapes; this one holds all that a test has done.
RATE_INTERVAL = "5m"
FIRST_USER = 1_000_001


def play(stack: Stack) -> None:
    """Some players live two days, ask for their statistics, and one is told of an action live."""
    stack.tally("simulate", "--users", "20", "--days", "2", "--until", "now")
    stack.tally("wait")
    stack.stats(range(FIRST_USER, FIRST_USER + 20))
    settings = stack.settings
    token = mint(settings, FIRST_USER)
    url = settings.endpoint("api_url")
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(TOKEN_PREFIX + token)]
    with connect(url.replace("http", "ws", 1) + SYNC, subprotocols=offered) as socket:
        answer = httpx.post(
            f"{url}/api/actions",
            headers={"Authorization": f"Bearer {token}"},
            json={"action_type": "LOGIN", "occurred_at": datetime.now(UTC).isoformat()},
        )
        assert answer.status_code == 202, answer.text
        while json.loads(socket.recv(timeout=30))["type"] != "user_action":
            pass


def without_data(stack: Stack) -> dict[str, str]:
    """The panels that show nothing, no number or too late, and what they asked."""
    return dict(_without_data(stack.settings.prometheus_url or ""))


def _without_data(prometheus_url: str) -> Iterator[tuple[str, str]]:
    for board in BOARDS:
        for panel in board.panels:
            for query in panel.queries:
                if not isinstance(query, PromQl):
                    continue
                text = query.text.replace("$__rate_interval", RATE_INTERVAL)
                url = f"{prometheus_url}/api/v1/query?{urlencode({'query': text})}"
                began = time.monotonic()
                with urllib.request.urlopen(url, timeout=30) as response:
                    series = json.load(response)["data"]["result"]
                seconds = time.monotonic() - began
                values = [float(each["value"][1]) for each in series]
                # A route of which nothing was counted in the window has no quantile: NaN, a gap.
                if not any(map(math.isfinite, values)) or seconds > LIMIT_S:
                    yield f"{board.title}: {panel.title}", f"{values} in {seconds:.2f} s: {text}"
