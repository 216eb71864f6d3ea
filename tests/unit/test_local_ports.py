"""Which ports a stack takes."""

import socket
from collections.abc import Iterator

import pytest

from tally.errors import TallyError
from tally.local.stack import choose_ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_restart_keeps_its_ports() -> None:
    first = choose_ports({"clickhouse": None, "api": None}, {})
    assert len(set(first.values())) == 2
    assert choose_ports({"clickhouse": None, "api": None}, first) == first


def test_a_port_of_the_last_start_that_is_taken_by_now_is_replaced(taken: int) -> None:
    assert choose_ports({"api": None}, {"api": taken})["api"] != taken


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(taken: int) -> None:
    with pytest.raises(TallyError, match=f"Port {taken}, asked for api, is in use"):
        choose_ports({"api": taken}, {})


def test_one_port_is_not_given_twice() -> None:
    (port,) = choose_ports({"api": None}, {}).values()
    chosen = choose_ports({"clickhouse": port, "api": None}, {"api": port})
    assert chosen["clickhouse"] == port != chosen["api"]
