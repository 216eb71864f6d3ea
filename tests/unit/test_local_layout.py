"""Where a stack keeps its things."""

import os
from pathlib import Path

import pytest

from tally.errors import TallyError
from tally.local.layout import MAX_SOCKET_PATH_BYTES, Layout, read_json, write_json


def test_the_socket_is_in_the_home_where_its_path_is_short_enough() -> None:
    assert Layout(Path("/srv/tally")).socket == Path("/srv/tally/run/supervisord.sock")


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_path_too_long_for_a_socket_has_its_socket_under_tmp(letter: str) -> None:
    one, other = Layout(Path("/", letter * 100)), Layout(Path("/", letter * 101))
    assert one.socket.is_relative_to("/tmp")
    assert len(os.fsencode(one.socket)) <= MAX_SOCKET_PATH_BYTES
    assert one.socket != other.socket


def test_a_relative_home_means_the_same_after_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Layout.of(Path(".tally")).home == tmp_path / ".tally"


def test_a_home_that_cannot_be_made_is_an_error_for_its_reader(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TallyError, match=r"cannot keep its state in .*file"):
        Layout.of(tmp_path / "file").create()


def test_a_home_that_supervisord_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TallyError, match="cannot have a %"):
        Layout.of(tmp_path / "50%").create()


def test_json_is_read_back_and_absent_is_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "absent.json") is None
    write_json(tmp_path / "some.json", {"api": 1})
    assert read_json(tmp_path / "some.json") == {"api": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["some.json"]
