"""What every test may ask for, and the rule that in CI a skipped test is a failed one."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tally.settings import load_settings

TESTS = Path(__file__).parent

# Reasons for which a test may be skipped in CI: what CI cannot install. The full disk has a sibling
# that needs no mount (test_ingest_obstacles.py).
ALLOWED_SKIPS_IN_CI = frozenset({"a small disk to fill needs the right to mount one"})


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes under test.

    What a script starts in the background has SIGINT ignored, and so have its children: two tests
    of Ctrl-C waited for ever in a CI that ran so.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what shares servers in one process of `make test`, in its order.

    A folder of `integration`, the analysts' and the one of what is deployed share theirs over the
    session; elsewhere a file is alone.
    """
    for item in items:
        file = item.path.relative_to(TESTS)
        shared = file.parts[0] in {"integration", "analysts", "deployed"}
        item.add_marker(pytest.mark.xdist_group(str(file.parent if shared else file)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        reason = str(call.excinfo.value) if call.excinfo else ""
        if reason not in ALLOWED_SKIPS_IN_CI:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped in CI: {reason}"
    return report


@pytest.fixture(scope="module", autouse=True)
def environment_of_a_module() -> Iterator[None]:
    """What a module sets in the environment ends with it.

    A code location, which sets the warehouse's address when it is imported, gave its own to the
    unit tests that followed it in the same process.
    """
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def real_rounds() -> Path:
    """The file of 50,000 real crash-game rounds, which is kept beside the project and not in it."""
    path = load_settings().real_data / "bustabit.csv"
    if not path.is_file():
        pytest.skip(f"the real rounds are not at {path}; TALLY_REAL_DATA names their folder")
    return path
