"""The chain of migrations is one line, and each file is what was applied."""

from pathlib import Path

import pytest

from ingest.migrations.chain import read_chain, split_statements
from tally.errors import TallyError


def chain(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("select 1;")
    return folder


def test_the_real_chain_is_one_line():
    versions = [migration.version for migration in read_chain()]
    assert versions == list(range(1, len(versions) + 1))


def test_two_heads_are_refused(tmp_path):
    with pytest.raises(TallyError, match=r"two heads: 0002_a\.sql and 0002_b\.sql"):
        read_chain(chain(tmp_path, "0001_raw.sql", "0002_a.sql", "0002_b.sql"))


def test_a_gap_is_refused(tmp_path):
    with pytest.raises(TallyError, match=r"0002 is missing before 0003_b\.sql"):
        read_chain(chain(tmp_path, "0001_raw.sql", "0003_b.sql"))


def test_the_chain_begins_with_1(tmp_path):
    with pytest.raises(TallyError, match="0001 is missing"):
        read_chain(chain(tmp_path, "0002_a.sql"))


def test_a_name_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(TallyError, match="not the name of a migration"):
        read_chain(chain(tmp_path, "1_raw.sql"))


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "0001_raw.sql").write_text("-- nothing;\n;;")
    with pytest.raises(TallyError, match="no statement"):
        read_chain(tmp_path)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 1; select 2", ["select 1", "select 2"]),
        ("select ';' ; select 2;", ["select ';'", "select 2"]),
        ("select 'it''s; ' ;", ["select 'it''s; '"]),
        (r"select '\'; ' ; select 2", [r"select '\'; '", "select 2"]),
        ('select 1 as "a;b"; select `c;d`', ['select 1 as "a;b"', "select `c;d`"]),
        ("-- a; comment with 'a quote\nselect 1;", ["select 1"]),
        ("select /* ; ' */ 1;", ["select   1"]),
        ("select '-- no comment; ';", ["select '-- no comment; '"]),
        ("  ;\n; ", []),
    ],
)
def test_statements_end_at_semicolons_that_end_something(sql, expected):
    assert split_statements(sql) == expected
