"""The fingerprint of the SQL that defines the numbers: two answers with one hash mean the same."""

import functools
import hashlib
from pathlib import Path

from tally.errors import TallyError

DBT_PROJECT = Path(__file__).resolve().parent.parent / "dbt_project"

_DEFINING_FOLDERS = ("macros", "models")


@functools.cache
def definition_hash(project: Path = DBT_PROJECT) -> str:
    """`sha256:<hex>` over the path and text of every SQL file in the project's models and macros.

    Line endings do not count, so a checkout on another system has the same hash. Read once a
    process. Raises `TallyError` where the project has no SQL.
    """
    files = sorted(
        (path.relative_to(project).as_posix(), path)
        for folder in _DEFINING_FOLDERS
        for path in (project / folder).rglob("*.sql")
    )
    if not files:
        raise TallyError(
            f"{project} has no SQL in {' or '.join(_DEFINING_FOLDERS)}: no number is defined.",
            hint="Run from a complete installation: the dbt project is part of the package.",
        )
    digest = hashlib.sha256()
    for name, path in files:
        text = path.read_bytes().replace(b"\r\n", b"\n")
        # Lengths go in too, so that moving text from one file to the next changes the hash.
        digest.update(f"{name}\0{len(text)}\0".encode())
        digest.update(text)
    return f"sha256:{digest.hexdigest()}"
