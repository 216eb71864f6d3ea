"""The report as one HTML page that loads nothing: plots and the numbers under them."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any

from tally.report import svg
from tally.report.readings import COHORTS, WINDOW_DAYS, Readings, Row

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --card: #f6f7f9; --ink: #1c2430; --soft: #5b6675;
  --rule: #d9dee5; --c1: #2563a8; --c2: #b5530f; --c3: #23784a; --heat: 0; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --card: #1b212a; --ink: #e6eaf0;
  --soft: #9aa6b5; --rule: #333d4a; --c1: #6fa8e8; --c2: #eb9a5b; --c3: #6cc394; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 16px 48px; max-width: 1120px; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 0; }
p { margin: 4px 0 0; } .soft, figcaption, summary { color: var(--soft); font-size: .875rem; }
.tiles { display: grid; gap: 12px; margin: 20px 0;
  grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); }
.tile, section { background: var(--card); border-radius: 8px; padding: 14px 16px; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.plots { columns: 2 440px; column-gap: 16px; }
section { break-inside: avoid; margin-bottom: 16px; }
figure { margin: 10px 0 0; } svg { display: block; width: 100%; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: var(--soft); }
svg .mid { text-anchor: middle; } svg .end { text-anchor: end; } svg .number { fill: var(--ink); }
.grid { stroke: var(--rule); } .mark { stroke: var(--soft); stroke-dasharray: 4 4; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .hover { fill: transparent; }
.line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); } .line.c3 { stroke: var(--c3); }
.bar.c1, .dot.c1, svg text.c1 { fill: var(--c1); }
.bar.c2, .dot.c2, svg text.c2 { fill: var(--c2); }
.bar.c3, .dot.c3, svg text.c3 { fill: var(--c3); } svg .name { font-weight: 600; }
.cell { fill: color-mix(in srgb, var(--c1) calc(var(--heat) * 100%), var(--rule) 15%); }
details { margin-top: 8px; } .scroll { overflow-x: auto; max-height: 320px; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 14px 3px 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 600; }
"""

_NOTHING = "<p>No user was active yet, so there is nothing to plot.</p>"


def render(readings: Readings, title: str) -> str:
    """The page."""
    as_of = readings.as_of
    told = "no active user yet" if as_of is None else f"as of {as_of} (UTC)"
    sections = (_population, _retention, _games, _active_days, _ingestion)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="soft">{told}, made {_moment(readings.made_at)}. '
        "Every number is read from the models in the database <code>analytics</code>.</p>"
        f'{_tiles(readings)}<main class="plots">'
        f"{''.join(section(readings) for section in sections)}</main></body></html>\n"
    )


def _tiles(readings: Readings) -> str:
    if not readings.days:
        return ""
    # Today is not over.
    complete = [day for day in readings.days if day["date"] < readings.made_at.date()]
    if not complete:
        return ""
    day = complete[-1]
    tiles = [
        ("DAU", _number(day["dau"])),
        ("WAU", _number(day["wau"])),
        ("MAU", _number(day["mau"])),
        ("stickiness", _percent(day["stickiness"])),
        ("new users", _number(day["new_users"])),
        ("rounds", _number(day["rounds"])),
        ("RTP", _percent(day["rtp"])),
    ]
    shown = "".join(
        f'<div class="tile"><b>{value}</b><span class="soft">{name}</span></div>'
        for name, value in tiles
    )
    told = f'<p class="soft">On {day["date"]}, the last complete day:</p>'
    return f'{told}<div class="tiles">{shown}</div>'


def _population(readings: Readings) -> str:
    days = readings.days
    plot = svg.lines(
        [str(day["date"]) for day in days],
        [svg.Series(name.upper(), [day[name] for day in days]) for name in ("mau", "wau", "dau")],
        title="DAU, WAU and MAU by day",
    )
    return _section(
        "Active users",
        f"Users active on a day, and in the 7 and 30 days that end on it; {WINDOW_DAYS} days."
        + (" The last day is not over." if readings.as_of == readings.made_at.date() else ""),
        plot if days else _NOTHING,
        ["date", "dau", "wau", "mau", "stickiness", "new_users"],
        [
            [
                *(day[name] for name in ("date", "dau", "wau", "mau")),
                _percent(day["stickiness"]),
                day["new_users"],
            ]
            for day in reversed(days)
        ],
    )


def _retention(readings: Readings) -> str:
    by_cohort: dict[str, dict[int, Row]] = {}
    for row in readings.cohorts:
        by_cohort.setdefault(str(row["cohort_date"]), {})[row["day_n"]] = row
    shown = list(by_cohort)[-COHORTS:]
    days = range(1, 31)

    def share(row: Row | None) -> float | None:
        return None if row is None else row["retained"] / row["cohort_size"]

    def told(down: int, across: int) -> str:
        row = by_cohort[shown[down]][across + 1]
        return (
            f"{shown[down]}, day {across + 1}: {row['retained']:,} of {row['cohort_size']:,}, "
            f"{_percent(share(row))}"
        )

    plot = svg.heatmap(
        shown,
        [f"D{n}" for n in days],
        [[share(by_cohort[cohort].get(n)) for n in days] for cohort in shown],
        told,
        title="Retention by cohort and day",
    )
    totals = []
    for n in (1, 3, 7, 14, 30):
        rows = [cohort[n] for cohort in by_cohort.values() if n in cohort]
        size, retained = sum(r["cohort_size"] for r in rows), sum(r["retained"] for r in rows)
        if size:
            totals.append([f"D{n}", len(rows), size, retained, _percent(retained / size)])
    return _section(
        "Retention",
        "Of the users whose first active day is the row's date, the share active exactly N days "
        f"later; darker is more. The last {COHORTS} cohorts; days that are not over are empty.",
        plot if shown else _NOTHING,
        ["day", "cohorts", "users", "retained", "retention"],
        totals,
        open_table=True,
    )


def _games(readings: Readings) -> str:
    games = readings.games
    names = [game["game_type"] for game in games]
    returns = [game["payout"] / game["bet"] if game["bet"] else 0 for game in games]
    plots = (
        "<figcaption>Rounds played</figcaption>"
        + svg.ranked(
            names,
            [game["rounds"] for game in games],
            [_number(game["rounds"]) for game in games],
            title="Rounds by game",
        )
        + "<figcaption>RTP, payout / bet; the line is 100 %</figcaption>"
        + svg.ranked(
            names,
            returns,
            [_percent(r) if g["bet"] else "no bets" for r, g in zip(returns, games, strict=True)],
            title="RTP by game",
            mark=1,
            colour=2,
        )
    )
    return _section(
        "Games",
        "Settled rounds of the last 30 days, without demo rounds; amounts in minor units.",
        plots if games else _NOTHING,
        ["game", "rounds", "bet", "payout", "RTP"],
        [
            [g["game_type"], g["rounds"], g["bet"], g["payout"], _percent(r) if g["bet"] else "-"]
            for g, r in zip(games, returns, strict=True)
        ],
    )


def _active_days(readings: Readings) -> str:
    users = {row["active_days"]: row["users"] for row in readings.active_days}
    plot = svg.bars(
        [str(n) for n in range(1, 31)],
        [users.get(n, 0) for n in range(1, 31)],
        title="Users by active days",
    )
    return _section(
        "Active days",
        "Users by the number of days on which they were active, of the last 30.",
        plot if users else _NOTHING,
        ["active days", "users"],
        [[row["active_days"], row["users"]] for row in readings.active_days],
    )


def _ingestion(readings: Readings) -> str:
    stored, fresh = readings.stored, readings.freshness
    by_hour = {row["hour"]: row["accepted"] + row["dead"] for row in readings.stored_by_hour}
    hours = [max(by_hour) - timedelta(hours=n) for n in reversed(range(48))] if by_hour else []
    plot = svg.bars(
        [f"{hour:%d. %H:00}" for hour in hours],
        [by_hour.get(hour, 0) for hour in hours],
        title="Messages stored by hour",
    )
    messages = (stored["accepted"] or 0) + (stored["dead"] or 0)
    facts = [
        ["events accepted", _number(stored["accepted"] or 0)],
        ["messages refused (dead letters)", _number(stored["dead"] or 0)],
        ["share refused", _percent((stored["dead"] or 0) / messages if messages else None, 3)],
        ["messages lost before they were read", _number(stored["lost"] or 0)],
        ["messages that the marts have still to see", _number(stored["behind"] or 0)],
        ["newest message", _moment(fresh["watermark"])],
        [
            "its delay until stored",
            "-" if fresh["lag_seconds"] is None else f"{fresh['lag_seconds']:.1f} s",
        ],
        ["marts of", _moment(fresh["materialized_at"])],
        *(
            [f"dead letters: {row['reason']}", _number(row["messages"])]
            for row in readings.dead_letters
        ),
    ]
    return _section(
        "Ingestion",
        "Messages stored by the hour (UTC) of their arrival, 48 hours until the last one.",
        plot if hours else "<p>Nothing was stored yet.</p>",
        ["what", "now"],
        facts,
        open_table=True,
    )


def _section(
    heading: str,
    explained: str,
    plot: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    open_table: bool = False,
) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{_cell(v)}</td>' for v in row)}</tr>" for row in rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    table = (
        f"<details{' open' if open_table else ''}><summary>The numbers</summary>"
        f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div></details>'
        if body
        else ""
    )
    return (
        f"<section><h2>{escape(heading)}</h2>"
        f'<p class="soft">{escape(explained)}</p><figure>{plot}</figure>{table}</section>'
    )


def _cell(value: Any) -> str:
    return _number(value) if isinstance(value, int) else escape(str(value))


def _number(value: int) -> str:
    return f"{value:,}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value * 100:.{digits}f} %"


def _moment(value: datetime | None) -> str:
    return "-" if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"
