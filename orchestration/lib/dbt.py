"""The dbt project as orchestration runs it: its manifest, its arguments, where its artifacts go."""

import subprocess
import sys
from pathlib import Path

from dagster_dbt import DbtProject

from tally.errors import TallyError
from tally.settings import Settings, Target, child_environment

PROJECT_DIR = Path(__file__).parents[2] / "dbt_project"

# The tables that follow the stream; and what the nightly run alone does, because it reads all of
# raw or of a large table. Every other model is a view.
MINUTE = "tag:minute"
DEEP = "tag:deep"

# The one beside this interpreter, whether or not its folder is on the PATH.
DBT = str(Path(sys.executable).with_name("dbt"))


def state_folder(settings: Settings, target: Target = "clickhouse") -> Path:
    """Where the manifest of this home is, and the parsed project that later runs start from.

    A folder for each home and target: dbt parses anew where the warehouse of a profile has changed,
    and two stacks would take turns at that.
    """
    name = "state" if target == "clickhouse" else f"state-{target}"
    return settings.home.absolute() / "dbt" / name


def artifacts(settings: Settings) -> Path:
    """The folder of the runs' artifacts, a folder a run."""
    return settings.home.absolute() / "dbt" / "runs"


def project(settings: Settings) -> DbtProject:
    """The dbt project with the manifest of this home; its profile is in its own folder."""
    return DbtProject(
        project_dir=PROJECT_DIR, target_path=state_folder(settings), profiles_dir=PROJECT_DIR
    )


def manifest(settings: Settings) -> Path:
    """The manifest, from which Dagster makes its assets.

    Raises `TallyError` where it was never written.
    """
    path = state_folder(settings) / "manifest.json"
    if not path.is_file():
        raise TallyError(
            f"The dbt project was not parsed for {settings.home}: {path} is missing.",
            hint=f"Run `tally prepare --home {settings.home}`.",
        )
    return path


def is_current(path: Path, project_dir: Path = PROJECT_DIR) -> bool:
    """Whether a manifest is newer than every source file of the project."""
    if not path.is_file():
        return False
    written = path.stat().st_mtime
    sources = [
        source
        for folder in ("models", "macros", "tests")
        for source in (project_dir / folder).rglob("*")
        if source.is_file()
    ]
    sources += [project_dir / "dbt_project.yml", project_dir / "profiles.yml"]
    return all(source.stat().st_mtime <= written for source in sources)


def ensure_manifest(settings: Settings) -> None:
    """Parse the project where the manifest of this home is missing or old."""
    path = state_folder(settings) / "manifest.json"
    if not is_current(path):
        run_dbt(["parse"], settings)
        path.touch()


def run_dbt(arguments: list[str], settings: Settings, target: Target = "clickhouse") -> None:
    """Run dbt outside of Dagster, on the warehouse that the settings have for the target.

    Raises `TallyError` with dbt's own words where it fails.
    """
    folder = str(state_folder(settings, target))
    command = [
        *(DBT, *arguments, "--quiet", "--no-use-colors", "--target", target),
        *("--project-dir", str(PROJECT_DIR), "--profiles-dir", str(PROJECT_DIR)),
        *("--target-path", folder, "--log-path", folder),
    ]
    environment = child_environment(settings.home) | settings.warehouse_environment(target)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TallyError(f"dbt {arguments[0]} failed:\n{(done.stdout + done.stderr).strip()}")
