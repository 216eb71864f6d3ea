"""`tally report`: the page holds the models' numbers, loads nothing and survives having nothing."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tally.errors import TallyError
from tally.report import svg
from tests.analysts.conftest import Report, run_report
from tests.platform import Platform
from tests.servers import start_clickhouse

# Several runs of dbt come before the first of these tests.
pytestmark = pytest.mark.timeout(600)

SECTIONS = ["Active users", "Retention", "Games", "Active days", "Ingestion"]


class Page(HTMLParser):
    """The tables and headings of a page, and every tag that is open at its end."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.headings: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "h2":
            self.headings.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed where it is opened."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        elif self.open and self.open[-1] == "h2":
            self.headings[-1] += data


@pytest.fixture(scope="session")
def text(world: Platform, report: Report) -> str:
    return report()


def test_the_page_refers_to_nothing_outside(text: str) -> None:
    page = Page(text)
    assert page.links == []
    assert page.open == []
    assert not re.search(r"https?:|url\(|@import|<script|<link|<iframe", text)


def test_the_numbers_are_those_of_the_models(world: Platform, text: str) -> None:
    page = Page(text)
    assert page.headings == SECTIONS
    days, retention, games, active_days, ingestion = page.tables

    def rows(query: str) -> list[list[str]]:
        answer = world.client.query(query).result_rows
        return [[f"{v:,}" if isinstance(v, int) else str(v) for v in row] for row in answer]

    assert [row[:4] for row in days[1:]] == rows(
        "select date, dau, wau, mau from analytics.daily_metrics order by date desc"
    )
    assert [row[:4] for row in retention[1:]] == rows(
        "select concat('D', toString(day_n)), toInt64(count()), toInt64(sum(cohort_size)),"
        " toInt64(sum(retained)) from analytics.retention where day_n in (1, 3, 7, 14, 30)"
        " group by day_n order by day_n"
    )
    assert [row[:4] for row in games[1:]] == rows(
        "select game_type, sum(played) as rounds, sum(bet_amount), sum(payout_amount)"
        " from analytics.game_stats where date > today() - 30 group by game_type"
        " order by rounds desc"
    )
    assert active_days[1:] == rows(
        "select last_30d_active_days as n, count() from analytics.user_stats where n > 0"
        " group by n order by n"
    )
    accepted = world.client.command("select count() from raw.arrivals")
    assert ["events accepted", f"{accepted:,}"] in ingestion


def test_a_past_date_ends_every_window(world: Platform, report: Report) -> None:
    as_of = datetime.now(UTC).date() - timedelta(days=10)
    days, retention, *_ = Page(report("--as-of", str(as_of))).tables
    assert days[1][0] == str(as_of)
    assert "D30" not in [row[0] for row in retention]


def test_a_title_is_text_whatever_it_holds(world: Platform, report: Report) -> None:
    title = "Señor <script>alert('通')</script> & 🎰"
    text = report("--title", title)
    assert "Señor &lt;script&gt;" in text
    assert "🎰" in text
    assert "<script" not in text


def test_an_empty_warehouse_is_told_and_not_plotted(empty_page: str) -> None:
    page = Page(empty_page)
    assert page.headings == SECTIONS
    assert page.open == []
    assert "No user was active yet" in empty_page
    assert "<svg" not in empty_page


def test_a_warehouse_without_models_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    with (
        start_clickhouse(tmp_path / "data") as server,
        pytest.raises(TallyError, match="tally prepare"),
    ):
        run_report(server.url, tmp_path / "report.html")


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (0, [0, 1]),
        (1, [0, 0.25, 0.5, 0.75, 1]),
        (7, [0, 2, 4, 6, 8]),
        (100, [0, 25, 50, 75, 100]),
        (101, [0, 50, 100, 150]),
        (1_234_567, [0, 500_000, 1_000_000, 1_500_000]),
    ],
)
def test_an_axis_has_round_steps_that_reach_the_highest_value(
    highest: float, ticks: list[float]
) -> None:
    assert svg.nice_ticks(highest) == ticks


def test_labels_are_text_and_one_point_is_seen() -> None:
    plot = svg.lines(["<2026>"], [svg.Series("a & ñ", [3]), svg.Series("b", [None])], title='"')
    assert "&lt;2026&gt;: a &amp; ñ 3" in plot
    assert "<circle" in plot
    assert 'aria-label="&quot;"' in plot
