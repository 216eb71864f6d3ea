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

    client = code_location.platform.client
    sessions = identity("sessions")
    client.command("drop view marts.lockouts")
    prepare()
    assert identity("sessions") == sessions
    assert client.query("select count() from marts.lockouts").result_rows

    client.command("drop table marts.sessions")
    prepare()
    assert identity("sessions") != sessions
    assert client.query("select count() from analytics.sessions").result_rows
