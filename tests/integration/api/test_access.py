"""Who may call what, how often, and what is written down of it; needs no warehouse."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from serving_api.app import ROUTERS, create_app
from serving_api.body_limit import MAX_BODY_BYTES
from serving_api.security.access import ACCESS, operations
from serving_api.security.audit import GENESIS, AuditLine, AuditLog, verify_audit
from serving_api.security.rate_limit import WINDOW_SECONDS, RateLimiter
from tally.errors import TallyError
from tally.settings import Settings
from tally.tokens import Role, ensure_local_keys, revoke_key, rotate_keys
from tests.integration.api.serving import Client, free_port, serving


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    return Settings(
        home=home,
        clickhouse_url=f"http://127.0.0.1:{free_port()}",
        jwks=str(ensure_local_keys(home)),
        api_metrics_port=free_port(),
        api_cors_origins="https://play.example",
    )


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Client]:
    with serving(settings) as client:
        yield client


# Written out here once more, on purpose: what the contract says, not what the code says.
PLAYERS = {Role.STANDARD, Role.PREMIUM, Role.VIP}
ANALYSTS = {Role.ANALYST, Role.DATA_ENGINEER, Role.ADMIN, Role.SERVICE}
WRITERS = {Role.ADMIN, Role.SERVICE}
MATRIX: dict[tuple[str, str], set[Role]] = {
    ("GET", "/api/users/stats"): PLAYERS,
    ("GET", "/api/users/stats/explain?field=total_wins"): PLAYERS,
    ("GET", "/api/users/stats/history"): PLAYERS,
    ("GET", "/api/auth/me"): set(Role),
    ("GET", "/api/auth/profile"): PLAYERS,
    ("GET", "/api/users/profile"): PLAYERS,
    ("GET", "/api/users/OWN"): set(Role),
    ("GET", "/api/users/OTHER"): set(Role),
    ("POST", "/api/actions"): PLAYERS | WRITERS,
    ("POST", "/api/actions/bulk"): PLAYERS | WRITERS,
    ("GET", "/api/olap/health"): ANALYSTS,
    ("GET", "/api/actions/recent/OWN"): PLAYERS | ANALYSTS,
    ("GET", "/api/actions/recent/OTHER"): ANALYSTS,
    ("GET", "/api/metrics/global"): set(Role),
    ("GET", "/api/metrics/stream"): set(Role),
}
# Who is refused by them is in test_realtime.py.
SOCKETS = {("WEBSOCKET", "/api/realtime/sync"), ("WEBSOCKET", "/api/games/ws")}
PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/docs"),
    ("GET", "/docs/oauth2-redirect"),
    ("GET", "/api/metrics/definitions"),
    ("GET", "/"),
    ("GET", "/page/index.html"),
}


def test_the_matrix_is_of_every_route() -> None:
    def template(path: str) -> str:
        path = path.partition("?")[0].replace("OWN", "{user_id}").replace("OTHER", "{user_id}")
        return path.replace("/page/index.html", "/page/{name}")

    routes = {found for router in ROUTERS for found in operations(router.routes)}
    told = {(method, template(path)) for method, path in [*MATRIX, *PUBLIC]} | SOCKETS
    assert routes <= told
    assert told - routes == {("GET", "/docs"), ("GET", "/docs/oauth2-redirect")}, "the framework's"


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("method", "path"), MATRIX)
def test_a_role_may_what_the_matrix_says_and_nothing_else(
    api: Client, role: Role, method: str, path: str
) -> None:
    url = path.replace("OWN", "7").replace("OTHER", "8")
    response = api.request(method, url, headers=api.as_user(7, role))
    if role in MATRIX[method, path]:
        assert response.status_code in (200, 415, 503), "let through, as far as there is something"
    else:
        assert response.status_code == 403
        assert response.json()["type"] == "urn:tally:problem:forbidden"


@pytest.mark.parametrize(("method", "path"), MATRIX)
def test_without_a_token_there_is_nothing(api: Client, method: str, path: str) -> None:
    assert api.request(method, path.replace("OWN", "7")).status_code == 401


def test_a_route_without_a_row_keeps_the_application_from_starting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ACCESS, ("GET", "/api/auth/me"))
    with pytest.raises(TallyError, match="/api/auth/me"):
        create_app(settings)


def test_a_route_without_a_row_is_nobodys_even_when_it_is_added_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_forgotten_route(app_settings: Settings, clock: object) -> FastAPI:
        app = create_app(app_settings)
        app.get("/forgotten")(lambda: "secret")
        return app

    monkeypatch.setattr("tests.integration.api.serving.create_app", with_forgotten_route)
    with serving(settings.model_copy(update={"api_metrics_port": None})) as api:
        for role in Role:
            assert api.get("/forgotten", headers=api.as_user(7, role)).status_code == 403


@pytest.mark.parametrize(
    "user_id", ["0", "-1", "042", "4_2", "٤٢", "9007199254740992", "1e3", "%20"]
)
def test_a_user_id_has_one_spelling(api: Client, user_id: str) -> None:
    for path in (f"/api/users/{user_id}", f"/api/actions/recent/{user_id}"):
        assert api.get(path, headers=api.as_user(42)).status_code == 422


def test_no_route_takes_a_query_parameter_that_it_does_not_know(api: Client) -> None:
    for method, path in [*MATRIX, *PUBLIC]:
        url = path.replace("OWN", "7").replace("OTHER", "7") + ("&" if "?" in path else "?")
        if path.startswith("/docs"):
            continue
        role = Role.STANDARD if Role.STANDARD in MATRIX.get((method, path), Role) else Role.ANALYST
        response = api.request(method, f"{url}surprise=1", headers=api.as_user(7, role))
        assert response.status_code == 422, path
        assert response.json()["errors"][0]["location"] == "query.surprise"


def audit_lines(settings: Settings) -> list[dict]:
    return [json.loads(line) for line in settings.audit_path.read_text().splitlines()]


def test_admins_and_who_reads_of_others_leave_a_line_and_players_do_not(
    api: Client, settings: Settings
) -> None:
    def lines() -> int:
        return verify_audit(settings.audit_path)[0]

    before = lines()
    api.get("/api/users/stats", headers=api.as_user(7))
    api.get("/api/users/7", headers=api.as_user(7))
    api.get("/api/actions/recent/8", headers=api.as_user(7))
    assert lines() == before, "one's own, and what was refused"
    response = api.get("/api/actions/recent/8", headers=api.as_user(7, Role.ANALYST))
    api.get("/api/auth/me", headers=api.as_user(9, Role.ADMIN))
    api.get("/api/users/8", headers=api.as_user(7))
    assert lines() == before + 3
    read, admin, card = audit_lines(settings)[-3:]
    assert (read["subject"], read["role"], read["user_id"]) == ("7", "analyst", 8)
    assert read["route"] == "/api/actions/recent/{user_id}"
    assert read["request_id"] == response.headers["x-request-id"]
    assert (admin["role"], admin["user_id"]) == ("admin", None)
    assert (card["role"], card["user_id"]) == ("STANDARD", 8)


def test_what_cannot_be_written_down_is_not_done(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = settings.model_copy(
        update={"audit_log": tmp_path / "file" / "log", "api_metrics_port": None}
    )
    with serving(broken) as api:
        response = api.get("/api/auth/me", headers=api.as_user(7, Role.ADMIN))
        assert response.json()["type"] == "urn:tally:problem:audit-unavailable"
        assert api.get("/api/auth/me", headers=api.as_user(7)).status_code == 200


@pytest.mark.parametrize("change", ["edit", "remove", "insert", "swap", "garbage"])
def test_a_changed_audit_log_is_found_at_the_line(tmp_path: Path, change: str) -> None:
    path = tmp_path / "audit" / "log"
    for nth in range(5):
        AuditLog(path).append(AuditLine("t", "7", "admin", "GET", "/x", nth, "id"))
    assert verify_audit(path)[0] == 5
    lines = path.read_bytes().splitlines(keepends=True)
    match change:
        case "edit":
            lines[2] = lines[2].replace(b'"user_id": 2', b'"user_id": 3')
        case "remove":
            del lines[2]
        case "insert":
            lines.insert(2, lines[1])
        case "swap":
            lines[2], lines[3] = lines[3], lines[2]
        case "garbage":
            lines[2] = b"\xff\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(TallyError, match="line 3"):
        verify_audit(path)
    assert verify_audit(tmp_path / "none") == (0, GENESIS)


def test_over_the_rate_there_is_429_and_nobody_else_notices(settings: Settings) -> None:
    few = settings.model_copy(update={"api_rate_limit": 3, "api_metrics_port": None})
    with serving(few) as api:
        seen = [api.get("/api/auth/me", headers=api.as_user(7)) for _ in range(4)]
        assert [response.status_code for response in seen] == [200, 200, 200, 429]
        assert [r.headers["ratelimit"].partition(";t=")[0] for r in seen] == [
            f'"default";r={left}' for left in (2, 1, 0, 0)
        ]
        assert seen[0].headers["ratelimit-policy"] == '"default";q=3;w=60'
        assert 0 < int(seen[3].headers["retry-after"]) <= 20
        assert api.get("/api/auth/me", headers=api.as_user(8)).status_code == 200
        service = api.as_user(7, Role.SERVICE)
        assert api.get("/api/auth/me", headers=service).status_code == 200


def test_a_bucket_fills_steadily() -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    rates = RateLimiter(clock)
    assert sum(not rates.take("a", 60).retry_after_seconds for _ in range(100)) == 60
    clock.now += 10
    assert sum(not rates.take("a", 60).retry_after_seconds for _ in range(100)) == 10
    clock.now += 10 * WINDOW_SECONDS
    assert rates.take("a", 60).remaining == 59


def test_the_old_profile_path_says_what_follows_it(api: Client, settings: Settings) -> None:
    response = api.get("/api/users/profile", headers=api.as_user(7))
    assert response.headers["deprecation"].startswith("@17")
    assert response.headers["sunset"] == "Tue, 01 Jun 2027 00:00:00 GMT"
    assert response.headers["link"] == '</api/auth/profile>; rel="successor-version"'
    metrics = httpx.get(f"http://127.0.0.1:{settings.api_metrics_port}/metrics").text
    assert 'deprecated_endpoint_calls_total{path="/api/users/profile"}' in metrics
    assert "deprecation" not in api.get("/api/auth/profile", headers=api.as_user(7)).headers


def test_only_the_origins_of_the_setting_may_read(api: Client) -> None:
    for origin, allowed in (("https://play.example", True), ("https://evil.example", False)):
        preflight = api.options(
            "/api/users/stats",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "authorization",
            },
        )
        assert (preflight.status_code == 200) is allowed
        answer = api.get("/healthz", headers={"Origin": origin})
        given = answer.headers.get("access-control-allow-origin")
        assert given == (origin if allowed else None)


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_refused(api: Client, declared: bool) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65536 + 1):
            yield b"x" * 65536

    headers = {**api.as_user(7), "Content-Type": "application/json"}
    content = b"".join(chunks()) if declared else chunks()
    response = api.post("/api/actions", headers=headers, content=content)
    assert response.status_code == 413
    assert response.json()["type"] == "urn:tally:problem:body-too-large"


def test_tokens_and_secrets_are_in_no_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    secret = settings.model_copy(
        update={"clickhouse_password": SecretStr("hunter-2"), "api_metrics_port": None}
    )
    with caplog.at_level("DEBUG"), serving(secret) as api:
        headers = api.as_user(7)
        api.get("/api/users/stats", headers=headers)
        api.get("/api/auth/me", headers={"Authorization": f"{headers['Authorization']}x"})
    assert caplog.records
    assert headers["Authorization"].split()[1] not in caplog.text
    assert "hunter-2" not in caplog.text


def test_keys_rotate_under_load_without_one_good_request_refused(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        clickhouse_url=f"http://127.0.0.1:{free_port()}",
        jwks=str(ensure_local_keys(tmp_path)),
        api_rate_limit=1_000_000,
    )
    live: list[dict[str, str]] = []
    rounds = [0] * 4
    refused: list[str] = []
    stop = threading.Event()

    def load(nth: int) -> None:
        """Ask with every token that is live, and as an attacker who wears out the cool-down."""
        unknown = {"Authorization": "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6IngifQ.e30.AA"}
        with httpx.Client(base_url=api.base_url, timeout=30) as client:
            while not stop.is_set():
                for headers in tuple(live):
                    answer = client.get("/api/auth/me", headers=headers)
                    if answer.status_code != 200:
                        refused.append(answer.text)
                assert client.get("/api/auth/me", headers=unknown).status_code == 401
                rounds[nth] += 1

    def until_each_has_asked(times: int) -> None:
        goal = [done + times for done in rounds]
        limit = time.monotonic() + 60
        while any(done < wanted for done, wanted in zip(rounds, goal, strict=True)):
            assert time.monotonic() < limit
            time.sleep(0.01)

    with serving(settings) as api:
        live.append(api.as_user(7))
        loaders = [threading.Thread(target=load, args=(nth,)) for nth in range(len(rounds))]
        for loader in loaders:
            loader.start()
        try:
            for version in range(2, 8):
                until_each_has_asked(10)
                assert rotate_keys(tmp_path) == f"v{version}"
                live.append(api.as_user(7))
                until_each_has_asked(10)
                old = live.pop(0)
                until_each_has_asked(2)  # nobody holds it any more
                revoke_key(tmp_path, f"v{version - 1}")
        finally:
            stop.set()
            for loader in loaders:
                loader.join()
        assert not refused
        assert sum(rounds) >= 4 * 6 * 22
        assert api.get("/api/auth/me", headers=live[0]).status_code == 200
        assert api.get("/api/auth/me", headers=old).status_code == 401
