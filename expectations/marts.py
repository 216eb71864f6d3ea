"""What a publication may bring, and what the marts must be among themselves."""

from expectations.suite import Expectation, Suite, When, always, between, columns, one_of, unique


def _amounts(prefix: str) -> tuple[Expectation, ...]:
    return tuple(
        between(
            f"{prefix}_{column}_is_not_negative",
            f"{column} is a sum of amounts that are 0 or more",
            column,
            0,
            blocking=True,
        )
        for column in ("bet_amount", "payout_amount")
    )


SUITES = (
    Suite(
        "quality.unpublished_user_days",
        ("marts", "user_days"),
        When.PUBLICATION,
        (
            unique(
                "user_days_are_unique",
                "a user has one row a day",
                "user_id",
                "active_date",
                blocking=True,
            ),
            between("user_days_have_events", "a day has an event", "events", 1, blocking=True),
            always(
                "user_days_rounds_add_up",
                "played = wins + losses + draws + no_outcome",
                "unaccounted_rounds",
                0,
                blocking=True,
            ),
            always(
                "login_days_are_active_days",
                "daily_login is a subset of all_actions",
                "is_login_without_activity",
                value=False,
                blocking=True,
            ),
            between(
                "no_day_is_of_the_future",
                "a day is at most tomorrow: clocks may be 5 minutes ahead",
                "days_ahead",
                high=1,
                blocking=True,
            ),
            *_amounts("user_days"),
            columns(
                "user_days_have_their_columns",
                "the mart keeps its columns",
                *("user_id", "active_date", "is_active", "has_daily_login", "events", "played"),
                *("wins", "losses", "draws", "no_outcome", "bet_amount", "payout_amount"),
                *("unaccounted_rounds", "is_login_without_activity", "days_ahead"),
            ),
        ),
    ),
    Suite(
        "quality.unpublished_user_game_days",
        ("marts", "user_game_days"),
        When.PUBLICATION,
        (
            unique(
                "user_game_days_are_unique",
                "a user has one row a day and game",
                *("user_id", "active_date", "game_type"),
                blocking=True,
            ),
            one_of(
                "user_game_days_are_of_known_games",
                "a game is slot, gacha, rps or crash",
                "game_type",
                ["slot", "gacha", "rps", "crash"],
                blocking=True,
            ),
            always(
                "user_game_days_rounds_add_up",
                "played = wins + losses + draws + no_outcome, by game",
                "unaccounted_rounds",
                0,
                blocking=True,
            ),
            always(
                "only_gacha_has_no_outcome",
                "a round has no outcome exactly where it is of gacha",
                "rounds_with_wrong_outcome",
                0,
                blocking=True,
            ),
            *_amounts("user_game_days"),
        ),
    ),
    Suite(
        "quality.orphans",
        ("marts", "user_game_days"),
        When.NIGHTLY,
        (
            always(
                "every_user_has_an_event",
                "a user of the marts is a user of raw",
                "users_without_event",
                0,
                blocking=True,
            ),
            always(
                "every_game_day_has_its_day",
                "a row by game belongs to a row by day",
                "games_without_day",
                0,
                blocking=True,
            ),
        ),
    ),
)
