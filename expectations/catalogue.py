"""Every suite, and the expectations by name."""

from collections.abc import Iterator

from expectations import marts, play, raw
from expectations.suite import Expectation, Suite

SUITES: tuple[Suite, ...] = (*marts.SUITES, *raw.SUITES, *play.SUITES)


def named() -> Iterator[tuple[Suite, Expectation]]:
    """Each expectation with its suite."""
    return ((suite, each) for suite in SUITES for each in suite.expectations)


def selected(names: frozenset[str]) -> tuple[Suite, ...]:
    """The suites, each with the expectations of these names, without those that have none."""
    cut = (
        Suite(
            suite.relation,
            suite.guards,
            suite.when,
            tuple(each for each in suite.expectations if each.name in names),
        )
        for suite in SUITES
    )
    return tuple(suite for suite in cut if suite.expectations)
