"""What every route does, whatever it serves; needs no warehouse, and has none."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from serving_api.app import create_app
from serving_api.security.access import ACCESS, PUBLIC
from tally.errors import TallyError
from tally.metrics import metrics
from tally.settings import Settings
from tally.tokens import Role, ensure_local_keys, mint
from tests.integration.api.serving import Client, free_port, serving


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    return Settings(
        home=home,
        clickhouse_url=f"http://127.0.0.1:{free_port()}",
        jwks=str(ensure_local_keys(home)),
        api_metrics_port=free_port(),
    )


@pytest.fixture(scope="module")
def api(settings: Settings) -> Iterator[Client]:
    with serving(settings) as client:
        yield client


def assert_problem(response: httpx.Response, status: int, name: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == f"urn:tally:problem:{name}"
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert not re.search(r"select|Traceback|clickhouse|127\.0\.0\.1", response.text, re.IGNORECASE)


def test_the_process_lives_without_a_warehouse(api: Client) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}


def test_it_is_not_ready_without_a_warehouse_and_says_why(api: Client) -> None:
    response = api.get("/readyz")
    assert_problem(response, 503, "not-ready")
    assert response.json()["checks"] == {
        "warehouse": "unreachable",
        "marts": "unreachable",
        "keys": "ok",
    }


def test_without_a_warehouse_the_numbers_are_503_and_never_zeros(api: Client) -> None:
    response = api.stats(1)
    assert_problem(response, 503, "warehouse-unavailable")
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer a.b.c")],
        [("Authorization", "Basic dXNlcjpwYXNz")],
        [("Authorization", "Bearer {token}"), ("Authorization", "Bearer {token}")],
        [("Cookie", "token={token}")],
    ],
)
def test_without_one_good_bearer_token_the_answer_is_401(
    api: Client, settings: Settings, headers: list[tuple[str, str]]
) -> None:
    token = mint(settings, 1)
    given = [(name, value.replace("{token}", token)) for name, value in headers]
    response = api.get("/api/users/stats", headers=given)
    assert_problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_the_token_is_never_read_from_the_url(api: Client, settings: Settings) -> None:
    response = api.get("/api/users/stats", params={"token": mint(settings, 1)})
    assert_problem(response, 401, "unauthorized")


@pytest.mark.parametrize("role", Role)
def test_only_players_have_statistics_of_their_own(api: Client, role: Role) -> None:
    response = api.get("/api/users/stats", headers=api.as_user(1, role))
    if role in (Role.STANDARD, Role.PREMIUM, Role.VIP):
        assert response.status_code == 503, "let through, as far as the warehouse"
    else:
        assert_problem(response, 403, "forbidden")


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("user_id=2", "query.user_id"),
        ("after=abc", "query.after"),
        ("as_of=2026-01-01&limit=1", "query.limit"),
        ("definition=logins", "query.definition"),
        ("definition=", "query.definition"),
        ("definition=ALL_ACTIONS", "query.definition"),
        ("include=by_game,everything", "query.include"),
        ("include=", "query.include"),
        ("include=by_game,", "query.include"),
        ("as_of=", "query.as_of"),
        ("as_of=today", "query.as_of"),
        ("as_of=2026-02-29", "query.as_of"),
        ("as_of=2026-1-1", "query.as_of"),
        ("as_of=20260101", "query.as_of"),
        ("as_of=1767225600", "query.as_of"),
        ("as_of=2026-01-01T00:00:00Z", "query.as_of"),
        ("as_of=2026-01-01%20", "query.as_of"),
        ("as_of=%D9%A2%D9%A0%D9%A2%D9%A6-01-01", "query.as_of"),
        ("as_of=2020-01-01&as_of=2021-01-01", "query.as_of"),
        ("as_of=9999-12-31", "query.as_of"),
    ],
)
def test_a_parameter_that_is_not_valid_is_refused_and_named(
    api: Client, query: str, location: str
) -> None:
    response = api.get(f"/api/users/stats?{query}", headers=api.as_user(1))
    assert_problem(response, 422, "invalid-request")
    assert location in [error["location"] for error in response.json()["errors"]]


def test_the_definitions_of_the_metrics_are_public_and_need_no_warehouse(api: Client) -> None:
    response = api.get("/api/metrics/definitions")
    assert response.status_code == 200
    answer = response.json()
    assert answer["timezone"] == "UTC"
    assert set(answer["active_day_definitions"]) == {"all_actions", "daily_login"}
    found = {metric["name"]: metric for metric in answer["metrics"]}
    assert set(found) == set(metrics())
    month = found["last_30d_active_days"]
    assert (month["grain"], month["window"]) == ("user", "[D - 29, D]")
    assert (month["window_days"], month["additive"]) == (30, False)
    assert month["hash"].startswith("sha256:")
    assert found["total_games_played"]["additive"] is True
    assert all(metric["formula"] and metric["description"] for metric in found.values())


def test_what_the_framework_refuses_is_a_problem_too(api: Client) -> None:
    assert_problem(api.get("/nothing/here"), 404, "not-found")
    assert_problem(api.get("/api/users/stats/", headers=api.as_user(1)), 404, "not-found")
    assert_problem(api.post("/healthz"), 405, "method-not-allowed")


def test_every_answer_carries_the_security_headers(api: Client) -> None:
    for path in ("/healthz", "/readyz", "/api/users/stats", "/nothing"):
        headers = api.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "no-store"
        assert "uvicorn" not in headers.get("server", "")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("0123456789abcdef", True), ("short", False), ("x" * 65, False), ("has spaces in it", False)],
)
def test_a_harmless_request_id_is_kept_and_any_other_is_replaced(
    api: Client, given: str, kept: bool
) -> None:
    answered = api.get("/healthz", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert (answered == given) is kept


def test_metrics_are_by_route_template_with_bounded_labels(api: Client, settings: Settings) -> None:
    for nth in range(20):
        api.get(f"/scan/{nth}")
        api.request(f"SCAN{nth}", "/healthz")
    api.stats(1)
    api.get("/api/users/stats", headers={"Authorization": "Bearer of nothing"})
    metrics = httpx.get(f"http://127.0.0.1:{settings.api_metrics_port}/metrics").text
    assert 'tally_http_refusals_total{reason="unauthorized"}' in metrics
    routes = set(re.findall(r'tally_http_requests_total\{.*?route="(.*?)"', metrics))
    methods = set(re.findall(r'tally_http_requests_total\{method="(.*?)"', metrics))
    assert routes <= {
        *("/healthz", "/readyz", "/api/users/stats", "/api/metrics/definitions", "unmatched"),
    }
    assert {"/healthz", "/api/users/stats", "unmatched"} <= routes
    assert methods <= {"GET", "POST", "other"}
    assert "/metrics" not in create_app(settings).openapi()["paths"]
    assert api.get("/metrics").status_code == 404, "not on the port that players reach"


def test_an_error_nobody_thought_of_is_a_500_without_its_text(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_broken_route(app_settings: Settings, clock: object) -> FastAPI:
        app = create_app(app_settings)

        @app.get("/broken")
        async def broken() -> None:
            raise RuntimeError("select the inside")

        return app

    monkeypatch.setitem(ACCESS, ("GET", "/broken"), PUBLIC)
    monkeypatch.setattr("tests.integration.api.serving.create_app", with_broken_route)
    quiet = settings.model_copy(update={"api_metrics_port": None})
    with caplog.at_level(logging.ERROR), serving(quiet) as api:
        response = api.get("/broken")
    assert_problem(response, 500, "internal-error")
    assert response.headers["x-content-type-options"] == "nosniff"
    (record,) = [record for record in caplog.records if record.exc_info]
    assert response.json()["request_id"] in record.getMessage()


@pytest.mark.parametrize("missing", ["clickhouse_url", "jwks"])
async def test_it_does_not_start_without_being_told_where_things_are(
    settings: Settings, missing: str
) -> None:
    app = create_app(settings.model_copy(update={missing: None}))
    with pytest.raises(TallyError, match=f"TALLY_{missing.upper()}"):
        async with app.router.lifespan_context(app):
            pass


async def test_it_starts_without_its_keys_and_is_not_ready(settings: Settings) -> None:
    absent = settings.model_copy(
        update={"jwks": str(Path(settings.home) / "absent.json"), "api_metrics_port": None}
    )
    with serving(absent) as api:
        assert api.get("/readyz").json()["checks"]["keys"] == "none loaded"
        assert_problem(api.stats(1), 503, "keys-unavailable")
