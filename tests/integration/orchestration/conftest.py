"""A warehouse with marts, and the code location on it, in the process of the tests."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from orchestration.lib.dbt import ensure_manifest
from tests.platform import Platform, running_platform


@dataclass
class CodeLocation:
    """The definitions of `orchestration`, run in this process on a Dagster instance of the test."""

    platform: Platform
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    environment: dict[str, str]

    def run(self, job: str, **options: Any) -> dg.ExecuteInProcessResult:
        """Run a job to its end; a failed run is a result too."""
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, raise_on_error=False, **options
        )

    def value(self, query: str) -> Any:
        """The only value of a query's answer."""
        ((value,),) = self.platform.client.query(query).result_rows
        return value


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeLocation]:
    with running_platform(tmp_path_factory.mktemp("orchestration")) as platform:
        ensure_manifest(platform.settings)
        before = dict(os.environ)
        os.environ["TALLY_HOME"] = str(platform.settings.home)
        os.environ |= platform.settings.warehouse_environment()
        # The definitions are made for the warehouse of the environment when they are imported.
        from orchestration.definitions import defs

        environment = dict(os.environ)
        os.environ.clear()
        os.environ.update(before)
        (dagster_home := platform.folder / "dagster").mkdir()
        with dg.DagsterInstance.local_temp(str(dagster_home)) as instance:
            yield CodeLocation(platform, defs, instance, environment)


@pytest.fixture(scope="module")
def code_location(loaded: CodeLocation) -> CodeLocation:
    """The code location, with its environment in this process until the module ends."""
    os.environ.update(loaded.environment)
    return loaded


_user_ids = iter(range(1, 1_000_000))


@pytest.fixture
def new_user() -> Callable[[], int]:
    """Gives user ids that no other test has."""
    return lambda: next(_user_ids)
