"""The definition hash changes with the SQL that defines the numbers and with nothing else."""

from pathlib import Path

import pytest

from tally.definitions import definition_hash
from tally.errors import TallyError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    _write(tmp_path, "models/a.sql", "select 1\n")
    _write(tmp_path, "models/sub/b.sql", "select 2\n")
    _write(tmp_path, "macros/c.sql", "select 3\n")
    return tmp_path


def _write(project: Path, name: str, text: str) -> None:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _hash(project: Path) -> str:
    return definition_hash.__wrapped__(project)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("models/a.sql", "select 1 \n"),
        ("models/new.sql", "select 4\n"),
        ("macros/c.sql", "select 30\n"),
        ("models/a.sql", ""),
    ],
)
def test_changed_sql_changes_it(project: Path, name: str, text: str) -> None:
    before = _hash(project)
    _write(project, name, text)
    assert _hash(project) != before


def test_a_renamed_or_removed_file_changes_it(project: Path) -> None:
    before = _hash(project)
    (project / "models/a.sql").rename(project / "models/z.sql")
    renamed = _hash(project)
    (project / "models/z.sql").unlink()
    assert len({before, renamed, _hash(project)}) == 3


def test_what_defines_no_number_does_not_change_it(project: Path) -> None:
    before = _hash(project)
    _write(project, "models/_marts.yml", "version: 2\n")
    _write(project, "tests/assert_x.sql", "select 1\n")
    _write(project, "target/run/models/a.sql", "select 1\n")
    (project / "models/a.sql").write_bytes(b"select 1\r\n")
    assert _hash(project) == before


def test_a_project_without_sql_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TallyError, match="no number is defined"):
        _hash(tmp_path)
