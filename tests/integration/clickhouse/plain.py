"""A client as plain as curl, and waiting for what a server does on its own."""

import time
from collections.abc import Callable

import httpx


class Http:
    """Sends statements as a person's curl would."""

    def __init__(self, url: str) -> None:
        identity = {"accept-encoding": "identity"}
        self._client = httpx.Client(base_url=url, timeout=60, headers=identity)

    def post(self, statement: str | bytes, **params: str) -> httpx.Response:
        """The statement in the body, everything else in the URL."""
        return self._client.post("/", content=statement, params=params)

    def get(self, **params: str) -> httpx.Response:
        """Everything in the URL."""
        return self._client.get("/", params=params)

    def insert(self, statement: str, data: bytes, **params: str) -> httpx.Response:
        """The statement in the URL, the data in the body."""
        response = self._client.post("/", content=data, params={"query": statement, **params})
        assert response.status_code == 200, response.text
        return response

    def text(self, statement: str, **params: str) -> str:
        """The answer of a statement that has to succeed, without its last line feed."""
        response = self.post(statement, **params)
        assert response.status_code == 200, response.text
        return response.text.removesuffix("\n")

    @property
    def client(self) -> httpx.Client:
        """The client underneath."""
        return self._client


def running(http: Http, query_id: str) -> bool:
    """Whether a query of that id runs."""
    count = "select count() from system.processes where Settings['log_comment'] = {id:String}"
    return http.text(count, param_id=query_id) == "1"


def wait_until(condition: Callable[[], bool], limit_s: float = 10) -> None:
    """Wait for a condition; fail when it has not come true within the limit."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.02)
