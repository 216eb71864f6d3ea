"""What must be true of rounds, purchases and gold, whoever counts them."""

from expectations.suite import Suite, When, always, between

_SIGMAS = 6  # a table of many rows is looked at every 15 minutes: chance must not ring

SUITES = (
    Suite(
        "quality.recent_rounds",
        ("raw", "round_events"),
        When.REGULARLY,
        (
            between("bets_are_not_negative", "a bet is 0 or more", "bet", 0, blocking=True),
            between(
                "payouts_are_not_negative", "a payout is 0 or more", "payout", 0, blocking=True
            ),
            between("rounds_have_units", "a round has at least one unit", "units", 1),
            always(
                "declared_results_follow_the_stakes",
                "a declared result is what bet and payout say",
                "is_contradicted",
                value=False,
                blocking=True,
            ),
        ),
    ),
    Suite(
        "quality.game_returns",
        ("raw", "round_events"),
        When.REGULARLY,
        (
            between(
                "rtp_is_in_its_interval",
                "a week's return to player is within 6 standard errors of before, by game and "
                "config_version",
                "rtp_deviation",
                high=_SIGMAS,
            ),
            between(
                "outcomes_are_distributed_as_before",
                "a week's share of wins is within 6 standard errors of before",
                "win_share_deviation",
                high=_SIGMAS,
            ),
        ),
    ),
    Suite(
        "quality.receipts",
        ("raw", "events"),
        When.REGULARLY,
        (
            between(
                "a_receipt_pays_once", "one success per receipt", "successes", 0, 1, blocking=False
            ),
            between("a_receipt_has_one_buyer", "a receipt is of one user", "buyers", 1, 1),
            between("purchases_cost_something", "an amount is 0 or more", "least_amount", 0),
        ),
    ),
    Suite(
        "quality.gold_accounts",
        ("raw", "events"),
        When.REGULARLY,
        (between("no_balance_was_negative", "gold never falls below 0", "least_balance", 0),),
    ),
)
