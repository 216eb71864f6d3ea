"""Files that are generated and committed: written anew, or checked against what they should be."""

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path


def settle(files: Mapping[Path, str | None], *, check: bool) -> int:
    """Write `files`, or with `check` print how the ones on disk differ; the exit code.

    A file that is to be None is removed, and one that is current is left alone.
    """
    stale = 0
    for path, wanted in files.items():
        found = path.read_text(encoding="utf-8") if path.is_file() else None
        if found == wanted:
            continue
        stale += 1
        if check:
            print(_difference(path, found or "", wanted or ""))
        elif wanted is None:
            path.unlink()
        else:
            path.write_text(wanted, encoding="utf-8")
    if check and stale:
        print(f"{stale} generated files are not current: run `make generate`", file=sys.stderr)
    return 1 if check and stale else 0


def _difference(path: Path, found: str, wanted: str) -> str:
    lines = difflib.unified_diff(
        found.splitlines(),
        wanted.splitlines(),
        f"{path} as committed",
        f"{path} as generated",
        lineterm="",
    )
    return "\n".join(lines)
