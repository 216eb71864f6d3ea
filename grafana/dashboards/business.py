"""Business: how many players there are, whether they come back, what they play and buy."""

from grafana.dashboards.board import Board
from grafana.dashboards.panels import GREEN, PLAIN, RED, YELLOW, Panel, Thresholds
from grafana.dashboards.queries import Sql

MODELS = "models.md#marts"
RETENTION_DAYS = range(1, 31)

# Each cohort's share, a column a day: the heatmap draws a column of the frame as a row of cells.
_COHORTS = (
    "select\n    toDateTime(cohort_date, 'UTC') as time,\n"
    + ",\n".join(f'    maxIf(retention, day_n = {day}) as "{day}"' for day in RETENTION_DAYS)
    + "\nfrom marts.retention\nwhere $__dateFilter(cohort_date)"
    + "\ngroup by cohort_date\norder by time"
)


def _daily(columns: str) -> Sql:
    """Columns of `daily_metrics` on the complete days."""
    return Sql(
        f"""
        select toDateTime(date, 'UTC') as time, {columns}
        from marts.daily_metrics
        where $__dateFilter(date) and date < today()
        order by time
        """,
        "daily_metrics",
    )


def _retained(day: int) -> Panel:
    return Panel(
        title=f"D{day} retention",
        kind="stat",
        unit="percentunit",
        metric="retention",
        about=f"Here N is {day}, over all cohorts of the range.",
        queries=[
            Sql(
                f"""
                select sum(retained) / sum(cohort_size) as retention
                from marts.retention
                where $__dateFilter(cohort_date) and day_n = {day}
                """,
                "retention",
                "table",
            )
        ],
        runbook=MODELS,
        thresholds=Thresholds(RED, ((0.05, YELLOW), (0.1, GREEN))),
        width=4,
        height=4,
    )


def _yesterday(metric: str, title: str, unit: str) -> Panel:
    return Panel(
        title=title,
        kind="stat",
        unit=unit,
        metric=metric,
        about="Of yesterday in UTC, the last complete day.",
        queries=[
            Sql(
                f"""
                select {metric}
                from marts.daily_metrics
                where date = yesterday()
                """,
                "daily_metrics",
                "table",
            )
        ],
        runbook=MODELS,
        width=4,
        height=4,
    )


BOARD = Board(
    uid="tally-business",
    title="Business",
    description="Players, retention, games and purchases, in complete UTC days.",
    period="45d",
    refresh="5m",
    rows=[
        (
            "Players",
            [
                _yesterday("dau", "DAU", "locale"),
                _yesterday("wau", "WAU", "locale"),
                _yesterday("mau", "MAU", "locale"),
                _retained(1),
                _retained(7),
                _retained(30),
                Panel(
                    title="DAU, WAU and MAU",
                    kind="timeseries",
                    unit="locale",
                    metric="dau",
                    about="WAU and MAU are distinct users of 7 and of 30 dates, and no sums of "
                    "DAU.",
                    queries=[_daily("dau, wau, mau")],
                    runbook=MODELS,
                ),
                Panel(
                    title="Stickiness",
                    kind="timeseries",
                    unit="percentunit",
                    metric="stickiness",
                    queries=[_daily("stickiness")],
                    runbook=MODELS,
                ),
                Panel(
                    title="New and returning players",
                    kind="timeseries",
                    unit="locale",
                    metric="new_users",
                    about="Returning: active before that day, too.",
                    queries=[_daily("new_users, returning_users")],
                    runbook=MODELS,
                ),
                Panel(
                    title="Retention by cohort",
                    kind="heatmap",
                    unit="percentunit",
                    metric="retention",
                    about="A column is a cohort, a row is N.",
                    queries=[Sql(_COHORTS, "retention")],
                    runbook=MODELS,
                    width=16,
                    height=10,
                ),
                Panel(
                    title="From sign-up to purchase",
                    kind="bars",
                    unit="locale",
                    about="Of the users who signed up in the range, those who went on to log in, "
                    "to play a round and to buy something, whenever they did. A user signs "
                    "up once, so the dates add up.",
                    queries=[
                        Sql(
                            """
                            select
                                sum(signed_up) as "signed up",
                                sum(logged_in) as "logged in",
                                sum(played) as "played a round",
                                sum(purchased) as "purchased"
                            from marts.journey_funnel
                            where $__dateFilter(date)
                            """,
                            "journey_funnel",
                            "table",
                        )
                    ],
                    runbook=MODELS,
                    height=10,
                ),
            ],
        ),
        (
            "Games",
            [
                Panel(
                    title="Rounds",
                    kind="timeseries",
                    unit="locale",
                    metric="total_games_played",
                    about="All players together, by the day they were settled on.",
                    queries=[_daily("rounds")],
                    runbook=MODELS,
                ),
                Panel(
                    title="RTP by game",
                    kind="timeseries",
                    unit="percentunit",
                    metric="rtp",
                    queries=[
                        Sql(
                            """
                            select
                                toDateTime(date, 'UTC') as time,
                                game_type,
                                sum(payout_amount) / sum(bet_amount) as rtp
                            from marts.daily_game_metrics
                            where $__dateFilter(date) and date < today() and bet_amount > 0
                            group by time, game_type
                            order by time, game_type
                            """,
                            "daily_game_metrics",
                        )
                    ],
                    runbook="quality.md#the-matrix",
                    thresholds=Thresholds(GREEN, ((1.2, YELLOW), (1.5, RED))),
                ),
                Panel(
                    title="GGR by game",
                    kind="timeseries",
                    unit="locale",
                    metric="ggr",
                    about="In minor units of gold.",
                    queries=[
                        Sql(
                            """
                            select
                                toDateTime(date, 'UTC') as time,
                                game_type, sum(ggr) as ggr
                            from marts.daily_game_metrics
                            where $__dateFilter(date) and date < today()
                            group by time, game_type
                            order by time, game_type
                            """,
                            "daily_game_metrics",
                        )
                    ],
                    runbook=MODELS,
                ),
            ],
        ),
        (
            "Purchases",
            [
                Panel(
                    title="Purchase success rate",
                    kind="timeseries",
                    unit="percentunit",
                    metric="purchase_success_rate",
                    queries=[
                        Sql(
                            """
                            select hour as time, success_rate
                            from marts.hourly_purchases
                            where $__timeFilter(hour) and succeeded + failed > 0
                            order by time
                            """,
                            "hourly_purchases",
                        )
                    ],
                    runbook=MODELS,
                    thresholds=Thresholds.below(0.8, 0.95),
                ),
                Panel(
                    title="Purchases by outcome",
                    kind="timeseries",
                    unit="locale",
                    metric="succeeded_purchases",
                    about="Beside them the failed and the pending ones, by UTC day.",
                    queries=[
                        Sql(
                            """
                            select
                                toStartOfDay(hour, 'UTC') as time,
                                sum(succeeded) as succeeded,
                                sum(failed) as failed,
                                sum(pending) as pending
                            from marts.hourly_purchases
                            where $__timeFilter(hour)
                            group by time
                            order by time
                            """,
                            "hourly_purchases",
                        )
                    ],
                    runbook=MODELS,
                ),
                Panel(
                    title="What was bought",
                    kind="table",
                    unit="locale",
                    about="Purchases opened in the range, by item; the amount is that of the "
                    "succeeded ones, in minor units of gold.",
                    queries=[
                        Sql(
                            """
                            select
                                item_id as item,
                                sum(opened) as opened,
                                sum(succeeded) as succeeded,
                                sum(failed) as failed,
                                sum(amount) as amount,
                                succeeded / nullIf(succeeded + failed, 0) as rate
                            from marts.purchase_funnel
                            where $__dateFilter(date)
                            group by item_id
                            order by amount desc
                            limit 50
                            """,
                            "purchase_funnel",
                            "table",
                        )
                    ],
                    runbook=MODELS,
                    units={"rate": "percentunit"},
                    thresholds=PLAIN,
                ),
            ],
        ),
    ],
)
