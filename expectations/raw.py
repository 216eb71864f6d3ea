"""What ingestion must have written."""

from expectations.suite import (
    Expectation,
    Suite,
    When,
    always,
    between,
    no_rows,
    not_null,
    one_of,
    unique,
)

_MAX_INTEGER = 2**53 - 1  # the event contract: what JSON numbers hold exactly
_DEAD_LETTER_REASONS = [
    *("tombstone", "too_large", "not_utf8", "not_json", "not_object", "schema"),
    *("future_timestamp", "too_old", "contradiction", "conflict", "refused", "erased_user"),
]
_DECLARATIONS = [
    "raw.events.event_id UUID",
    "raw.events.user_id UInt64",
    "raw.events.action_type LowCardinality(String)",
    "raw.events.occurred_at DateTime64(3, 'UTC')",
    "raw.events.bet Int64",
    "raw.events.payout Int64",
    "raw.arrivals.offset UInt64",
    "raw.arrivals.occurred_date Date",
    "raw.ingest_ledger.first_offset UInt64",
    "raw.ingest_ledger.last_offset UInt64",
    "published.user_days.date Date",
    "published.user_days.is_active Bool",
    "published.user_days.played UInt64",
    "published.user_days.payout_amount Int64",
    "published.user_game_days.game_type String",
]

SUITES = (
    Suite(
        "quality.recent_events",
        ("raw", "events"),
        When.REGULARLY,
        (
            unique("event_ids_are_unique", "an event counts once", "event_id", blocking=True),
            between(
                "user_ids_are_in_range",
                "a user id is 1 to 2^53 - 1",
                "user_id",
                1,
                _MAX_INTEGER,
                blocking=True,
            ),
            Expectation(
                "action_types_are_names",
                "an action type has 2 to 64 characters",
                "ExpectColumnValueLengthsToBeBetween",
                {"column": "action_type", "min_value": 2, "max_value": 64},
            ),
            one_of(
                "initiators_are_known",
                "an event is of the user or of the system",
                "initiator",
                ["user", "system"],
                blocking=True,
            ),
            one_of(
                "round_states_are_known",
                "a round is started, settled, cancelled or voided",
                "round_state",
                ["", "started", "settled", "cancelled", "voided"],
                blocking=True,
            ),
            one_of(
                "game_types_are_known",
                "a game is slot, gacha, rps or crash",
                "game_type",
                ["", "slot", "gacha", "rps", "crash"],
                blocking=True,
            ),
            between(
                "occurred_at_is_after_2014",
                "no event is older than 2015",
                "occurred_in",
                2015,
                blocking=True,
            ),
            between(
                "no_event_is_of_the_future",
                "an event is at most 5 minutes ahead of its arrival",
                "delay_seconds",
                -300,
                blocking=True,
            ),
            between(
                "contexts_are_small", "a context has at most 16 KiB", "context_bytes", 0, 16_384
            ),
            one_of("schema_versions_are_known", "there is one version", "schema_version", [1]),
            Expectation(
                "sources_are_short",
                "a source has 1 to 64 characters",
                "ExpectColumnValueLengthsToBeBetween",
                {"column": "source", "min_value": 1, "max_value": 64},
            ),
            always(
                "rounds_have_an_id",
                "an event of a game names its round",
                "is_round_without_id",
                value=False,
                blocking=True,
            ),
        ),
    ),
    Suite(
        "quality.stream_accounts",
        ("raw", "arrivals"),
        When.REGULARLY,
        (
            always(
                "no_arrival_is_missing",
                "what the ledger counts as accepted is readable",
                "missing_arrivals",
                0,
                blocking=True,
            ),
            always(
                "no_arrival_is_stored_twice",
                "an offset arrives once",
                "repeated_arrivals",
                0,
            ),
            always(
                "no_dead_letter_is_missing",
                "what the ledger counts as dead is a dead letter",
                "missing_dead_letters",
                0,
            ),
            always(
                "the_ledger_has_no_holes",
                "every offset is in one range of the ledger",
                "uncovered_offsets",
                0,
            ),
        ),
    ),
    Suite(
        "quality.replayed_events",
        ("raw", "events"),
        When.NIGHTLY,
        (
            between(
                "replays_are_idempotent",
                "an event that was delivered again counts once: 100 % of replays",
                "events",
                0,
                1,
                blocking=True,
            ),
        ),
    ),
    Suite(
        "quality.dead_letters",
        ("raw", "dead_letters"),
        When.REGULARLY,
        (
            one_of(
                "dead_letter_reasons_are_known",
                "a dead letter has a reason of the contract",
                "reason",
                _DEAD_LETTER_REASONS,
            ),
            always(
                "dead_letters_say_why", "a dead letter has a readable error", "without_error", 0
            ),
            between(
                "few_messages_are_dead_letters",
                "of a day's messages, at most a twentieth is dead for one reason",
                "share",
                0,
                0.05,
            ),
        ),
    ),
    Suite(
        "quality.hourly_volume",
        ("raw", "events"),
        When.REGULARLY,
        (
            between(
                "volume_is_near_its_baseline",
                "an hour brings 1/10 to 10 times the mean hour of its week",
                "share_of_baseline",
                0.1,
                10,
            ),
        ),
    ),
    Suite(
        "quality.delays",
        ("raw", "ingest_ledger"),
        When.REGULARLY,
        (
            between(
                "messages_are_readable_in_time",
                "a message is readable a minute after the broker has it",
                "ingest_delay_seconds",
                high=60,
            ),
            between(
                "marts_are_published_in_time",
                "what is readable is published within ten minutes",
                "publication_delay_seconds",
                high=600,
            ),
        ),
    ),
    Suite(
        "quality.column_types",
        ("raw", "events"),
        When.NIGHTLY,
        (
            Expectation(
                "columns_have_their_types",
                "what others read keeps its columns and their types",
                "ExpectColumnDistinctValuesToContainSet",
                {"column": "declaration", "value_set": _DECLARATIONS},
            ),
            not_null("columns_have_a_type", "every column has a type", "column_type"),
        ),
    ),
    Suite(
        "quality.logins_during_lockout",
        ("raw", "events"),
        When.REGULARLY,
        (no_rows("no_login_during_a_lockout", "a locked account does not log in"),),
    ),
)
