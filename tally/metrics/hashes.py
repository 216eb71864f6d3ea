"""The fingerprint of a number: two answers with one hash mean the same.

Computed from the SQL as it is installed, not kept with the registry: it cannot be out of date.
"""

import functools
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from tally.errors import TallyError
from tally.metrics.registry import DBT_PROJECT, Metric, metrics

_MACRO = re.compile(r"\{%-?\s*macro\s+(\w+)\s*\(.*?endmacro\s*-?%\}", re.DOTALL)
_REF = re.compile(r"""\bref\(\s*['"](\w+)['"]""")
_CALL = re.compile(r"\b(\w+)\s*\(")
_COMMENT = re.compile(r"\{#.*?#\}|--[^\n]*", re.DOTALL)


class DefiningSql:
    """The models, seeds and macros of a dbt project, and what each is made of.

    A macro is used where its name is called anywhere in the text, be it in a branch that one target
    never takes, and brings its implementations for every target: the hash is the same on all.
    Comments and white space do not count.
    """

    def __init__(self, project: Path = DBT_PROJECT) -> None:
        texts = {f"model {path.stem}": _read(path) for path in _files(project, "models", "sql")}
        texts |= {f"model {path.stem}": _read(path) for path in _files(project, "seeds", "csv")}
        macros: dict[str, list[str]] = {}
        for path in _files(project, "macros", "sql"):
            for found in _MACRO.finditer(_read(path)):
                name = found[1]
                texts[f"macro {name}"] = found[0]
                # clickhouse__utc_date is reached through utc_date.
                for called in {name, name.partition("__")[2] or name}:
                    macros.setdefault(called, []).append(f"macro {name}")
        self._sql = {
            name: " ".join(_COMMENT.sub(" ", text).split()) for name, text in texts.items()
        }
        self._uses = {
            name: [f"model {model}" for model in _REF.findall(text)]
            + [macro for called in _CALL.findall(text) for macro in macros.get(called, ())]
            for name, text in texts.items()
        }

    def upstream(self, models: Iterable[str]) -> dict[str, str]:
        """The models, and all models, seeds and macros that they are made of: their SQL by name.

        Raises `TallyError` for a model that is not in the project.
        """
        found: dict[str, str] = {}
        waiting = [f"model {name}" for name in models]
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            if name not in self._sql:
                raise TallyError(
                    f"The dbt project has no {name}, which a metric is read from.",
                    hint="Run from a complete installation: dbt_project is part of the package.",
                )
            found[name] = self._sql[name]
            waiting += self._uses[name]
        return found

    def hash_of(self, metric: Metric) -> str:
        """`sha256:<hex>` over what the metric says it is and the SQL that makes it so."""
        said = (metric.name, metric.formula, metric.grain, metric.window, metric.unit)
        sql = self.upstream(metric.read_from)
        return _digest([*said, *(part for name in sorted(sql) for part in (name, sql[name]))])


@functools.cache
def metric_hashes() -> dict[str, str]:
    """The hash of every metric by name. Read once a process."""
    sql = DefiningSql()
    return {metric.name: sql.hash_of(metric) for metric in metrics().values()}


@functools.cache
def definition_hash(names: tuple[str, ...]) -> str:
    """One hash for an answer that holds the metrics `names`."""
    return _digest(metric_hashes()[name] for name in sorted(names))


def _files(project: Path, folder: str, kind: str) -> list[Path]:
    return sorted((project / folder).rglob(f"*.{kind}"))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        # Lengths go in too, so that moving text from one part to the next changes the hash.
        digest.update(f"{len(encoded)}\0".encode())
        digest.update(encoded)
    return f"sha256:{digest.hexdigest()}"
