"""Cards, explanations, histories and recent actions over a real warehouse."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest

from serving_api.stats.explanations import ROUNDS
from tally.tokens import Role
from tests.integration.api.serving import Client, serving
from tests.platform import Platform, action

NewUser = Callable[[], int]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLAYERS = (Role.STANDARD, Role.PREMIUM, Role.VIP)


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Client]:
    with serving(platform.settings, lambda: NOON) as client:
        yield client


def get(api: Client, user: int, path: str, role: Role = Role.STANDARD) -> httpx.Response:
    """The warehouse's answer; on a busy machine it may take longer than one request waits."""
    limit = time.monotonic() + 60
    while True:
        headers = {**api.as_user(user, role), "Cache-Control": "no-cache"}
        response = api.get(path, headers=headers)
        if response.status_code != 503 and '"status":"stale"' not in response.text:
            return response
        assert time.monotonic() < limit, response.text


def a_life(user: int) -> list[dict]:
    """Wins, losses, a draw, a voided round, a gacha spin, logins, levels and gold."""

    def spin(day: int, nth: str, bet: int, payout: int, **more: object) -> dict:
        at = f"2026-11-{day:02}T10:00:00Z"
        rest = {"round_id": f"{user}-{nth}", "bet": bet, "payout": payout, **more}
        return action(user, "SLOT_SPIN", at, **rest)

    return [
        spin(1, "a", 10, 20),
        spin(1, "b", 10, 0),
        spin(18, "c", 10, 10),
        spin(20, "d", 10, 50),
        action(user, "SLOT_SPIN", "2026-11-21T00:00:00Z", round_id=f"{user}-d", state="voided"),
        action(user, "GACHA_SPIN", "2026-11-20T01:00:00Z", round_id=f"{user}-e", bet=7, payout=0),
        *(action(user, "DAILY_LOGIN", f"2026-11-{d}T00:00:00Z") for d in (15, 19, 20, 21)),
        action(user, "LOGIN_FAILED", "2026-11-22T00:00:00Z", reason="password"),
        action(user, "LEVEL_UP", "2026-11-02T10:00:00Z", level=2),
        action(user, "LEVEL_UP", "2026-11-19T10:00:00Z", level=3),
        reward(user, "2026-11-19T11:00:00Z", 500),
        reward(user, "2026-11-19T10:59:59Z", 400),
    ]


def reward(user: int, at: str, balance: int) -> dict:
    more = {"reward_type": "daily", "amount": 100, "balance_after": balance}
    return action(user, "REWARD_GRANTED", at, **more)


@pytest.fixture(scope="module", params=["arrived", "materialized"])
def lived(platform: Platform, api: Client, request: pytest.FixtureRequest) -> int:
    """A user who did all of it, before and after a materialization."""
    user = 900_001 if request.param == "arrived" else 900_002
    platform.store(a_life(user))
    if request.param == "materialized":
        platform.materialize()
    return user


def test_the_card_shows_the_latest_level_and_balance_and_the_statistics(
    api: Client, lived: int
) -> None:
    stats = get(api, lived, "/api/users/stats").json()
    card = get(api, lived, "/api/auth/profile", Role.VIP).json()
    for answer in (stats, card["stats"]):
        for freshness in ("watermark", "lag_seconds", "materialized_at"):
            answer["meta"].pop(freshness)
    assert card.pop("stats") == stats
    assert card == {
        "user_id": lived,
        "role": "VIP",
        "level": 3,
        "gold_balance": 500,
        "current_streak_days": 3,
    }
    old = get(api, lived, "/api/users/profile", Role.VIP)
    assert old.json()["gold_balance"] == 500
    assert "deprecation" in old.headers


def test_the_public_card_masks_what_is_private(api: Client, lived: int, new_user: NewUser) -> None:
    for reader in (lived, new_user()):
        card = get(api, reader, f"/api/users/{lived}").json()
        assert card == {
            "user_id": lived,
            "level": 3,
            "current_streak_days": 3,
            "lifetime_active_days": 7,
            "total_games_played": 4,
            "total_wins": 1,
            "win_rate": 0.5,
            "gold_balance": 0,
            "bet_amount": 0,
            "payout_amount": 0,
            "masked": ["gold_balance", "bet_amount", "payout_amount"],
        }


def test_a_user_without_events_has_cards_too(api: Client, new_user: NewUser) -> None:
    user = new_user()
    card = get(api, user, "/api/auth/profile").json()
    assert (card["level"], card["gold_balance"]) == (None, None)
    assert get(api, user, f"/api/users/{user}").json()["total_games_played"] == 0
    assert get(api, user, "/api/users/stats/history").json()["days"] == []


def test_me_is_what_the_token_says(api: Client) -> None:
    me = get(api, 42, "/api/auth/me", Role.PREMIUM).json()
    assert (me["subject"], me["user_id"], me["role"]) == ("42", 42, "PREMIUM")
    lifetime = datetime.fromisoformat(me["expires_at"]) - datetime.fromisoformat(me["issued_at"])
    assert lifetime.total_seconds() == 3600
    assert get(api, 42, "/api/auth/me", Role.ANALYST).json()["user_id"] is None


@pytest.mark.parametrize("definition", ["all_actions", "daily_login"])
@pytest.mark.parametrize("as_of", ["2026-11-22", "2026-11-20", "2026-11-01", "2014-01-01"])
def test_every_number_is_explained_by_what_it_is_made_of(
    api: Client, lived: int, definition: str, as_of: str
) -> None:
    query = f"definition={definition}&as_of={as_of}"
    stats = get(api, lived, f"/api/users/stats?{query}").json()
    fields = [name for name in stats if name not in ("user_id", "meta")]
    for field in fields:
        why = get(api, lived, f"/api/users/stats/explain?{query}&field={field}").json()
        assert why["value"] == stats[field], field
        if field in ROUNDS:
            assert why["dates"] is None
            if field != "win_rate":
                (column,) = ROUNDS[field]
                assert sum(day[column] for day in why["rounds"]) == stats[field]
        elif field.endswith("_days"):
            assert len(set(why["dates"])) == stats[field]
            assert all(day <= as_of for day in why["dates"])


def test_history_is_the_days_of_the_range_and_adds_up(api: Client, lived: int) -> None:
    answer = get(api, lived, "/api/users/stats/history?from=2026-11-01&to=2026-11-22").json()
    days = {day["date"]: day for day in answer["days"]}
    assert (answer["from"], answer["to"], answer["timezone"]) == ("2026-11-01", "2026-11-22", "UTC")
    assert list(days) == sorted(days)
    assert len(days) == 8
    assert days["2026-11-20"]["played"] == 1, "the voided round is out, the gacha spin is in"
    assert (days["2026-11-22"]["events"], days["2026-11-22"]["is_active"]) == (1, False)
    short = get(api, lived, "/api/users/stats/history?from=2026-11-19&to=2026-11-20").json()
    assert [day["date"] for day in short["days"]] == ["2026-11-19", "2026-11-20"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=2025-11-22&to=2026-11-22", 200),
        ("from=2025-11-21&to=2026-11-22", 422),
        ("from=2026-11-22&to=2026-11-21", 422),
        ("to=2026-11-23", 422),
        ("to=0001-01-01", 200),
        ("from=x", 422),
    ],
)
def test_a_history_has_1_to_366_dates_none_in_the_future(
    api: Client, lived: int, query: str, status: int
) -> None:
    assert get(api, lived, f"/api/users/stats/history?{query}").status_code == status


def test_recent_actions_are_newest_first_and_each_once(
    api: Client, platform: Platform, new_user: NewUser
) -> None:
    user = new_user()
    events = [action(user, "LOGIN", f"2026-11-{d:02}T00:00:00Z", method="x") for d in range(1, 9)]
    platform.store(events)
    platform.store(events)
    found = get(api, user, f"/api/actions/recent/{user}?limit=5").json()["actions"]
    assert [each["occurred_at"][8:10] for each in found] == ["08", "07", "06", "05", "04"]
    assert found[0]["context"] == {"method": "x"}
    everything = get(api, user, f"/api/actions/recent/{user}").json()["actions"]
    assert [each["event_id"] for each in everything] == [e["event_id"] for e in reversed(events)]
    assert get(api, user, f"/api/actions/recent/{user + 1}").status_code == 403
    assert get(api, 5, f"/api/actions/recent/{user}", Role.ANALYST).json()["actions"] == everything


def test_every_role_of_a_player_gets_the_same_statistics(api: Client, lived: int) -> None:
    paths = [
        f"/api/users/stats?include=by_game&definition={definition}"
        for definition in ("all_actions", "daily_login")
    ] + ["/api/users/stats/explain?field=bet_amount", "/api/users/stats/history"]
    for path in paths:
        answers = [get(api, lived, path, role).json() for role in PLAYERS]
        for answer in answers:
            for freshness in ("watermark", "lag_seconds", "materialized_at"):
                answer.get("meta", {}).pop(freshness, None)
        assert answers[0] == answers[1] == answers[2]


INJECTIONS = [
    "'",
    "''",
    '"',
    "`",
    ";",
    "--",
    "/*",
    "\\",
    "%00",
    "' or '1'='1",
    "') or ('1'='1",
    "1 or 1=1",
    "1; drop table raw.events",
    "'; truncate table raw.events; --",
    "' union all select * from system.users --",
    "1) union all select 1,2,3 --",
    "{user_ids:Array(UInt64)}",
    "{as_of:Date}",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "[1,2,3]",
    "array(1,2)",
    "(select 1)",
    "toDate('2026-01-01')",
    "2026-01-01' settings max_threads=1 --",
    "2026-01-01') format Native --",
    "all_actions' or 1 --",
    "by_game,(select 1)",
    "\n select 1",
    "\r\nX-Injected: 1",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "\u2019 or 1",
    "\U0001f600",
    "9" * 400,
    "null",
    "-1e309",
]
PARAMETERS = [
    ("/api/users/stats", "definition"),
    ("/api/users/stats", "as_of"),
    ("/api/users/stats", "include"),
    ("/api/users/stats", "after"),
    ("/api/users/stats/explain", "field"),
    ("/api/users/stats/explain?field=total_wins", "definition"),
    ("/api/users/stats/explain?field=total_wins", "as_of"),
    ("/api/users/stats/history", "from"),
    ("/api/users/stats/history", "to"),
    ("/api/actions/recent/42", "limit"),
]


def test_injected_text_is_inert_in_every_parameter(
    api: Client, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(INJECTIONS) >= 30
    count = "select count() from raw.events"
    before = platform.client.query(count).result_rows
    headers = api.as_user(42)
    for text in INJECTIONS:
        for path, name in PARAMETERS:
            base = httpx.URL(path)
            response = api.get(base.copy_add_param(name, text), headers=headers)
            assert response.status_code == 422, (path, name, text, response.text)
            assert "x-injected" not in response.headers
        for path in ("/api/users/{}", "/api/actions/recent/{}"):
            response = api.get(path.format(quote(text, safe="")), headers=headers)
            assert response.status_code in (404, 422), (path, text, response.text)
    assert platform.client.query(count).result_rows == before
