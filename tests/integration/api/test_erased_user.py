"""An erased user: 404 on every route that is about them, at once, whatever was answered before."""

import json
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from orchestration.lib.erasure import put_on_list
from tally.tokens import Role
from tests.integration.api.serving import Client, serving
from tests.integration.api.sockets import opened
from tests.platform import Platform, action

NewUser = Callable[[], int]

# Each process follows the list by itself.
KNOWN_WITHIN_S = 5.0
ABOUT_THE_CALLER = (
    "/api/users/stats",
    "/api/users/stats?as_of=2026-11-21&include=by_game",
    "/api/users/stats/explain?field=total_wins",
    "/api/users/stats/history",
    "/api/auth/me",
    "/api/auth/profile",
    "/api/users/profile",
)


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Client]:
    with serving(platform.settings) as client:
        yield client


def ask(api: Client, path: str, user: int, role: Role = Role.STANDARD) -> httpx.Response:
    return api.get(path, headers=api.as_user(user, role))


def is_refused(answer: httpx.Response) -> bool:
    return answer.status_code == 404 and answer.json()["type"] == "urn:tally:problem:erased-user"


def login(user: int) -> dict[str, object]:
    return {"user_id": user, "action_type": "LOGIN", "occurred_at": "2026-11-20T10:00:00Z"}


def test_every_answer_about_the_user_ends_in_seconds_and_nobody_elses(
    api: Client, platform: Platform, new_user: NewUser
) -> None:
    erased, other = new_user(), new_user()
    platform.store([action(user, "LOGIN", "2026-11-20T10:00:00Z") for user in (erased, other)])
    about = [*ABOUT_THE_CALLER, f"/api/users/{erased}", f"/api/actions/recent/{erased}"]
    for path in about:
        assert ask(api, path, erased).status_code == 200, path
    etag = ask(api, "/api/users/stats", erased).headers["etag"]
    with opened(api, erased) as socket, opened(api, other) as kept:
        assert socket.frame()["type"] == "sync_connected"
        assert kept.frame()["type"] == "sync_connected"
        put_on_list(platform.client, [erased])
        listed = time.monotonic()
        while not is_refused(ask(api, "/api/users/stats", erased)):
            assert time.monotonic() - listed < KNOWN_WITHIN_S
        assert socket.closed() == (4404, "Nothing is kept of this user, and nothing is taken.")
        assert time.monotonic() - listed < KNOWN_WITHIN_S
        kept.until("initial_state")
    for path in about:
        assert is_refused(ask(api, path, erased)), path
    unchanged = {**api.as_user(erased), "If-None-Match": etag}
    assert is_refused(api.get("/api/users/stats", headers=unchanged))
    with opened(api, erased) as socket:
        assert socket.closed()[0] == 4404

    # Whoever asks about them, and whoever writes for them.
    assert is_refused(ask(api, f"/api/users/{erased}", other))
    for role in (Role.ANALYST, Role.ADMIN, Role.SERVICE):
        assert is_refused(ask(api, f"/api/actions/recent/{erased}", 1, role)), role
    as_json = {"Content-Type": "application/json"}
    for user, role in ((erased, Role.STANDARD), (1, Role.SERVICE)):
        answer = api.post(
            "/api/actions",
            content=json.dumps(login(erased)),
            headers={**as_json, **api.as_user(user, role)},
        )
        assert is_refused(answer), role
    answer = api.post(
        "/api/actions/bulk",
        content=json.dumps({"events": [login(erased), login(erased)]}),
        headers={**as_json, **api.as_user(1, Role.SERVICE)},
    )
    assert answer.status_code == 207
    results = answer.json()["results"]
    assert [(each["status"], each["reason"]) for each in results] == [(404, "erased_user")] * 2

    for path in (*ABOUT_THE_CALLER, f"/api/users/{other}", f"/api/actions/recent/{other}"):
        assert ask(api, path, other).status_code == 200, path
    # What is of nobody in particular is not about the caller.
    assert ask(api, "/api/metrics/global", erased).status_code == 200


def test_a_process_that_starts_later_knows_with_its_first_answer(
    platform: Platform, new_user: NewUser
) -> None:
    user = new_user()
    put_on_list(platform.client, [user])
    with serving(platform.settings) as later:
        assert is_refused(ask(later, "/api/users/stats", user))


def test_who_is_known_to_be_erased_gets_no_stale_answer_while_the_warehouse_is_away(
    platform: Platform, new_user: NewUser
) -> None:
    erased, other = new_user(), new_user()
    with serving(platform.settings) as api:
        for user in (erased, other):
            assert ask(api, "/api/users/stats", user).status_code == 200
        put_on_list(platform.client, [erased])
        limit = time.monotonic() + KNOWN_WITHIN_S
        while not is_refused(ask(api, "/api/users/stats", erased)):
            assert time.monotonic() < limit
        platform.end_warehouse()
        try:
            limit = time.monotonic() + 30
            while ask(api, "/api/users/stats", other).json()["meta"]["status"] != "stale":
                assert time.monotonic() < limit
                time.sleep(0.1)
            assert is_refused(ask(api, "/api/users/stats", erased))
        finally:
            platform.restart_warehouse()
