"""Player support: one player's numbers and what they did, by their user id."""

from grafana.dashboards.board import Board, Variable
from grafana.dashboards.panels import GREEN, RED, YELLOW, Panel, Thresholds
from grafana.dashboards.queries import Sql

MODELS = "models.md#marts"
# What is typed in is text: whatever is no number is nobody.
WHO = "user_id = toUInt64OrZero(${user_id:sqlstring})"


def _stat(title: str, metric: str, unit: str, thresholds: Thresholds | None = None) -> Panel:
    return Panel(
        title=title,
        kind="stat",
        unit=unit,
        metric=metric,
        queries=[
            Sql(
                f"""
                select {metric}
                from marts.user_stats
                where {WHO}
                """,
                "user_stats",
                "table",
            )
        ],
        runbook=MODELS,
        thresholds=thresholds or Thresholds(),
        width=4,
        height=4,
    )


BOARD = Board(
    uid="tally-support",
    title="Player support",
    description="One player. The numbers are those that the player sees, as of today in UTC.",
    period="30d",
    refresh="",
    variables=[
        Variable("user_id", "User id", "1000001", "The player. 1000001 is the simulator's first.")
    ],
    rows=[
        (
            "The player",
            [
                _stat("Games played", "total_games_played", "locale"),
                _stat("Win rate", "win_rate", "percentunit"),
                _stat("Active days, last 30", "last_30d_active_days", "none"),
                _stat("Active days, ever", "lifetime_active_days", "none"),
                _stat("Streak", "current_streak_days", "none"),
                Panel(
                    title="Gold balance",
                    kind="stat",
                    unit="locale",
                    metric="gold_balance",
                    queries=[
                        Sql(
                            f"""
                            select balance
                            from marts.gold_balances
                            where {WHO}
                            """,
                            "gold_balances",
                            "table",
                        )
                    ],
                    runbook="#negativegoldbalance",
                    thresholds=Thresholds(RED, ((0, GREEN),)),
                    width=4,
                    height=4,
                ),
            ],
        ),
        (
            "Day by day",
            [
                Panel(
                    title="Rounds a day",
                    kind="timeseries",
                    unit="locale",
                    metric="total_games_played",
                    about="By outcome.",
                    queries=[
                        Sql(
                            f"""
                            select
                                toDateTime(date, 'UTC') as time, wins,
                                losses, draws, no_outcome
                            from analytics.user_days
                            where {WHO} and $__dateFilter(date)
                            order by time
                            """,
                            "analytics_user_days",
                        )
                    ],
                    runbook=MODELS,
                    width=12,
                ),
                Panel(
                    title="By game",
                    kind="table",
                    unit="locale",
                    about="Settled rounds of the range; amounts in minor units of gold.",
                    queries=[
                        Sql(
                            f"""
                            select
                                game_type as game,
                                sum(played) as played,
                                sum(wins) as wins,
                                sum(losses) as losses,
                                sum(bet_amount) as bet,
                                sum(payout_amount) as payout,
                                sum(payout_amount) / nullIf(sum(bet_amount), 0) as rtp
                            from analytics.game_stats
                            where {WHO} and $__dateFilter(date)
                            group by game_type
                            order by played desc
                            """,
                            "game_stats",
                            "table",
                        )
                    ],
                    runbook=MODELS,
                    units={"rtp": "percentunit"},
                    width=12,
                ),
            ],
        ),
        (
            "One by one",
            [
                Panel(
                    title="Latest actions",
                    kind="table",
                    unit="none",
                    about="The 100 newest accepted events of the range, those of the system "
                    "included.",
                    queries=[
                        Sql(
                            f"""
                            select
                                ts, action_type, initiator, game_type,
                                round_state, bet, payout,
                                context
                            from analytics.events
                            where {WHO} and $__timeFilter(ts)
                            order by ts desc
                            limit 100
                            """,
                            "events",
                            "table",
                        )
                    ],
                    runbook="events.md",
                    width=24,
                    height=9,
                ),
                Panel(
                    title="Purchases",
                    kind="table",
                    unit="none",
                    about="Each by its latest state, with the reason where it failed.",
                    queries=[
                        Sql(
                            f"""
                            select
                                changed_at, item_id, state, amount,
                                reason, receipts
                            from marts.purchases
                            where {WHO} and $__timeFilter(changed_at)
                            order by changed_at desc
                            limit 100
                            """,
                            "purchases",
                            "table",
                        )
                    ],
                    runbook=MODELS,
                ),
                Panel(
                    title="Gold ledger",
                    kind="table",
                    unit="none",
                    about="What was granted or corrected, and the balance after it. Stakes and "
                    "payouts of rounds are not entries.",
                    queries=[
                        Sql(
                            f"""
                            select
                                occurred_at, reward_type, amount,
                                balance_after
                            from marts.gold_ledger
                            where {WHO} and $__timeFilter(occurred_at)
                            order by occurred_at desc
                            limit 100
                            """,
                            "gold_ledger",
                            "table",
                        )
                    ],
                    runbook="#negativegoldbalance",
                ),
                Panel(
                    title="Logins, failed and locked",
                    kind="table",
                    unit="none",
                    about="What happened when the player tried to come in.",
                    queries=[
                        Sql(
                            f"""
                            select ts, action_type, context
                            from analytics.events
                            where {WHO} and $__timeFilter(ts)
                                and action_type in ('LOGIN', 'LOGIN_FAILED', 'LOGIN_LOCKED')
                            order by ts desc
                            limit 100
                            """,
                            "events",
                            "table",
                        )
                    ],
                    runbook=MODELS,
                    thresholds=Thresholds(GREEN, ((1, YELLOW),)),
                ),
            ],
        ),
    ],
)
