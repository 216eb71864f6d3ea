"""Attacks on the token verifier: each of these has been accepted by somebody's API."""

import asyncio
import base64
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm
from prometheus_client import CollectorRegistry

from serving_api.problems import ProblemError
from serving_api.security.keys import (
    COOL_DOWN_SECONDS,
    REFRESH_SECONDS,
    KeyMetrics,
    KeySet,
    parse_jwks,
)
from serving_api.security.tokens import MAX_TOKEN_LENGTH, Principal, TokenVerifier
from tally.tokens import Role

ISSUER, AUDIENCE = "issuer", "audience"
DAY_SECONDS = 86_400
ED25519 = Ed25519PrivateKey.generate()
OTHER = Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)


def jwk(key: Any, kid: str, **fields: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else OKPAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **fields}


JWKS = {"keys": [jwk(ED25519, "ed"), jwk(RSA, "rsa")]}


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "42",
        "role": "STANDARD",
        "iat": now,
        # Longer than any run of the tests: the attacks are made when the file is read, and must
        # still be refused for what they are when their turn comes, an hour later.
        "exp": now + DAY_SECONDS,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def signed(
    payload: dict[str, Any] | None = None,
    *,
    key: Any = ED25519,
    algorithm: str = "EdDSA",
    kid: Any = "ed",
    **headers: Any,
) -> str:
    named = headers if kid is ... else {"kid": kid, **headers}
    return jwt.encode(payload or claims(), key, algorithm=algorithm, headers=named)


def by_hand(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    """A token that no library would make."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def signed_by_hand(payload: dict[str, Any]) -> str:
    unsigned = by_hand({"alg": "EdDSA", "kid": "ed"}, payload).rstrip(".")
    signature = base64.urlsafe_b64encode(ED25519.sign(unsigned.encode())).rstrip(b"=").decode()
    return f"{unsigned}.{signature}"


GOOD = signed()


@pytest.fixture
def jwks_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(JWKS))
    return path


def verify(jwks: Path, token: str) -> Principal:
    is_there = jwks.exists()

    async def with_a_known_token() -> Principal:
        verifier = TokenVerifier(KeySet(str(jwks)), ISSUER, AUDIENCE)
        if is_there:
            await verifier.verify(GOOD)
        return await verifier.verify(token)

    return asyncio.run(with_a_known_token())


def refusal(jwks: Path, token: str) -> int:
    with pytest.raises(ProblemError) as refused:
        verify(jwks, token)
    return int(refused.value.status)


def test_good_tokens_of_both_algorithms_are_accepted(jwks_file: Path) -> None:
    expected = Principal("42", Role.STANDARD)
    assert verify(jwks_file, signed()) == expected
    assert verify(jwks_file, signed(key=RSA, algorithm="RS256", kid="rsa")) == expected
    assert verify(jwks_file, signed(claims(aud=[AUDIENCE, "other"]))) == expected
    assert verify(jwks_file, signed_by_hand(claims())) == expected


ED25519_PEM = ED25519.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
RSA_PEM = RSA.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def hmac_with(public_key: bytes, kid: str) -> str:
    """Algorithm confusion: the public key, which everyone has, used as a shared secret."""
    from jwt.algorithms import HMACAlgorithm

    unsigned = by_hand({"alg": "HS256", "kid": kid}, claims()).rstrip(".")
    signature = HMACAlgorithm(HMACAlgorithm.SHA256).sign(unsigned.encode(), public_key)
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


ATTACKS = {
    "no signature, alg none": by_hand({"alg": "none", "kid": "ed"}, claims()),
    "alg None in capitals": by_hand({"alg": "NONE", "kid": "ed"}, claims()),
    "no alg": by_hand({"kid": "ed"}, claims()),
    "signature cut off": signed().rpartition(".")[0] + ".",
    "public Ed25519 key as HMAC secret": hmac_with(ED25519_PEM, "ed"),
    "public RSA key as HMAC secret": hmac_with(RSA_PEM, "rsa"),
    "an RSA signature under the Ed25519 kid": signed(key=RSA, algorithm="RS256", kid="ed"),
    "an Ed25519 signature under the RSA kid": signed(kid="rsa"),
    "RS512 where the key is for RS256": signed(key=RSA, algorithm="RS512", kid="rsa"),
    "PS256 where the key is for RS256": signed(key=RSA, algorithm="PS256", kid="rsa"),
    "another key": signed(key=OTHER),
    "unknown kid": signed(kid="unknown"),
    "no kid": signed(kid=...),
    "a kid that is a path": signed(kid="../../dev/null"),
    "own key in the header": signed(key=OTHER, kid="unknown", jwk=jwk(OTHER, "unknown")),
    "own key set in the header": signed(key=OTHER, jku="https://example.org/jwks.json"),
    "unknown critical extension": signed(crit=["exp2"], exp2=1),
    "signature of zeros": f"{GOOD.rpartition('.')[0]}.{'A' * 86}",
    "known header and payload, another signature": f"{GOOD.rpartition('.')[0]}.{GOOD[:86]}",
    "a known token with something behind it": f"{GOOD}A",
    "payload of another token": ".".join(
        (
            signed().split(".")[0],
            signed(claims(sub="1")).split(".")[1],
            signed().split(".")[2],
        )
    ),
    "expired": signed(claims(exp=int(time.time()) - 60)),
    "not yet valid": signed(claims(nbf=int(time.time()) + DAY_SECONDS)),
    "issued in the future": signed(claims(iat=int(time.time()) + DAY_SECONDS)),
    "another audience": signed(claims(aud="other")),
    "another issuer": signed(claims(iss="other")),
    **{f"no {name}": signed_by_hand(claims(**{name: ...})) for name in claims() if name != "role"},
    "exp that is text": signed_by_hand(claims(exp="soon")),
    "exp that is a list": signed_by_hand(claims(exp=[1])),
    "exp that is infinite": signed_by_hand(claims(exp=float("inf"))),
    "sub that is a number": signed_by_hand(claims(sub=42)),
    "sub that is a list": signed_by_hand(claims(sub=["42"])),
    "aud that is an object": signed_by_hand(claims(aud={"audience": True})),
    "payload that is a list": signed_by_hand([1, 2]),  # type: ignore[arg-type]
    "header that is a list": by_hand([1], claims()),  # type: ignore[arg-type]
    "kid that is an object": by_hand({"alg": "EdDSA", "kid": {"ed": 1}}, claims()),
    "not a token": "token",
    "empty parts": "..",
    "exp before 1970": signed_by_hand(claims(exp=-1)),
    "four parts": signed() + ".x",
    "not base64": "ä.ö.ü",
    "longer than any token": signed(claims(padding="x" * MAX_TOKEN_LENGTH)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_token_that_is_not_good_is_refused_with_401(attack: str, jwks_file: Path) -> None:
    assert refusal(jwks_file, ATTACKS[attack]) == 401


@pytest.mark.parametrize("role", [..., "", "superuser", "Admin", None, 1, ["admin"]])
def test_a_role_that_is_not_known_is_refused_with_403(role: Any, jwks_file: Path) -> None:
    assert refusal(jwks_file, signed_by_hand(claims(role=role))) == 403


@pytest.mark.parametrize(
    ("reason", "entry"),
    [
        ("a shared secret", {"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256"}),
        ("no kid", {name: value for name, value in jwk(OTHER, "x").items() if name != "kid"}),
        ("an RSA key for HS256", jwk(RSA, "x", alg="HS256")),
        ("an RSA key for PS256", jwk(RSA, "x", alg="PS256")),
        ("a key for encryption", jwk(OTHER, "x", use="enc")),
        ("a short RSA key", jwk(rsa.generate_private_key(65537, 1024), "x")),
        ("another curve", {**jwk(OTHER, "x"), "crv": "X25519"}),
        ("not a key", "x"),
    ],
)
def test_a_key_that_must_not_sign_is_left_out_and_the_others_stay(reason: str, entry: Any) -> None:
    assert set(parse_jwks({"keys": [entry, *JWKS["keys"]]})) == {"ed", "rsa"}, reason


def test_two_keys_of_one_name_are_refused_whole() -> None:
    with pytest.raises(ValueError, match="two keys 'ed'"):
        parse_jwks({"keys": [jwk(ED25519, "ed"), jwk(OTHER, "ed")]})


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document))


def _break(path: Path, text: str | None) -> None:
    path.unlink() if text is None else path.write_text(text)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_revoked_key_of_a_file_stops_working_at_once(jwks_file: Path) -> None:
    keys = KeySet(str(jwks_file), Clock())
    assert await keys.find("ed")
    _write(jwks_file, {"keys": [jwk(RSA, "rsa")]})
    assert await keys.find("ed") is None


async def test_the_age_of_the_keys_is_that_of_their_file(jwks_file: Path) -> None:
    registry = CollectorRegistry()
    keys = KeySet(str(jwks_file), Clock(), KeyMetrics(registry))
    await keys.refresh()
    _write(jwks_file, {"keys": [jwk(RSA, "rsa")]})
    os.utime(jwks_file, (1e9, 1e9))
    await keys.find("rsa")
    assert registry.get_sample_value("tally_jwks_keys") == 1
    assert registry.get_sample_value("tally_jwks_modified_timestamp_seconds") == 1e9
    _write(jwks_file, {"keys": "none"})
    await keys.find("rsa")
    assert registry.get_sample_value("tally_jwks_keys") == 1, "what cannot be read changes nothing"
    assert registry.get_sample_value("tally_jwks_modified_timestamp_seconds") == 1e9


async def test_a_known_token_dies_with_its_key_and_at_its_end(jwks_file: Path) -> None:
    class Now:
        seconds = time.time()

        def __call__(self) -> float:
            return self.seconds

    now = Now()
    verifier = TokenVerifier(KeySet(str(jwks_file), Clock()), ISSUER, AUDIENCE, now)
    first = await verifier.verify(GOOD)
    assert await verifier.verify(GOOD) is first, "its signature is computed once"
    now.seconds += 2 * DAY_SECONDS
    renewed = await verifier.verify(GOOD)
    assert renewed is not first, "looked at whole again, where the time of the library decides"
    now.seconds -= 2 * DAY_SECONDS
    _write(jwks_file, {"keys": [jwk(OTHER, "ed"), jwk(RSA, "rsa")]})
    with pytest.raises(ProblemError, match="not valid"):
        await verifier.verify(GOOD)
    _write(jwks_file, {"keys": [jwk(RSA, "rsa")]})
    with pytest.raises(ProblemError, match="not known"):
        await verifier.verify(GOOD)


async def test_a_file_replaced_during_a_refresh_is_read_once_more(
    jwks_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def slowly(path: Path) -> bytes:
        content = read(path)
        if not replaced:
            replaced.append(path)
            path.with_suffix(".new").write_text(json.dumps({"keys": [jwk(OTHER, "new")]}))
            path.with_suffix(".new").replace(path)
        return content

    replaced: list[Path] = []
    monkeypatch.setattr(Path, "read_bytes", slowly)
    keys = KeySet(str(jwks_file), Clock())
    first, second = await asyncio.gather(keys.find("unknown"), keys.find("new"))
    assert first is None
    assert second, "as good as if it had come a moment later"


async def test_a_rotated_key_is_found_when_its_first_token_comes(jwks_file: Path) -> None:
    clock = Clock()
    keys = KeySet(str(jwks_file), clock)
    await keys.refresh()
    _write(jwks_file, {"keys": [*JWKS["keys"], jwk(OTHER, "new")]})
    clock.now += COOL_DOWN_SECONDS + 1
    assert await keys.find("new")
    assert await keys.find("ed"), "both live during the rotation"


@contextmanager
def jwks_server(document: dict[str, Any] = JWKS) -> Iterator[tuple[str, list[str]]]:
    """An identity provider: the URL of its JWKS, and the requests it got."""
    requests: list[str] = []

    class Provider(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/jwks.json", requests
        finally:
            server.shutdown()
            thread.join()


async def test_a_revoked_key_of_a_provider_is_dead_within_five_minutes() -> None:
    clock, document = Clock(), {"keys": [jwk(ED25519, "ed"), jwk(RSA, "rsa")]}
    with jwks_server(document) as (url, _):
        keys = KeySet(url, clock)
        assert await keys.find("ed")
        del document["keys"][0]
        assert await keys.find("ed"), "until then it is used"
        clock.now += 300.1
        assert await keys.find("ed") is None


async def test_unknown_kids_cannot_make_the_identity_provider_work() -> None:
    clock = Clock()
    with jwks_server() as (url, requests):
        keys = KeySet(url, clock)
        await asyncio.gather(*(keys.find(f"unknown-{nth}") for nth in range(50)))
        assert len(requests) == 1
        assert await keys.find("ed")
        await keys.find("another")
        assert len(requests) == 1, "it cools down"
        clock.now += COOL_DOWN_SECONDS + 1
        await keys.find("another")
        assert len(requests) == 2


@pytest.mark.parametrize("broken", ["", "{", "[]", "{}", '{"keys": 1}', None])
async def test_the_last_keys_stay_while_the_source_cannot_be_read(
    jwks_file: Path, broken: str | None
) -> None:
    clock = Clock()
    keys = KeySet(str(jwks_file), clock)
    await keys.refresh()
    _break(jwks_file, broken)
    clock.now += REFRESH_SECONDS + 1
    assert await keys.find("ed")


def test_without_any_key_the_answer_is_503_and_not_401(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.json", signed()) == 503


async def test_keys_never_come_over_plain_http_from_elsewhere() -> None:
    keys = KeySet("http://keys.example.org/jwks.json")
    await keys.refresh()
    assert len(keys) == 0
