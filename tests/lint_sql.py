"""`python -m tests.lint_sql`: the lint of exactness and sqlfluff on the dbt project.

sqlfluff renders each model by dbt, which asks the warehouse whether the model's table exists: an
empty one is started for it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tally.settings import Settings
from tests import lint_exactness
from tests.servers import start_clickhouse

LINTED = ("dbt_project/models", "dbt_project/tests")


def main() -> int:
    """Lint; the exit code."""
    if refused := lint_exactness.main():
        return refused
    linter = Path(sys.executable).with_name("sqlfluff")
    with (
        tempfile.TemporaryDirectory() as folder,
        start_clickhouse(Path(folder) / "clickhouse") as server,
    ):
        environment = Settings(clickhouse_url=server.url).warehouse_environment()
        command = [linter, "lint", "--nocolor", "--disable-progress-bar", *LINTED]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
