"""The local stack's signing key and the tokens minted with it."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner

from tally.errors import TallyError
from tally.settings import Settings
from tally.tokens import MAX_USER_ID, Role, ensure_local_keys, mint, token


def _claims(settings: Settings, text: str) -> dict[str, object]:
    jwk = json.loads((settings.home / "keys" / "jwks.json").read_text())["keys"][0]
    assert jwt.get_unverified_header(text) == {"alg": "EdDSA", "kid": jwk["kid"], "typ": "JWT"}
    claims: dict[str, object] = jwt.decode(
        text, jwt.PyJWK(jwk), audience=settings.jwt_audience, issuer=settings.jwt_issuer
    )
    return claims


def test_the_private_key_is_for_its_owner_only_and_the_jwks_holds_no_secret(tmp_path: Path) -> None:
    jwks = ensure_local_keys(tmp_path)
    private = jwks.with_name("private.pem")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    (key,) = json.loads(jwks.read_text())["keys"]
    assert set(key) == {"kty", "crv", "x", "alg", "use", "kid"}


def test_the_keys_are_made_once(tmp_path: Path) -> None:
    first = ensure_local_keys(tmp_path).read_text()
    assert ensure_local_keys(tmp_path).read_text() == first
    assert os.listdir(tmp_path) == ["keys"], "nothing is left over"  # noqa: PTH208


def test_processes_that_start_together_share_one_key_pair(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = {path.read_text() for path in pool.map(ensure_local_keys, [tmp_path] * 64)}
    assert len(made) == 1
    assert _claims(Settings(home=tmp_path), mint(Settings(home=tmp_path), 1))["sub"] == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_token_says_who_for_whom_and_until_when(tmp_path: Path) -> None:
    ensure_local_keys(tmp_path)
    settings = Settings(home=tmp_path)
    claims = _claims(settings, mint(settings, 42, Role.VIP, timedelta(minutes=5)))
    assert claims["sub"] == "42"
    assert claims["role"] == "VIP"
    assert int(str(claims["exp"])) - int(str(claims["iat"])) == 300


@pytest.mark.parametrize("user_id", [0, -1, MAX_USER_ID + 1])
def test_no_token_is_minted_for_what_is_no_user_id(tmp_path: Path, user_id: int) -> None:
    ensure_local_keys(tmp_path)
    with pytest.raises(TallyError, match="user id"):
        mint(Settings(home=tmp_path), user_id)


def test_without_a_key_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TallyError, match="tally up"):
        mint(Settings(home=tmp_path), 1)


def test_the_command_prints_the_token_and_nothing_else(tmp_path: Path) -> None:
    ensure_local_keys(tmp_path)
    result = CliRunner().invoke(
        token, ["--home", str(tmp_path), "--user", "7", "--role", "analyst", "--ttl", "60"]
    )
    assert result.exit_code == 0
    (line,) = result.output.splitlines()
    assert _claims(Settings(home=tmp_path), line)["role"] == "analyst"
