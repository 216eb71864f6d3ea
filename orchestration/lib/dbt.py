"""The dbt project as orchestration runs it: its manifest, its arguments, where its artifacts go."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from dagster_dbt import DbtProject

from tally.errors import TallyError
from tally.settings import Settings

PROJECT_DIR = Path(__file__).parents[2] / "dbt_project"
# The one beside this interpreter, whether or not its folder is on the PATH.
DBT = str(Path(sys.executable).with_name("dbt"))
MANIFEST = PROJECT_DIR / "target" / "manifest.json"


@cache
def project() -> DbtProject:
    """The dbt project; its profile is in its own folder."""
    return DbtProject(project_dir=PROJECT_DIR, profiles_dir=PROJECT_DIR)


def is_current(manifest: Path, project_dir: Path) -> bool:
    """Whether the manifest is newer than every source file of the project."""
    if not manifest.is_file():
        return False
    written = manifest.stat().st_mtime
    sources = [
        path
        for folder in ("models", "macros", "tests")
        for path in (project_dir / folder).rglob("*")
        if path.is_file()
    ]
    sources += [project_dir / "dbt_project.yml", project_dir / "profiles.yml"]
    return all(path.stat().st_mtime <= written for path in sources)


def prepare_manifest() -> bool:
    """Parse the project where its manifest is missing or old; true if that was needed.

    Parsing reads no warehouse, so the connection it is given leads nowhere.
    """
    if is_current(MANIFEST, PROJECT_DIR):
        return False
    nowhere = {
        "TALLY_CLICKHOUSE_URL": "http://127.0.0.1:9",
        "TALLY_CLICKHOUSE_USER": "",
        "TALLY_CLICKHOUSE_PASSWORD": "",
    }
    run_dbt(["parse", "--quiet"], nowhere, PROJECT_DIR / "target")
    MANIFEST.touch()
    return True


def run_dbt(arguments: list[str], environment: dict[str, str], target_path: Path) -> None:
    """Run dbt outside of Dagster.

    Raises `TallyError` with dbt's own words where it fails.
    """
    command = [
        DBT,
        *arguments,
        *("--project-dir", str(PROJECT_DIR), "--profiles-dir", str(PROJECT_DIR)),
        *("--target-path", str(target_path), "--log-path", str(target_path)),
    ]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise TallyError(f"dbt {arguments[0]} failed:\n{(done.stdout + done.stderr).strip()}")


def artifacts(settings: Settings, run_id: str) -> Path:
    """The folder of one run's artifacts, under the stack's home."""
    return settings.home.absolute() / "dbt" / run_id
