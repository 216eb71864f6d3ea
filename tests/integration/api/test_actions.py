"""Writing actions through a real broker and ingestion, and reading them back at once."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving_api.actions.messages import new_event_id
from tally.tokens import Role
from tests.integration.api.serving import Client, free_port, serving
from tests.integration.api.test_injections import INJECTIONS
from tests.integration.ingest.pipeline import PARTITIONS, Pipeline, ingesting
from tests.platform import Platform
from tests.servers import start_kafka

NewUser = Callable[[], int]


@pytest.fixture(scope="module")
def pipeline(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    url = platform.settings.endpoint("clickhouse_url")
    with ingesting(tmp_path_factory.mktemp("actions"), url) as made:
        yield made


@pytest.fixture(scope="module")
def api(platform: Platform, pipeline: Pipeline) -> Iterator[Client]:
    settings = platform.settings.model_copy(update={"kafka_bootstrap": pipeline.broker_url})
    with serving(settings) as client:
        yield client


def login(**changes: Any) -> dict[str, Any]:
    event = {"action_type": "LOGIN", "occurred_at": "2026-11-20T10:00:00Z"}
    return {name: value for name, value in {**event, **changes}.items() if value is not ...}


def post(
    api: Client,
    user: int,
    body: Any,
    path: str = "/api/actions",
    role: Role = Role.STANDARD,
    **headers: str,
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json", **api.as_user(user, role), **headers}
    return api.post(path, content=content, headers=given)


def read_after(api: Client, user: int, answer: httpx.Response) -> dict[str, Any]:
    query = {"after": answer.json()["consistency_token"]}
    stats: dict[str, Any] = api.get(
        "/api/users/stats", params=query, headers=api.as_user(user)
    ).json()
    return stats


def counted(api: Client, user: int, answer: httpx.Response) -> dict[str, Any]:
    """The statistics once the write is in them; ingestion may take longer than one wait."""
    limit = time.monotonic() + 30
    while (stats := read_after(api, user, answer))["meta"]["status"] != "fresh":
        assert time.monotonic() < limit
    return stats


def test_what_was_written_is_read_with_its_token(api: Client, new_user: NewUser) -> None:
    user = new_user()
    for nth in range(1, 4):
        answer = post(api, user, login(occurred_at=f"2026-11-{nth:02}T10:00:00Z"))
        assert answer.status_code == 202, answer.text
        assert uuid.UUID(answer.json()["event_id"]).version == 7
        assert counted(api, user, answer)["lifetime_active_days"] == nth


def test_a_player_writes_only_for_themselves_and_a_service_for_anyone(
    api: Client, new_user: NewUser
) -> None:
    user, other = new_user(), new_user()
    forced = post(api, user, login(user_id=other))
    assert forced.json()["user_id"] == user
    for role in (Role.SERVICE, Role.ADMIN):
        answer = post(api, user, login(user_id=other, event_id=new_event_id()), role=role)
        assert answer.json()["user_id"] == other
    assert counted(api, other, answer)["lifetime_active_days"] == 1
    assert post(api, user, login(), role=Role.SERVICE).status_code == 422, "for whom?"
    assert counted(api, user, forced)["lifetime_active_days"] == 1


def test_the_same_id_again_counts_once(api: Client, new_user: NewUser) -> None:
    user, key = new_user(), str(uuid.uuid4())
    spin = {"round_id": "r", "bet": 5, "payout": 0}
    event = login(action_type="SLOT_SPIN", context=spin)
    answers = [post(api, user, event, **{"Idempotency-Key": key}) for _ in range(3)]
    answers.append(post(api, user, {**event, "event_id": key}))
    assert {answer.json()["event_id"] for answer in answers} == {key}
    stats = counted(api, user, answers[-1])
    assert (stats["total_games_played"], stats["bet_amount"]) == (1, 5)
    recent = api.get(f"/api/actions/recent/{user}", headers=api.as_user(user)).json()
    assert [each["event_id"] for each in recent["actions"]] == [key]


@pytest.mark.parametrize(
    ("body", "status", "names"),
    [
        (login(occurred_at="2026-11-20T10:00:00"), 422, "occurred_at"),
        (login(occurred_at=...), 422, "occurred_at"),
        (login(occurred_at="2999-01-01T00:00:00Z"), 422, "future_timestamp"),
        (login(occurred_at="1999-01-01T00:00:00Z"), 422, "too_old"),
        (login(action_type="lower"), 422, "action_type"),
        (login(event_id="no-uuid"), 422, "event_id"),
        (login(context={"x": "y" * 20_000}), 422, "context"),
        (login(action_type="SLOT_SPIN", context={}), 422, "round_id"),
        (login(action_type="REWARD_GRANTED"), 422, "reward_type"),
        (login(action_type="LOGIN_FAILED"), 403, "system"),
        ([], 422, "not_object"),
        (b"{", 422, "not_json"),
        (b"", 422, "not_json"),
        (b"\xff\xfe", 422, "not_json"),
        (b'{"action_type": "LOGIN", "action_type": "LOGOUT"}', 422, "twice"),
        (b"[" * 100_000, 422, "body"),
        (b'{"x":' * 50 + b"1" + b"}" * 50, 422, "nested"),
        (b'{"a": 1e999}', 422, "body"),
    ],
)
def test_what_breaks_the_contract_is_refused_and_named(
    api: Client, body: Any, status: int, names: str
) -> None:
    answer = post(api, 42, body)
    assert answer.status_code == status, answer.text
    assert names in answer.text


def test_texts_of_an_event_are_kept_as_they_are_and_do_nothing(
    api: Client, new_user: NewUser
) -> None:
    user = new_user()
    texts = [text for text in INJECTIONS if "\x00" not in text]
    events = [
        login(event_id=new_event_id(), source=text, session_id=text, context={text: text})
        for text in texts
    ]
    answer = post(api, user, {"events": events}, "/api/actions/bulk")
    assert answer.status_code == 202, answer.text
    assert counted(api, user, answer)["lifetime_active_days"] == 1
    path = f"/api/actions/recent/{user}?limit=200"
    recent = api.get(path, headers=api.as_user(user)).json()["actions"]
    stored = {each["event_id"]: each for each in recent}
    for event, text in zip(events, texts, strict=True):
        kept = stored[event["event_id"]]
        assert (kept["source"], kept["session_id"], kept["context"]) == (text, text, {text: text})
    for field in ("event_id", "action_type", "occurred_at"):
        for text in INJECTIONS:
            assert post(api, user, login(**{field: text})).status_code == 422, (field, text)
    for text in texts:
        if "\r" in text:
            continue  # no client can send it in a header
        key = post(api, user, login(), **{"Idempotency-Key": text.encode()})
        assert key.status_code == 422, text


def test_a_bulk_sends_the_good_ones_and_names_the_others(api: Client, new_user: NewUser) -> None:
    user = new_user()
    events = [
        login(occurred_at="2026-11-01T10:00:00Z"),
        login(occurred_at="yesterday"),
        login(occurred_at="2026-11-02T10:00:00Z"),
        login(action_type="LOGIN_FAILED"),
        "nonsense",
    ]
    answer = post(api, user, {"events": events}, "/api/actions/bulk")
    assert answer.status_code == 207
    body = answer.json()
    assert (body["accepted"], body["refused"]) == (2, 3)
    assert [item["status"] for item in body["results"]] == [202, 422, 202, 403, 422]
    assert [item["index"] for item in body["results"]] == list(range(5))
    assert counted(api, user, answer)["lifetime_active_days"] == 2
    assert post(api, user, {"events": events[:1]}, "/api/actions/bulk").status_code == 202
    refused = post(api, user, {"events": events[3:]}, "/api/actions/bulk").json()
    assert refused["consistency_token"] is None


def test_a_service_writes_1000_events_of_many_users_at_once(api: Client, new_user: NewUser) -> None:
    users = [new_user() for _ in range(100)]
    events = [
        login(user_id=user, occurred_at=f"2026-11-{day:02}T10:00:00Z")
        for user in users
        for day in range(1, 11)
    ]
    answer = post(api, 1, {"events": events}, "/api/actions/bulk", Role.SERVICE)
    assert answer.status_code == 202, answer.text
    assert {item["partition"] for item in answer.json()["results"]} == set(range(PARTITIONS))
    for user in (users[0], users[50], users[99]):
        assert counted(api, user, answer)["lifetime_active_days"] == 10
    too_many = post(api, 1, {"events": [*events, events[0]]}, "/api/actions/bulk", Role.SERVICE)
    assert too_many.status_code == 422
    assert post(api, 1, {"events": []}, "/api/actions/bulk").status_code == 422
    assert post(api, 1, [login()], "/api/actions/bulk").status_code == 422


def test_the_body_must_be_called_json(api: Client) -> None:
    answer = post(api, 42, login(), **{"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_without_kafka_it_is_503_and_the_retry_counts_once(
    platform: Platform, pipeline: Pipeline, tmp_path: Path, new_user: NewUser
) -> None:
    user, event = new_user(), login(event_id=new_event_id())
    nowhere = f"127.0.0.1:{free_port()}"
    for bootstrap in (None, nowhere):
        settings = platform.settings.model_copy(update={"kafka_bootstrap": bootstrap})
        with serving(settings) as api:
            started = time.monotonic()
            answer = post(api, user, event)
            assert time.monotonic() - started < 6
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["type"] == "urn:tally:problem:actions-unavailable"
            bulk = post(api, user, {"events": [event]}, "/api/actions/bulk")
            assert bulk.status_code == 503
    settings = platform.settings.model_copy(update={"kafka_bootstrap": pipeline.broker_url})
    with serving(settings) as api:
        answer = post(api, user, event)
        assert counted(api, user, answer)["lifetime_active_days"] == 1


def test_a_broker_that_dies_under_the_producer_is_503_in_time(
    platform: Platform, tmp_path: Path, new_user: NewUser
) -> None:
    with start_kafka(tmp_path / "broker", partitions=1) as broker:
        settings = platform.settings.model_copy(update={"kafka_bootstrap": broker.url})
        with serving(settings) as api:
            user = new_user()
            assert post(api, user, login()).status_code == 202
            broker.kill()
            started = time.monotonic()
            assert post(api, user, login()).status_code == 503
            assert time.monotonic() - started < 6
            assert api.get("/healthz").status_code == 200
