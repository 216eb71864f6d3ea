"""Great Expectations as asset checks, on the assets that would be wrong."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import dagster as dg

from expectations import catalogue
from expectations.engine import Outcome, build_docs, validate
from expectations.suite import Expectation, Suite, When
from orchestration.lib.docs import QUALITY, pages
from orchestration.lib.owners import OWNERS
from orchestration.lib.publication import CheckResult, reason_to_run, record
from orchestration.lib.transient import retried
from tally.settings import load_settings
from tally.warehouse import connect

_settings = load_settings()


def check_spec(suite: Suite, expectation: Expectation) -> dg.AssetCheckSpec:
    """The asset check of an expectation."""
    return dg.AssetCheckSpec(
        expectation.name,
        asset=dg.AssetKey(list(suite.guards)),
        description=f"{expectation.invariant} ({expectation.kind} on {suite.relation})",
        blocking=expectation.blocking,
        metadata={"relation": suite.relation, "when": str(suite.when)},
    )


def _specs(*moments: When) -> list[dg.AssetCheckSpec]:
    return [
        check_spec(suite, expectation)
        for suite, expectation in catalogue.named()
        if suite.when in moments
    ]


@dg.multi_asset_check(
    name="expectations_before_publication",
    specs=_specs(When.PUBLICATION),
    can_subset=True,
    required_resource_keys={"exclusive_run"},
)
def publication_expectations(
    context: dg.AssetCheckExecutionContext,
) -> Iterator[dg.AssetCheckResult]:
    """What the next publication would bring; nothing where it would bring nothing."""
    with closing(connect(_settings)) as client:
        reason = reason_to_run(client)
    if reason is not None:
        yield from _evaluate(context)


@dg.multi_asset_check(
    name="expectations_of_the_day",
    specs=_specs(When.REGULARLY, When.NIGHTLY),
    can_subset=True,
)
def scheduled_expectations(
    context: dg.AssetCheckExecutionContext,
) -> Iterator[dg.AssetCheckResult]:
    """The expectations on raw, play and delays."""
    yield from _evaluate(context)


@dg.asset(
    key=["quality", "data_docs"],
    deps=sorted({dg.AssetKey(list(suite.guards)) for suite in catalogue.SUITES}),
    group_name="quality",
    owners=OWNERS,
    kinds={"greatexpectations"},
    description="Great Expectations' pages about every suite; `tally docs` serves them.",
)
def data_docs() -> dg.MaterializeResult[None]:
    """Validate every suite once more and write its pages."""
    folder = pages(_settings) / QUALITY
    outcomes = build_docs(_settings, catalogue.SUITES, folder)
    return dg.MaterializeResult(
        metadata={
            "pages": dg.MetadataValue.url((folder / "index.html").as_uri()),
            "expectations": len(outcomes),
            "failed": sum(not outcome.passed for outcome in outcomes),
        }
    )


def _evaluate(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    names = frozenset(key.name for key in context.selected_asset_check_keys)
    with (
        retried(context.op_execution_context.retry_number),
        closing(connect(_settings)) as client,
    ):
        outcomes = list(validate(_settings, catalogue.selected(names)))
        record(client, [_recorded(outcome) for outcome in outcomes], context.run.run_id)
    for outcome in outcomes:
        yield _result(outcome)


def _recorded(outcome: Outcome) -> CheckResult:
    return CheckResult(
        outcome.expectation.name,
        "/".join(outcome.suite.guards),
        outcome.passed,
        outcome.expectation.blocking,
        "" if outcome.passed else outcome.observed,
    )


def _result(outcome: Outcome) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {"observed": outcome.observed}
    if outcome.rows is not None:
        metadata["rows"] = outcome.rows
    blocking = outcome.expectation.blocking
    return dg.AssetCheckResult(
        passed=outcome.passed,
        check_name=outcome.expectation.name,
        asset_key=dg.AssetKey(list(outcome.suite.guards)),
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        description=outcome.observed,
        metadata=metadata,
    )


CHECKS: Sequence[dg.AssetChecksDefinition] = (publication_expectations, scheduled_expectations)
