"""The hash of a metric changes with the SQL that defines it and with nothing else."""

import re
from pathlib import Path

import msgspec
import pytest

from tally.errors import TallyError
from tally.metrics import definition_hash, metric_hashes, metrics
from tally.metrics.hashes import DefiningSql

STATS = msgspec.structs.replace(metrics()["total_wins"], read_from=("stats",))
OTHER = msgspec.structs.replace(metrics()["total_wins"], read_from=("other",))

FILES = {
    "models/marts/stats.sql": "select {{ outcome('bet') }} from {{ ref('days') }}\n",
    "models/marts/days.sql": (
        "-- depends_on: {{ ref('before') }}\n"
        "{% if is_incremental() %}{{ touched() }}{% endif %} select 1\n"
    ),
    "models/marts/before.sql": "select {{ utc_date('at') }} from {{ ref('types') }}\n",
    "seeds/types.csv": "action_type,initiator\nLOGIN,user\n",
    "models/marts/other.sql": "select 2\n",
    "macros/one.sql": (
        "{#- Says how it ended. -#}\n"
        "{% macro outcome(bet) -%}case when {{ bet }} = 0 then 1 end{%- endmacro %}\n\n\n"
        "{% macro unused() %}3{% endmacro %}\n"
    ),
    "macros/two.sql": (
        "{% macro touched() %}4{% endmacro %}\n"
        "{% macro utc_date(at) %}{{ adapter.dispatch('utc_date', 'tally')(at) }}{% endmacro %}\n"
        "{% macro default__utc_date(at) %}{{ at }}::date{% endmacro %}\n"
        "{% macro clickhouse__utc_date(at) %}toDate({{ at }}, 'UTC'){% endmacro %}\n"
    ),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def hashes(project: Path) -> tuple[str, str]:
    sql = DefiningSql(project)
    return sql.hash_of(STATS), sql.hash_of(OTHER)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("models/marts/stats.sql", "select", "select distinct"),
        ("models/marts/before.sql", "select", "select distinct"),
        ("seeds/types.csv", "LOGIN,user", "LOGIN,system"),
        ("macros/one.sql", "= 0", "= 1"),
        ("macros/two.sql", "}4{", "}5{"),
        ("macros/two.sql", "::date", "::text"),
        ("macros/two.sql", "'UTC')", "'Asia/Seoul')"),
    ],
    ids=[
        "model",
        "model upstream",
        "seed",
        "macro",
        "untaken branch",
        "one target",
        "another target",
    ],
)
def test_sql_upstream_of_a_metric_changes_its_hash_and_no_other(
    project: Path, name: str, old: str, new: str
) -> None:
    before = hashes(project)
    text = FILES[name]
    assert old in text
    (project / name).write_text(text.replace(old, new))
    after = hashes(project)
    assert after[0] != before[0]
    assert after[1] == before[1]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("macros/one.sql", "}3{", "}30{"),
        ("macros/one.sql", "Says how it ended.", "How it ended."),
        ("models/marts/stats.sql", "select ", "select -- the outcome\r\n    "),
    ],
    ids=["unused macro", "comment of a macro", "comment and white space"],
)
def test_what_defines_no_number_changes_no_hash(
    project: Path, name: str, old: str, new: str
) -> None:
    before = hashes(project)
    (project / name).write_text(FILES[name].replace(old, new))
    assert hashes(project) == before


@pytest.mark.parametrize("field", ["formula", "grain", "window", "unit"])
def test_another_definition_in_words_is_another_hash(project: Path, field: str) -> None:
    changed = msgspec.structs.replace(STATS, **{field: "something else"})
    assert DefiningSql(project).hash_of(changed) != DefiningSql(project).hash_of(STATS)


def test_a_metric_of_a_model_that_is_not_there_is_an_error(project: Path) -> None:
    (project / "models/marts/before.sql").unlink()
    with pytest.raises(TallyError, match="no model before"):
        hashes(project)


def test_every_metric_of_this_project_has_a_hash_of_its_own() -> None:
    found = metric_hashes()
    assert list(found) == list(metrics())
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", value) for value in found.values())
    assert len(set(found.values())) == len(found)


def test_an_answer_has_one_hash_whatever_the_order_of_its_metrics() -> None:
    assert definition_hash(("total_wins", "dau")) == definition_hash(("dau", "total_wins"))
    assert definition_hash(("total_wins", "dau")) != definition_hash(("total_wins", "wau"))
