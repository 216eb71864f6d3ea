"""User `analyst` of the embedded warehouse reads everything and changes nothing."""

from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import httpx
import pytest

from tests.integration.clickhouse.plain import Http
from tests.servers import start_clickhouse

ANALYST = {"user": "analyst"}


def refusal(response: httpx.Response) -> str:
    assert response.status_code != 200, response.text
    return response.headers["x-clickhouse-exception-code"]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into {table} values (1, 'a')",
        "insert into {table} select 1, 'a'",
        "drop table {table}",
        "truncate table {table}",
        "alter table {table} add column x Int8",
        "create table other (x Int8) engine = Memory",
        "create view other as select 1",
        "optimize table {table}",
        "backup table {table} to File('taken')",
        "system flush logs",
        "kill query where 1",
        "set readonly = 0",
        "select 1 settings readonly = 0",
    ],
)
def test_what_changes_something_is_refused(http: Http, table: str, statement: str) -> None:
    assert refusal(http.post(statement.format(table=table), **ANALYST)) == "164"
    assert http.text(f"select count() from {table}") == "0"


def test_it_may_not_raise_itself_by_a_setting_of_the_request(http: Http, table: str) -> None:
    insert = f"insert into {table} values (1, 'a')"
    assert refusal(http.post(insert, readonly="0", **ANALYST)) == "164"


def test_it_may_not_raise_itself_in_the_session_of_another_user(http: Http, table: str) -> None:
    http.text("set max_threads = 1", session_id="shared")
    insert = f"insert into {table} values (1, 'a')"
    assert refusal(http.post(insert, session_id="shared", **ANALYST)) == "164"
    http.text(insert, session_id="shared")


def test_it_reads_with_settings_of_its_own(http: Http, table: str) -> None:
    http.text(f"insert into {table} values (1, 'a')")
    query = f"select id, timezone() from {table} settings max_threads = 1"
    assert http.text(query, session_timezone="Asia/Seoul", **ANALYST) == "1\tAsia/Seoul"


def test_clients_work_with_their_sessions(http: Http) -> None:
    url = http.client.base_url
    client = clickhouse_connect.get_client(host=url.host, port=url.port, username="analyst")
    assert client.query("select number from numbers(3)").result_rows == [(0,), (1,), (2,)]
    client.close()


@pytest.mark.parametrize("user", ["default", "analyst"])
def test_nobody_writes_files_of_the_server(http: Http, user: str, tmp_path: Path) -> None:
    file = tmp_path / "out"
    assert refusal(http.post(f"select 1 INTO /* */ outfile '{file}'", user=user)) == "358"
    assert not file.exists()
    assert http.text("select 'into outfile'", user=user) == "into outfile"


class TestWithPasswords:
    @pytest.fixture(scope="class")
    def url(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        path = tmp_path_factory.mktemp("passwords") / "data"
        with start_clickhouse(path, password="all", analyst_password="reads") as server:
            yield server.url

    @pytest.mark.parametrize(
        ("user", "password", "status"),
        [
            ("analyst", "reads", 200),
            ("analyst", "all", 403),
            ("analyst", "", 403),
            ("default", "all", 200),
            ("default", "reads", 403),
        ],
    )
    def test_each_account_has_its_own(
        self, url: str, user: str, password: str, status: int
    ) -> None:
        assert httpx.post(url, content="select 1", auth=(user, password)).status_code == status


def test_there_is_no_analyst_where_only_the_other_password_is_set(tmp_path: Path) -> None:
    with start_clickhouse(tmp_path / "data", password="all") as server:
        for password in ("", "all"):
            response = httpx.post(server.url, content="select 1", auth=("analyst", password))
            assert response.status_code == 403
