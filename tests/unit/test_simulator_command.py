"""What `tally simulate` makes of its options."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from simulator.commands import simulate
from tally.errors import TallyError

SMALL = ("--users", "8", "--days", "6", "--seed", "3")


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(simulate, [*arguments, "--home", str(folder / "home")])


def written(folder: Path, *arguments: str) -> bytes:
    result = run(folder, *arguments, "--out", str(folder / "out.jsonl"))
    assert result.exit_code == 0, result.output
    return (folder / "out.jsonl").read_bytes()


def test_the_same_seed_writes_the_same_bytes_with_faults_too(tmp_path: Path) -> None:
    first = written(tmp_path, *SMALL, "--faults", "chaos")
    assert first == written(tmp_path, *SMALL, "--faults", "chaos")
    assert first != written(tmp_path, *SMALL)


def test_until_now_ends_now_with_as_many_days_as_asked(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    lines = written(tmp_path, "--users", "60", "--days", "6", "--until", "now").splitlines()
    times = [datetime.fromisoformat(json.loads(line)["occurred_at"]) for line in lines]
    assert max(times) <= datetime.now(UTC)
    assert min(times).date() >= before.date() - timedelta(days=5)
    assert max(times).date() - min(times).date() >= timedelta(days=4)


def test_the_truth_is_a_line_a_player_of_the_last_day_or_of_the_date_asked_for(
    tmp_path: Path,
) -> None:
    truth = tmp_path / "truth.jsonl"
    written(tmp_path, *SMALL, "--truth", str(truth))
    answers = [json.loads(line) for line in truth.read_bytes().splitlines()]
    assert [answer["user_id"] for answer in answers] == list(range(1_000_001, 1_000_009))
    assert {answer["as_of"] for answer in answers} == {"2025-01-06"}
    written(tmp_path, *SMALL, "--truth", str(truth), "--as-of", "2025-01-03")
    earlier = [json.loads(line) for line in truth.read_bytes().splitlines()]
    assert {answer["as_of"] for answer in earlier} == {"2025-01-03"}
    assert sum(a["total_games_played"] for a in earlier) < sum(
        a["total_games_played"] for a in answers
    )


def test_days_that_have_not_come_are_not_sent(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    result = run(tmp_path, *SMALL, "--start", today.isoformat())
    assert isinstance(result.exception, TallyError)
    assert "have not come yet" in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [("--rate", "5", "--as-fast-as-possible"), ("--live", "--scenario", "one_day_journey")],
)
def test_options_that_exclude_each_other_are_refused(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert run(tmp_path, *arguments).exit_code == 2


def test_a_scenario_is_lived_on_the_day_asked_for(tmp_path: Path) -> None:
    lines = written(tmp_path, "--scenario", "one_day_journey", "--start", "2024-02-29")
    days = {json.loads(line)["occurred_at"][:10] for line in lines.splitlines()}
    assert days == {date(2024, 2, 29).isoformat()}
