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
from tally.tokens import MAX_USER_ID, Role, ensure_local_keys, keys, mint, rotate_keys, token


def _claims(settings: Settings, text: str) -> dict[str, object]:
    jwk = json.loads((settings.home / "keys" / "jwks.json").read_text())["keys"][0]
    assert jwt.get_unverified_header(text) == {"alg": "EdDSA", "kid": jwk["kid"], "typ": "JWT"}
    claims: dict[str, object] = jwt.decode(
        text, jwt.PyJWK(jwk), audience=settings.jwt_audience, issuer=settings.jwt_issuer
    )
    return claims


def test_the_private_key_is_for_its_owner_only_and_the_jwks_holds_no_secret(tmp_path: Path) -> None:
    jwks = ensure_local_keys(tmp_path)
    private = jwks.with_name("v1.pem")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    (key,) = json.loads(jwks.read_text())["keys"]
    assert set(key) == {"kty", "crv", "x", "alg", "use", "kid"}


def test_the_keys_are_made_once(tmp_path: Path) -> None:
    first = ensure_local_keys(tmp_path).read_text()
    assert ensure_local_keys(tmp_path).read_text() == first
    assert os.listdir(tmp_path) == ["keys"], "nothing is left over"  # noqa: PTH208


def test_a_home_from_before_rotation_keeps_its_key(tmp_path: Path) -> None:
    jwks = ensure_local_keys(tmp_path)
    (entry,) = json.loads(jwks.read_text())["keys"]
    jwks.write_text(json.dumps({"keys": [entry | {"kid": "a-thumbprint"}]}))
    jwks.with_name("v1.pem").rename(jwks.with_name("private.pem"))
    ensure_local_keys(tmp_path)
    settings = Settings(home=tmp_path)
    assert _claims(settings, mint(settings, 1))["sub"] == "1"
    assert _keys(tmp_path, "rotate") == "v2\n"
    assert _keys(tmp_path, "list") == "v2  EdDSA  signs\na-thumbprint  EdDSA  verifies\n"


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


def _keys(home: Path, *arguments: str) -> str:
    result = CliRunner().invoke(keys, [*arguments, "--home", str(home)])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_rotated_key_signs_while_the_old_one_goes_on_verifying(tmp_path: Path) -> None:
    ensure_local_keys(tmp_path)
    settings = Settings(home=tmp_path)
    old = mint(settings, 1)
    assert _keys(tmp_path, "rotate") == "v2\n"
    new = mint(settings, 1)
    assert [jwt.get_unverified_header(text)["kid"] for text in (old, new)] == ["v1", "v2"]
    assert _keys(tmp_path, "list") == "v2  EdDSA  signs\nv1  EdDSA  verifies\n"
    verifying = jwt.PyJWKSet.from_json((tmp_path / "keys" / "jwks.json").read_text())
    for text in (old, new):
        kid = jwt.get_unverified_header(text)["kid"]
        assert jwt.decode(text, verifying[kid], audience="tally")["sub"] == "1"


def test_a_revoked_key_is_gone_with_its_private_half_and_its_name(tmp_path: Path) -> None:
    ensure_local_keys(tmp_path)
    _keys(tmp_path, "rotate")
    _keys(tmp_path, "revoke", "v2")
    assert _keys(tmp_path, "list") == "v1  EdDSA  signs\n"
    assert not (tmp_path / "keys" / "v2.pem").exists()
    assert jwt.get_unverified_header(mint(Settings(home=tmp_path), 1))["kid"] == "v1"
    assert _keys(tmp_path, "rotate") == "v3\n", "a name is never used for two keys"


def test_the_only_key_is_not_revoked_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    ensure_local_keys(tmp_path)
    with pytest.raises(TallyError, match="only key"):
        _keys(tmp_path, "revoke", "v1")
    with pytest.raises(TallyError, match="no key 'v9'"):
        _keys(tmp_path, "revoke", "v9")


def test_rotations_at_once_make_a_key_each(tmp_path: Path) -> None:
    ensure_local_keys(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: rotate_keys(tmp_path), range(16)))
    assert sorted(made) == sorted(f"v{nth}" for nth in range(2, 18))
