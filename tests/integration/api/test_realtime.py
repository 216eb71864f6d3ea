"""Sockets and streams over a real broker, ingestion and warehouse."""

import json
import socket as sockets
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from serving_api.realtime.connection import MAX_WAITING
from serving_api.realtime.endpoints import LEGACY, SYNC
from tally.settings import Settings
from tally.tokens import Role, ensure_local_keys, mint, revoke_key, rotate_keys
from tests.integration.api.serving import Client, free_port, serving
from tests.integration.api.sockets import Socket, opened
from tests.integration.ingest.pipeline import Pipeline, ingesting
from tests.platform import Platform, action

NewUser = Callable[[], int]
ORIGIN = "https://play.example"


@pytest.fixture(scope="module")
def pipeline(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    url = platform.settings.endpoint("clickhouse_url")
    with ingesting(tmp_path_factory.mktemp("realtime"), url) as made:
        yield made


@pytest.fixture(scope="module")
def settings(platform: Platform, pipeline: Pipeline) -> Settings:
    changes = {
        "kafka_bootstrap": pipeline.broker_url,
        "api_metrics_port": free_port(),
        "api_cors_origins": ORIGIN,
        "api_connections_per_subject": 3,
        "api_rate_limit": 10_000,
    }
    return platform.settings.model_copy(update=changes)


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        # The same as in production, in less of the test's time.
        patch.setattr("serving_api.realtime.hub.SWEEP_SECONDS", 0.05)
        patch.setattr("serving_api.realtime.hub.VERIFY_SECONDS", 0.2)
        patch.setattr("serving_api.realtime.hub.LEEWAY_SECONDS", 0)
        patch.setattr("serving_api.realtime.platform.LOOK_SECONDS", 0.05)
        patch.setattr("serving_api.realtime.endpoints.TOKEN_SECONDS", 0.3)
        patch.setattr("serving_api.realtime.stream.HEARTBEAT_SECONDS", 0.3)
        with serving(settings) as client:
            yield client


@pytest.fixture(scope="module")
def february(platform: Platform) -> int:
    """A user who came in the last millisecond of a February; readable, and not yet in the marts."""
    user = 20_281
    platform.store([action(user, "LOGIN", "2026-02-28T23:59:59.999Z")])
    return user


def post(api: Client, user: int, action_type: str, role: Role = Role.STANDARD, **context: Any):
    """Write an action of now; the answer."""
    event = {
        "action_type": action_type,
        "occurred_at": datetime.now(UTC).isoformat(),
        "context": context,
    } | ({"user_id": user} if role is Role.SERVICE else {})
    answer = api.post("/api/actions", json=event, headers=api.as_user(user, role))
    assert answer.status_code == 202, answer.text
    return answer.json()


def spin(api: Client, user: int, **context: Any) -> dict[str, Any]:
    """Play a round that wins 150."""
    given = {"round_id": uuid.uuid4().hex, "bet": 100, "payout": 250}
    answer: dict[str, Any] = post(api, user, "SLOT_SPIN", **(given | context))
    return answer


def metric(api: Client, name: str) -> float:
    """The sum of a metric's samples."""
    url = f"http://127.0.0.1:{api.settings.api_metrics_port}/metrics"
    lines = httpx.get(url).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def numbers(stats: dict[str, Any]) -> dict[str, Any]:
    """An answer without its freshness."""
    return {name: value for name, value in stats.items() if name != "meta"}


def by_get(api: Client, user: int) -> dict[str, Any]:
    """What a GET answers, from the cache where it may."""
    answer = api.get("/api/users/stats?include=by_game", headers=api.as_user(user))
    found: dict[str, Any] = answer.json()
    return found


def greeted(socket: Socket, user: int) -> dict[str, Any]:
    """The data of the `initial_state` that follows `sync_connected`."""
    first, second = socket.frame(), socket.frame()
    assert (first["type"], first["user_id"], first["data"]) == ("sync_connected", user, {})
    assert (second["type"], second["user_id"]) == ("initial_state", user)
    assert set(second) == {"type", "user_id", "data", "timestamp"}
    data: dict[str, Any] = second["data"]
    return data


def test_a_round_is_told_at_once_and_its_numbers_are_those_of_a_get(
    api: Client, new_user: NewUser
) -> None:
    user = new_user()
    with opened(api, user) as socket:
        state = greeted(socket, user)
        assert state["stats"]["total_games_played"] == 0
        assert state["recent_actions"] == []
        for played in (1, 2, 3):
            written = spin(api, user, note="Größe 🎰 \u2028 \x7f 한국어")
            told = socket.until("user_action")["data"]
            assert told["event_id"] == written["event_id"]
            assert told["action_type"] == "SLOT_SPIN"
            assert told["context"]["note"] == "Größe 🎰 \u2028 \x7f 한국어"
            stats = socket.stats(total_games_played=played)
            assert stats["meta"]["status"] == "fresh"
            assert stats["by_game"][0]["payout_amount"] == 250 * played
            assert numbers(by_get(api, user)) == numbers(stats)
    with opened(api, user) as socket:
        again = greeted(socket, user)
    assert numbers(again["stats"]) == numbers(stats)
    assert len(again["recent_actions"]) == 3
    assert again["recent_actions"][0]["event_id"] == written["event_id"]
    assert metric(api, "realtime_event_lag_ms_count") >= 3


def test_a_frame_says_how_to_read_after_it(api: Client, new_user: NewUser) -> None:
    user = new_user()
    with opened(api, user) as socket:
        greeted(socket, user)
        spin(api, user)
        token = socket.until("user_action")["data"]["consistency_token"]
        limit = time.monotonic() + 30
        while True:
            stats = api.stats(user, after=token).json()
            if stats["meta"]["status"] == "fresh":
                break
            assert time.monotonic() < limit
    assert stats["total_games_played"] == 1


def test_others_hear_nothing_of_it(api: Client, new_user: NewUser) -> None:
    user, other = new_user(), new_user()
    with opened(api, user) as mine, opened(api, other) as theirs:
        greeted(mine, user), greeted(theirs, other)
        spin(api, user)
        mine.stats(total_games_played=1)
        spin(api, other)
        assert theirs.until("user_action")["user_id"] == other
        assert theirs.stats()["user_id"] == other


def test_an_event_that_is_sent_again_is_told_once(
    api: Client, pipeline: Pipeline, new_user: NewUser
) -> None:
    user = new_user()
    with opened(api, user) as socket:
        greeted(socket, user)
        key = {"Idempotency-Key": str(uuid.uuid4()), **api.as_user(user)}
        body = {
            "action_type": "SLOT_SPIN",
            "occurred_at": "2026-11-20T10:00:00Z",
            "context": {"round_id": "r", "bet": 1, "payout": 0},
        }
        for _ in range(3):
            assert api.post("/api/actions", json=body, headers=key).status_code == 202
        post(api, user, "LOGOUT")
        told = [socket.until("user_action")["data"]["action_type"] for _ in range(2)]
    assert told == ["SLOT_SPIN", "LOGOUT"]


def test_rewards_streaks_achievements_and_cards_have_frames_of_their_own(
    api: Client, new_user: NewUser
) -> None:
    user = new_user()
    with opened(api, user) as socket:
        greeted(socket, user)
        post(api, user, "DAILY_LOGIN", streak_count=4)
        streak = {"action_type": "DAILY_LOGIN", "streak_count": 4}
        assert socket.until("streak_update")["data"] == streak
        post(api, user, "ACHIEVEMENT_PROGRESS", achievement_code="a", progress=2, unlocked=False)
        progress = {"achievement_code": "a", "progress": 2, "unlocked": False}
        assert socket.until("achievement_progress")["data"] == progress
        reward = {"reward_type": "gift", "amount": 5, "balance_after": 905}
        post(api, user, "REWARD_GRANTED", Role.SERVICE, **reward)
        assert socket.until("reward_granted")["data"] == reward
        assert socket.until("profile_update")["data"] == {"changes": {"gold_balance": 905}}
        post(api, user, "LEVEL_UP", level=7)
        changes = {"gold_balance": 905, "level": 7}
        assert socket.until("profile_update")["data"] == {"changes": changes}
    card = api.get("/api/auth/profile", headers=api.as_user(user)).json()
    assert {name: card[name] for name in changes} == changes


def test_the_backend_speaks_through_the_updates_topic_but_never_numbers(
    api: Client, pipeline: Pipeline, settings: Settings, new_user: NewUser
) -> None:
    user = new_user()
    producer = Producer({"bootstrap.servers": pipeline.broker_url, "linger.ms": 0})

    def say(message: object) -> None:
        value = message if isinstance(message, bytes) else json.dumps(message).encode()
        producer.produce(settings.updates_topic, value, key=str(user).encode())
        producer.flush()

    with opened(api, user) as socket:
        greeted(socket, user)
        rejected = metric(api, "realtime_rejected_messages_total")
        say(b"no json \xff")
        say({"type": "user_action", "user_id": user, "data": {}})
        say({"type": "profile_update", "user_id": user, "data": {"changes": {"level": "x"}}})
        say({"type": "stats_update", "user_id": user, "data": {"stats": {"wins": 99}}})
        assert socket.frame()["data"]["stats"]["total_wins"] == 0
        say({"type": "profile_update", "user_id": user, "data": {"changes": {"exp": 12}}})
        assert socket.frame()["data"] == {"changes": {"exp": 12}}
        assert metric(api, "realtime_rejected_messages_total") - rejected == 3


def test_the_token_may_come_in_the_first_message(api: Client, new_user: NewUser) -> None:
    user = new_user()
    with opened(api, None) as socket:
        socket.say(type="authenticate", token=mint(api.settings, user))
        greeted(socket, user)
        socket.say(type="ping")
        assert socket.frame()["type"] == "pong"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (None, 4408),
        ("", 4400),
        ("{", 4400),
        ("[1]", 4400),
        ('{"type": "ping"}', 4400),
        ('{"type": "authenticate", "token": "no.to.ken"}', 4401),
        ('{"type": "authenticate", "token": "🎰"}', 4401),
        (b"\x00\xff", 4400),
    ],
)
def test_who_does_not_sign_in_is_told_why(
    api: Client, message: str | bytes | None, code: int
) -> None:
    with opened(api, None) as socket:
        if message is not None:
            socket.connection.send(message)
        found, why = socket.closed()
    assert found == code
    assert why


def test_a_bad_token_in_the_handshake_is_refused_with_a_code(api: Client) -> None:
    with opened(api, 1, token="not-a-token") as socket:
        assert socket.closed()[0] == 4401


def test_the_sockets_are_for_players(api: Client) -> None:
    for role in (Role.ANALYST, Role.DATA_ENGINEER, Role.ADMIN, Role.SERVICE):
        with opened(api, 1, role=role) as socket:
            assert socket.closed()[0] == 4403


def test_a_signed_in_client_may_only_ping_and_not_endlessly(
    api: Client, new_user: NewUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = new_user()
    with opened(api, user) as socket:
        greeted(socket, user)
        socket.say(type="subscribe")
        assert socket.closed()[0] == 4400
    monkeypatch.setattr("serving_api.realtime.endpoints.MESSAGES_A_MINUTE", 5)
    hits = metric(api, 'realtime_throttle_hits_total{reason="messages"}')
    with opened(api, new_user()) as socket:
        for _ in range(7):
            socket.say(type="ping")
        assert socket.closed()[0] == 4429
    assert metric(api, 'realtime_throttle_hits_total{reason="messages"}') == hits + 1


def refused(api: Client, path: str, **headers: str) -> httpx.Response:
    """The answer to a handshake that is refused."""
    asked = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    return api.get(path, headers=asked | headers)


def test_a_token_in_the_address_is_refused_whatever_it_is(api: Client) -> None:
    answer = refused(api, f"{SYNC}?token={mint(api.settings, 1)}")
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:tally:problem:invalid-request"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://play.example.evil"])
def test_pages_of_other_origins_may_not_connect(api: Client, origin: str) -> None:
    answer = refused(api, SYNC, Origin=origin)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


def test_pages_of_its_own_and_of_named_origins_may(api: Client, new_user: NewUser) -> None:
    for origin in (str(api.base_url), ORIGIN):
        with opened(api, (user := new_user()), origin=origin) as socket:
            greeted(socket, user)


def test_a_caller_has_so_many_connections_and_no_more(api: Client, new_user: NewUser) -> None:
    user = new_user()
    limit = api.settings.api_connections_per_subject
    active = metric(api, "ws_active_connections")
    hits = metric(api, 'realtime_throttle_hits_total{reason="connections"}')
    with ExitStack() as stack:
        for _ in range(limit):
            greeted(stack.enter_context(opened(api, user)), user)
        assert metric(api, "ws_active_connections") == active + limit
        with opened(api, user) as socket:
            assert socket.closed()[0] == 4429
        answer = api.get("/api/metrics/stream", headers=api.as_user(user))
        assert answer.status_code == 429
        assert answer.json()["type"] == "urn:tally:problem:too-many-connections"
        with opened(api, (other := new_user())) as socket:
            greeted(socket, other)
    assert metric(api, 'realtime_throttle_hits_total{reason="connections"}') == hits + 2
    until(lambda: metric(api, "ws_active_connections") == active)
    with opened(api, user) as socket:
        greeted(socket, user)


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_token_that_expires_ends_its_socket_and_its_stream(
    api: Client, new_user: NewUser
) -> None:
    user = new_user()
    token = mint(api.settings, user, ttl=timedelta(seconds=2))
    with opened(api, user, token=token) as socket, streaming(api, token=token) as events:
        greeted(socket, user)
        assert socket.closed() == (4419, "The token has expired.")
        closed = [event for event in events if event["event"] == "close"]
    assert json.loads(closed[0]["data"]) == {"code": 4419, "reason": "The token has expired."}


def test_a_revoked_key_cuts_what_it_had_opened(
    api: Client, platform: Platform, new_user: NewUser
) -> None:
    home = platform.settings.home
    (kid,) = [key["kid"] for key in json.loads(ensure_local_keys(home).read_text())["keys"]]
    user = new_user()
    with opened(api, user) as before:
        greeted(before, user)
        rotate_keys(home)
        with opened(api, user) as after:
            greeted(after, user)
            revoke_key(home, kid)
            assert before.closed()[0] == 4401
            spin(api, user)
            after.stats(total_games_played=1)


def test_the_legacy_path_works_until_it_is_switched_off(
    api: Client, settings: Settings, new_user: NewUser
) -> None:
    user = new_user()
    accepted = metric(api, 'ws_legacy_games_connections_total{outcome="accepted"}')
    with opened(api, user, LEGACY) as socket:
        greeted(socket, user)
        response = socket.connection.response
        assert response is not None
        assert SYNC in response.headers["Link"]
    assert metric(api, 'ws_legacy_games_connections_total{outcome="accepted"}') == accepted + 1
    off = {"enable_legacy_games_ws": False, "api_metrics_port": free_port()}
    with serving(settings.model_copy(update=off)) as without:
        answer = refused(without, LEGACY)
        assert answer.status_code == 410
        assert SYNC in answer.json()["detail"]
        assert metric(without, 'ws_legacy_games_connections_total{outcome="refused"}') == 1
        with opened(without, user) as socket:
            greeted(socket, user)


@contextmanager
def unread(api: Client, user: int) -> Iterator[sockets.socket]:
    """A signed-in socket whose client reads nothing, with as little room as there can be."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 2048)
    raw.connect(("127.0.0.1", api.base_url.port))
    raw.sendall(
        f"GET {SYNC} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: tally, bearer.{mint(api.settings, user)}\r\n\r\n".encode()
    )
    with raw:
        yield raw


def test_a_client_that_never_reads_costs_the_others_nothing(api: Client, new_user: NewUser) -> None:
    user, other = new_user(), new_user()
    active = metric(api, "ws_active_connections")
    dropped = metric(api, 'realtime_throttle_hits_total{reason="dropped"}')
    with unread(api, user), opened(api, user) as reader, opened(api, other) as neighbour:
        until(lambda: metric(api, "ws_active_connections") == active + 3)
        greeted(reader, user), greeted(neighbour, other)
        told = 0
        stop = threading.Event()

        def read() -> None:
            nonlocal told
            while not stop.is_set():
                told += reader.frame()["type"] == "user_action"

        # The one who reads has the same events as the one who does not.
        thread = threading.Thread(target=read)
        thread.start()
        sent = 0
        padding = "x" * 15_000
        while metric(api, 'realtime_throttle_hits_total{reason="dropped"}') < dropped + 5:
            assert sent < 20 * MAX_WAITING, "what nobody reads is kept"
            events = [
                {
                    "action_type": "LOGIN",
                    "occurred_at": datetime.now(UTC).isoformat(),
                    "context": {"method": padding},
                }
                for _ in range(50)
            ]
            answer = api.post(
                "/api/actions/bulk", json={"events": events}, headers=api.as_user(user)
            )
            assert answer.status_code == 202
            sent += len(events)
            while told < sent:
                time.sleep(0.01)
        started = time.monotonic()
        spin(api, other)
        neighbour.until("user_action")
        assert time.monotonic() - started < 1
        stop.set()
        post(api, user, "LOGOUT")
        thread.join()


@contextmanager
def streaming(api: Client, token: str | None = None, **headers: str) -> Iterator[Iterator[dict]]:
    """The events of the platform's stream; comments are the event `heartbeat`."""
    given = {"Authorization": f"Bearer {token or mint(api.settings, 1)}", **headers}
    with api.stream("GET", "/api/metrics/stream", headers=given) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in lines:
        if not line and "data" in event:
            yield event
            event = {}
        elif line.startswith(":"):
            yield {"event": "heartbeat"}
        elif line:
            name, _, value = line.partition(": ")
            event[name] = value


def snapshot(events: Iterator[dict[str, str]]) -> tuple[str, dict[str, Any]]:
    """Id and numbers of the next snapshot."""
    event = next(event for event in events if event["event"] == "snapshot")
    return event["id"], json.loads(event["data"])


def test_the_stream_says_what_a_get_answers_when_the_marts_are_new(
    api: Client, platform: Platform, february: int, new_user: NewUser
) -> None:
    user, today = new_user(), datetime.now(UTC).date().isoformat()

    def by_request() -> dict[str, Any]:
        found: dict[str, Any] = api.get("/api/metrics/global", headers=api.as_user(user)).json()
        return found

    with streaming(api) as events:
        first, before = snapshot(events)
        assert before == by_request()
        assert next(events)["event"] == "heartbeat"
        platform.store(
            [
                action(user, "RPS_PLAY", f"{today}T00:00:00Z", round_id="1", bet=300, payout=100),
                action(user, "RPS_PLAY", f"{today}T00:00:00Z", round_id="2", bet=300, payout=350),
            ]
        )
        platform.materialize()
        second, after = snapshot(events)
        assert after == by_request()
    assert after["today"]["dau"] >= before["today"]["dau"] + 1
    rps = next(game for game in after["today"]["by_game"] if game["game_type"] == "rps")
    assert (rps["rounds"], rps["rtp"]) == (2, 0.75)
    assert after["today"]["rounds"] == sum(game["rounds"] for game in after["today"]["by_game"])
    assert after["totals"]["users"] >= before["totals"]["users"] + 1
    ((dau, rounds, users),) = platform.client.query(
        "select argMax(dau, date), argMax(rounds, date), sum(new_users) "
        "from analytics.daily_metrics"
    ).result_rows
    assert (dau, rounds) == (after["today"]["dau"], after["today"]["rounds"])
    assert users == after["totals"]["users"]
    too_long = {**api.as_user(user), "Last-Event-ID": "x" * 65}
    assert api.get("/api/metrics/stream", headers=too_long).status_code == 422
    # Who was away is told what came meanwhile; who never was here, or elsewhere, the newest.
    with streaming(api, **{"Last-Event-ID": first}) as events:
        assert snapshot(events) == (second, after)
    for unknown in (second, "0000-1", f"{first.partition('-')[0]}-99999", "x", "-"):
        with streaming(api, **{"Last-Event-ID": unknown}) as events:
            if unknown == second:
                assert next(events)["event"] == "heartbeat"
            else:
                assert snapshot(events) == (second, after)


def test_the_platforms_day_begins_at_midnight_in_utc(
    settings: Settings, platform: Platform, february: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving_api.realtime.platform.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("serving_api.realtime.hub.SWEEP_SECONDS", 0.05)
    in_marts = "select count() from marts.user_days where user_id = {user:UInt64}"
    if not platform.client.query(in_marts, {"user": february}).first_row[0]:
        platform.materialize()
    now = datetime(2026, 2, 28, 23, 59, 59, 999_000, tzinfo=UTC)
    without_kafka = {"kafka_bootstrap": None, "api_metrics_port": None}
    with (
        serving(settings.model_copy(update=without_kafka), lambda: now) as api,
        streaming(api) as events,
        opened(api, february) as socket,
    ):
        _, before = snapshot(events)
        stats = greeted(socket, february)["stats"]
        assert (before["today"]["date"], before["today"]["dau"]) == ("2026-02-28", 1)
        assert (stats["meta"]["as_of"], stats["last_7d_active_days"]) == ("2026-02-28", 1)
        now += timedelta(milliseconds=1)
        _, after = snapshot(events)
        assert (after["today"]["date"], after["today"]["dau"]) == ("2026-03-01", 0)
        assert after["totals"] == before["totals"]
        socket.stats(as_of="2026-03-01", last_7d_active_days=1)


def test_numbers_are_pushed_while_kafka_is_away(
    settings: Settings, platform: Platform, new_user: NewUser
) -> None:
    user = new_user()
    away = {"kafka_bootstrap": f"127.0.0.1:{free_port()}", "api_metrics_port": None}
    with (
        serving(settings.model_copy(update=away)) as api,
        opened(api, user) as socket,
    ):
        greeted(socket, user)
        platform.store([action(user, "LOGIN", "2026-11-20T10:00:00Z")])
        assert socket.stats(lifetime_active_days=1)["meta"]["status"] == "fresh"


def test_without_a_warehouse_the_last_numbers_are_told_as_stale(
    settings: Settings, platform: Platform, new_user: NewUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving_api.realtime.platform.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("serving_api.realtime.hub.SWEEP_SECONDS", 0.05)
    user = new_user()
    platform.store([action(user, "LOGIN", "2026-11-20T10:00:00Z")])
    changes = {"kafka_bootstrap": None, "api_metrics_port": None}
    with (
        serving(settings.model_copy(update=changes)) as api,
        opened(api, user) as socket,
        streaming(api) as events,
    ):
        greeted(socket, user)
        assert snapshot(events)[1]["meta"]["status"] in ("fresh", "held")
        platform.end_warehouse()
        try:
            assert socket.stats(status="stale")["lifetime_active_days"] == 1
            assert snapshot(events)[1]["meta"]["status"] == "stale"
            with opened(api, user) as late:
                # What was done last cannot be told; that the connection stands can.
                assert late.frame()["type"] == "sync_connected"
                platform.restart_warehouse()
                assert late.frame()["type"] == "initial_state"
        finally:
            if platform.server is not None and platform.server.process.poll() is not None:
                platform.restart_warehouse()
        assert socket.stats(status="fresh")["lifetime_active_days"] == 1
        assert snapshot(events)[1]["meta"]["status"] != "stale"


def test_a_server_that_ends_tells_its_clients_and_does_not_wait_for_them(
    settings: Settings, new_user: NewUser
) -> None:
    user = new_user()
    changes = {"kafka_bootstrap": None, "api_metrics_port": None}
    with ExitStack() as clients:
        with serving(settings.model_copy(update=changes)) as api:
            socket = clients.enter_context(opened(api, user))
            greeted(socket, user)
            stream = httpx.Client(base_url=api.base_url, timeout=30)
            answer = clients.enter_context(
                stream.stream("GET", "/api/metrics/stream", headers=api.as_user(user))
            )
            ending = time.monotonic()
        assert time.monotonic() - ending < 5
        assert socket.closed()[0] in (1001, 1012)
        assert '"code": 1001' in answer.read().decode()
