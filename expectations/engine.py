"""Runs suites on the warehouse with Great Expectations, and builds its Data Docs."""

import importlib
import logging
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from expectations.suite import Expectation, Suite
from tally.settings import Settings

SHOWN_VALUES = 5
DOCS = Path("gx/uncommitted/data_docs/local_site")


@dataclass(frozen=True)
class Outcome:
    """What an expectation found."""

    expectation: Expectation
    suite: Suite
    passed: bool
    observed: str
    """What was found, or why it could not be looked at."""
    rows: int | None
    """Rows looked at, where the expectation is on rows."""


def import_ahead() -> None:
    """Import Great Expectations, 3 s of CPU, in a thread of a caller that waits for something else.

    The 14 expectations before a publication take a tenth of that themselves.
    """
    threading.Thread(target=_great_expectations, daemon=True).start()


def validate(settings: Settings, suites: Iterable[Suite]) -> Iterator[Outcome]:
    """Validate the suites one after the other.

    An expectation that cannot be evaluated has failed: nobody knows whether it holds.
    """
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    source = _source(context, settings)
    for suite in suites:
        yield from _outcomes(gx, _batch_definition(source, suite).get_batch(), suite)


def build_docs(settings: Settings, suites: Iterable[Suite], folder: Path) -> list[Outcome]:
    """Validate the suites and write the Data Docs about it into `folder`, whole or not at all."""
    gx = _great_expectations()
    work = folder.with_name(folder.name + ".partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    context = gx.get_context(mode="file", project_root_dir=str(work))
    source = _source(context, settings)
    outcomes: list[Outcome] = []
    definitions = []
    for suite in suites:
        document = context.suites.add(_suite(gx, suite))
        definition = gx.ValidationDefinition(
            name=suite.relation, data=_batch_definition(source, suite), suite=document
        )
        definitions.append(context.validation_definitions.add(definition))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name="quality", validation_definitions=definitions)
    )
    by_relation = {suite.relation: suite for suite in suites}
    for identifier, result in checkpoint.run().run_results.items():
        suite = by_relation[identifier.expectation_suite_identifier.name]
        outcomes += _read(suite, result)
    context.build_data_docs()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(work / DOCS, folder)
    shutil.rmtree(work)
    return outcomes


def _great_expectations() -> Any:
    """The library, imported where it is used: see the package's docstring."""
    gx = importlib.import_module("great_expectations")
    # It complains about every column's type in a dialect that it does not know.
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return gx


def _source(context: Any, settings: Settings) -> Any:
    url = urlsplit(settings.endpoint("clickhouse_url"))
    user = settings.clickhouse_user
    password = settings.clickhouse_password.get_secret_value()
    scheme = "clickhousedb" if url.scheme == "http" else "clickhousedb+https"
    connection = urlunsplit((scheme, f"{user}:{password}@{url.netloc}", "/default", "", ""))
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    # A temporary table would be in a session that the next statement does not have.
    return context.data_sources.add_sql(
        "warehouse", connection_string=connection, create_temp_table=False
    )


def _batch_definition(source: Any, suite: Suite) -> Any:
    asset = source.add_table_asset(
        suite.relation, table_name=suite.table, schema_name=suite.database
    )
    return asset.add_batch_definition_whole_table("all")


def _suite(gx: Any, suite: Suite) -> Any:
    document = gx.ExpectationSuite(suite.relation)
    for each in suite.expectations:
        expectation = getattr(gx.expectations, each.kind)
        document.add_expectation(
            expectation(
                **each.arguments,
                meta={"name": each.name},
                notes=f"**{each.name}**: {each.invariant}",
                severity="critical" if each.blocking else "warning",
            )
        )
    return document


def _outcomes(gx: Any, batch: Any, suite: Suite) -> Iterator[Outcome]:
    return _read(suite, batch.validate(_suite(gx, suite)))


def _read(suite: Suite, result: Any) -> Iterator[Outcome]:
    by_name = {each.name: each for each in suite.expectations}
    for each in result.results:
        found = each.result or {}
        yield Outcome(
            by_name[each.expectation_config.meta["name"]],
            suite,
            bool(each.success),
            _observed(found, each.exception_info or {}),
            found.get("element_count"),
        )


def _observed(found: dict[str, Any], error: dict[str, Any]) -> str:
    if errors := [
        each["exception_message"]
        for each in (error.values() if "raised_exception" not in error else (error,))
        if isinstance(each, dict) and each.get("raised_exception")
    ]:
        return f"could not be evaluated: {errors[0]}"
    if "observed_value" in found:
        return f"observed {found['observed_value']}"
    if unexpected := found.get("unexpected_count"):
        shown = ", ".join(map(str, found.get("partial_unexpected_list", ())[:SHOWN_VALUES]))
        return f"{unexpected:,} of {found['element_count']:,} rows, such as {shown}"
    return "as expected"
