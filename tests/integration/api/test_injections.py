"""Texts that have opened databases, in every place that takes text: nothing happens."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import jwt
import pytest

from serving_api.app import create_app
from serving_api.security.access import access_to
from tally.settings import Settings
from tally.tokens import Role
from tests.integration.api.serving import Client, serving
from tests.platform import Platform, action

USER = 800_001

INJECTIONS = [
    "'",
    "''",
    '"',
    "`",
    "\\",
    "\\'",
    "' or '1'='1",
    "' or 1=1 --",
    "1 or 1=1",
    "1; drop table raw.events",
    "'; drop table raw.events; --",
    "1) union all select 1, 2, 3 --",
    "' union all select name from system.users --",
    "1 union select * from url('http://127.0.0.1:1/x')",
    "' and sleep(3) and '",
    "1 and sleepEachRow(3)",
    "{user_ids:Array(UInt64)}",
    "{as_of:Date}",
    "{{7*7}}",
    "${jndi:ldap://127.0.0.1/x}",
    "%(user_id)s",
    "%s%s%s%n",
    "1 format JSON",
    "1 into outfile '/tmp/x'",
    "1 settings max_execution_time=0",
    "/* */ 1",
    "1 --",
    "1 #",
    "\x00",
    "1\x00",
    "1\r\nX-Injected: 1",
    "\u2019 or 1=1",
    "\uff07 or 1=1",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "$(id)",
    "; id",
    "[1]",
    '{"$gt": 0}',
    "1e999",
    "-1",
    "NaN",
]


def places() -> list[tuple[str, str, str]]:
    """(path, kind, name) of every parameter of every operation that reads, from the document."""
    document = create_app(Settings()).openapi()
    return [
        (path, parameter["in"], parameter["name"])
        for path, operations in sorted(document["paths"].items())
        for parameter in operations.get("get", {}).get("parameters", [])
    ]


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Client]:
    platform.store([action(USER, "LOGIN", "2026-11-20T10:00:00Z")])
    limits = {"api_rate_limit": 10**6, "api_staff_rate_limit": 10**6}
    with serving(platform.settings.model_copy(update=limits)) as client:
        yield client


def tables(platform: Platform) -> Any:
    rows = platform.client.query(
        "select count() from raw.events where user_id = {user:UInt64}", {"user": USER}
    ).result_rows
    names = platform.client.query(
        "select database, name from system.tables where database not in ('system') order by all"
    ).result_rows
    return rows, names


@pytest.mark.parametrize(("path", "kind", "name"), places())
def test_in_a_parameter_it_is_refused_before_the_warehouse(
    api: Client, platform: Platform, path: str, kind: str, name: str
) -> None:
    before = tables(platform)
    role = Role.STANDARD if Role.STANDARD in access_to("GET", path).roles else Role.ANALYST
    headers = api.as_user(USER, role)
    for text in INJECTIONS:
        given = {"field": "total_wins"} if path.endswith("explain") else {}
        url = path.replace("{user_id}", str(USER))
        if kind == "path":
            url = path.replace("{user_id}", quote(text, safe=""))
        else:
            given[name] = text
        answer = api.get(url, params=given, headers=headers)
        assert answer.status_code in (404, 422), (text, answer.text)
        assert "x-injected" not in answer.headers
        problem = {key: value for key, value in answer.json().items() if key != "errors"}
        assert not re.search(r"select|union|Exception", json.dumps(problem), re.IGNORECASE)
    assert tables(platform) == before


@pytest.mark.parametrize("header", ["X-Request-Id", "If-None-Match", "Cache-Control", "Origin"])
def test_in_a_header_it_changes_nothing(api: Client, header: str) -> None:
    for text in INJECTIONS:
        if re.search(r"[\x00\r\n]", text):
            continue  # no client can send it: the line would end there
        headers = {**api.as_user(USER), header: text.encode()}
        answer = api.get("/api/users/stats", headers=headers)
        assert answer.status_code == 200, (text, answer.text)
        assert answer.json()["lifetime_active_days"] == 1
        assert answer.headers["x-request-id"] != text


def test_as_the_subject_of_a_good_token_it_is_nobody(api: Client, platform: Platform) -> None:
    """No issuer signs one; if it did, it would not be a key to the database either."""
    good = api.as_user(USER)["Authorization"].split()[1]
    claims = jwt.decode(good, options={"verify_signature": False})
    kid = jwt.get_unverified_header(good)["kid"]
    pem = (platform.settings.home / "keys" / f"{kid}.pem").read_bytes()
    for text in INJECTIONS:
        token = jwt.encode({**claims, "sub": text}, pem, "EdDSA", headers={"kid": kid})
        headers = {"Authorization": f"Bearer {token}"}
        assert api.get("/api/users/stats", headers=headers).status_code == 401, text
        assert api.get(f"/api/actions/recent/{USER}", headers=headers).status_code == 403, text
