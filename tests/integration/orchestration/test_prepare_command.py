"""`tally prepare`, which every start of a stack runs."""

from click.testing import CliRunner

from tally.cli import tally
from tests.integration.orchestration.conftest import CodeLocation


def test_what_is_missing_is_made_and_a_nightly_table_that_is_there_is_not_made_again(
    code_location: CodeLocation,
) -> None:
    def identity(table: str) -> str:
        return str(
            code_location.value(
                f"select any(uuid) from system.tables where database = 'marts' and name = '{table}'"
            )
        )

    def prepare() -> None:
        told = CliRunner().invoke(tally, ["prepare"])
        assert told.exit_code == 0, told.exception

    def rows(query: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in code_location.platform.client.query(query).result_rows]

    client = code_location.platform.client
    sessions = identity("sessions")
    lockouts = rows("select * from marts.lockouts order by all")
    client.command("drop view marts.lockouts")
    prepare()
    assert identity("sessions") == sessions
    assert rows("select * from marts.lockouts order by all") == lockouts

    client.command("drop table marts.sessions")
    prepare()
    assert identity("sessions") != sessions
    # Other tests may have left events: the table that was made again is of all of them.
    assert rows("select distinct user_id from analytics.sessions order by user_id") == rows(
        "select distinct user_id from raw.events where initiator = 'user' order by user_id"
    )
