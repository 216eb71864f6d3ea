"""`python -m tests.validate_definitions`: Dagster's own check of the code location.

It parses the dbt project for a home of its own; the warehouse is named and never asked.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from orchestration.lib.dbt import ensure_manifest
from tally.settings import Settings, child_environment


def environment(home: Path) -> dict[str, str]:
    """What a process needs to load the code location, with its manifest in `home`."""
    settings = Settings(home=home, clickhouse_url="http://127.0.0.1:1")
    ensure_manifest(settings)
    return {
        **child_environment(home),
        **settings.warehouse_environment(),
        "DAGSTER_HOME": str(home),
    }


def main() -> int:
    """Validate, and say what Dagster says only where something is wrong."""
    with tempfile.TemporaryDirectory() as home:
        command = ("-m", "dagster", "definitions", "validate", "-m", "orchestration.definitions")
        done = subprocess.run(
            [sys.executable, *command],
            env=environment(Path(home)),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        print(done.stdout + done.stderr, file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
