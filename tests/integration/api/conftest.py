"""One real warehouse for the tests of this folder; each test has users of its own."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.platform import Platform, running_platform


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


_user_ids = itertools.count(1)


@pytest.fixture
def new_user() -> Callable[[], int]:
    """Gives user ids that no other test has."""
    return lambda: next(_user_ids)
