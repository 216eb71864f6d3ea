"""A metric is defined once, in dbt's YAML, and everything else follows from there."""

import itertools
import shutil
from pathlib import Path

import duckdb
import pytest

from serving_api.stats.schemas import USER_METRICS, UserStats
from tally.errors import TallyError
from tally.generated import settle
from tally.metrics import metrics, registry
from tally.metrics.generate import files
from tally.metrics.project import MetricProject
from tally.metrics.registry import DBT_PROJECT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the definitions to change."""
    copy = tmp_path / "dbt_project"
    shutil.copytree(DBT_PROJECT / "models" / "metrics", copy / "models" / "metrics")
    return copy


def edit(project: Path, name: str, old: str, new: str) -> None:
    path = project / "models" / "metrics" / name
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} is not one place of {name}"
    path.write_text(text.replace(old, new))


def changed_lines(project: Path, name: str) -> set[str]:
    """The lines of a generated file that are in none of the committed one."""
    (wanted,) = (text for path, text in files(project).items() if path.name == name)
    (committed,) = (text for path, text in files().items() if path.name == name)
    return {line.strip() for line in wanted.splitlines()} - {
        line.strip() for line in committed.splitlines()
    }


def test_the_generated_files_are_what_the_definitions_say(capsys: pytest.CaptureFixture) -> None:
    assert settle(files(), check=True) == 0, capsys.readouterr().out


def test_a_window_is_changed_in_one_place_and_sql_and_words_follow(project: Path) -> None:
    edit(project, "activity.yml", "window: 30 days", "window: 28 days")
    assert changed_lines(project, "registry.sql") == {"'last_30d': 28,"}
    words = "\n".join(changed_lines(project, "registry.json"))
    assert "[D - 27, D]" in words
    assert "the 28 UTC dates" in words
    assert "[D - 27, D]" in "\n".join(changed_lines(project, "metrics.md"))


def test_what_makes_a_day_active_is_changed_in_one_place(project: Path) -> None:
    old = "event: action_type = 'DAILY_LOGIN'"
    edit(project, "_semantic_models.yml", old, "event: action_type = 'LOGIN'")
    assert changed_lines(project, "registry.sql") == {
        """'has_daily_login': "action_type = 'LOGIN'","""
    }


def test_a_ratio_is_changed_in_one_place(project: Path) -> None:
    edit(
        project,
        "games.yml",
        "nullif(total_wins + total_losses, 0)",
        "nullif(total_wins + total_losses + total_draws, 0)",
    )
    edit(
        project,
        "games.yml",
        "metrics: [total_wins, total_losses]",
        "metrics: [total_wins, total_losses, total_draws]",
    )
    (expression,) = (x for x in changed_lines(project, "registry.sql") if x.startswith("cast("))
    assert expression.endswith("{{ total_losses }} + {{ total_draws }}, 0)")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("activity.yml", "window: 7 days", "window: 1 week", "1 week"),
        ("games.yml", "unit: rounds", "unit: rounds\n        units: rounds", "units"),
        ("games.yml", "formula: 1 - RTP", "additivity: sometimes", "sometimes"),
    ],
)
def test_a_definition_that_is_not_well_formed_is_refused(
    project: Path, name: str, old: str, new: str, said: str
) -> None:
    edit(project, name, old, new)
    with pytest.raises(TallyError, match=said):
        MetricProject(project).registry()


def test_every_settled_round_has_exactly_one_outcome() -> None:
    """The cases exclude each other and leave none out, so their order does not matter."""
    outcomes = {
        definition.meta.outcome.name: definition.meta.outcome.when
        for definition in MetricProject().definitions.values()
        if definition.meta.outcome is not None
    }
    assert set(outcomes) == {"win", "loss", "draw", "none"}
    amounts = (0, 1, 9, 10, 11, 2**53 - 1)
    rounds = [
        f"('{game}', {bet}::bigint, {payout}::bigint)"
        for game, bet, payout in itertools.product(("slot", "gacha"), amounts, amounts)
    ]
    counted = " + ".join(f"cast({when} as integer)" for when in outcomes.values())
    found = duckdb.sql(
        f"select distinct {counted} from (values {', '.join(rounds)}) as r (game_type, bet, payout)"
    ).fetchall()
    assert found == [(1,)]


def test_every_number_of_the_stats_answer_is_a_metric_of_the_registry() -> None:
    assert set(UserStats.model_fields) - set(USER_METRICS) == {
        *("user_id", "by_game", "definitions", "meta"),
    }


def test_every_description_says_utc_and_which_active_day_definition_applies() -> None:
    for name, metric in metrics().items():
        assert "UTC" in metric.description, name
        assert "active-day definition" in metric.description or any(
            f"`{definition}`" in metric.description for definition in registry().active_days
        ), name


def test_distinct_counts_and_ratios_are_not_additive() -> None:
    additive = {name for name, metric in metrics().items() if metric.additivity == "additive"}
    assert additive.isdisjoint({"dau", "wau", "mau", "stickiness", "win_rate", "rtp", "hold"})
    assert additive.isdisjoint(name for name in metrics() if name.endswith("_days"))
    assert {"total_games_played", "bet_amount", "ggr"} <= additive


def test_a_stale_file_is_shown_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale, gone, current = (tmp_path / name for name in ("stale", "gone", "current"))
    for path in (stale, gone, current):
        path.write_text("as it was\n")
    wanted = {stale: "as it is\n", gone: None, current: "as it was\n"}
    assert settle(wanted, check=True) == 1
    told = capsys.readouterr()
    assert "-as it was\n+as it is" in told.out
    assert "current as" not in told.out
    assert "2 generated files are not current" in told.err
    assert settle(wanted, check=False) == 0
    assert (stale.read_text(), gone.exists()) == ("as it is\n", False)
    assert settle(wanted, check=True) == 0
