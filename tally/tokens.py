"""Bearer tokens of the local stack: its signing key, and minting for commands and the proof.

Against a real identity provider none of this is used: the API only ever reads the provider's JWKS.
"""

import base64
import hashlib
import json
import os
import shutil
import tempfile
import time
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import click
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from tally.cli import with_settings
from tally.errors import TallyError
from tally.settings import Settings

MAX_USER_ID = 2**53 - 1  # the event contract: what a JSON number holds exactly

_PRIVATE_KEY = "private.pem"
_JWKS = "jwks.json"


class Role(StrEnum):
    """Who a token's bearer is. The first three are players and differ in nothing that is served."""

    STANDARD = "STANDARD"
    PREMIUM = "PREMIUM"
    VIP = "VIP"
    ANALYST = "analyst"
    DATA_ENGINEER = "data_engineer"
    ADMIN = "admin"
    SERVICE = "service"

    @property
    def is_player(self) -> bool:
        """Whether the token's `sub` is a player's user id."""
        return self in (Role.STANDARD, Role.PREMIUM, Role.VIP)


def ensure_local_keys(home: Path) -> Path:
    """The JWKS file of the stack in `home`; its Ed25519 key pair is made on the first call.

    The pair appears whole or not at all: of several processes that start together one wins the
    rename, and the others use its keys.
    """
    keys = home / "keys"
    if not (keys / _JWKS).exists():
        home.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="keys.", dir=home))  # mode 0700
        try:
            _write_key_pair(made)
            made.rename(keys)
        except OSError:
            if not (keys / _JWKS).exists():
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return keys / _JWKS


def _write_key_pair(folder: Path) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor = os.open(folder / _PRIVATE_KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    (folder / _JWKS).write_text(json.dumps({"keys": [_public_jwk(key)]}, indent=2) + "\n")


def _public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    """The public half, under its RFC 7638 thumbprint as `kid`."""
    jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    public = {"crv": jwk["crv"], "kty": jwk["kty"], "x": jwk["x"]}
    canonical = json.dumps(public, sort_keys=True, separators=(",", ":")).encode()
    kid = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    return {**public, "alg": "EdDSA", "use": "sig", "kid": kid}


class LocalSigner:
    """Signs tokens with the private key of the stack in `settings.home`, read once.

    Raises `TallyError` where the stack has no private key, as against a real identity provider.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        keys = settings.home / "keys"
        try:
            pem = (keys / _PRIVATE_KEY).read_bytes()
            self._kid: str = json.loads((keys / _JWKS).read_bytes())["keys"][0]["kid"]
        except FileNotFoundError as error:
            raise TallyError(
                f"{keys} holds no signing key, so no token can be minted here.",
                hint=f"`tally up --home {settings.home}` makes one; elsewhere tokens come from "
                "your identity provider.",
            ) from error
        private_key = serialization.load_pem_private_key(pem, password=None)
        assert isinstance(private_key, Ed25519PrivateKey)
        self._private_key = private_key

    def sign(
        self, user_id: int, role: Role = Role.STANDARD, ttl: timedelta = timedelta(hours=1)
    ) -> str:
        """A token for `user_id`. Raises `TallyError` for a number that is no user id."""
        if not 1 <= user_id <= MAX_USER_ID:
            raise TallyError(f"{user_id} is not a user id: they go from 1 to {MAX_USER_ID}.")
        now = int(time.time())
        claims = {
            "iss": self._settings.jwt_issuer,
            "aud": self._settings.jwt_audience,
            "sub": str(user_id),
            "role": role.value,
            "iat": now,
            "exp": now + int(ttl.total_seconds()),
        }
        return jwt.encode(claims, self._private_key, algorithm="EdDSA", headers={"kid": self._kid})


def mint(
    settings: Settings,
    user_id: int,
    role: Role = Role.STANDARD,
    ttl: timedelta = timedelta(hours=1),
) -> str:
    """One token of the local stack; see `LocalSigner`."""
    return LocalSigner(settings).sign(user_id, role, ttl)


@click.command()
@click.option("--user", "user_id", type=click.IntRange(1, MAX_USER_ID), required=True)
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.STANDARD.value,
    show_default=True,
)
@click.option("--ttl", type=click.IntRange(1), default=3600, show_default=True, help="Seconds.")
@with_settings
def token(settings: Settings, user_id: int, role: str, ttl: int) -> None:
    """Print a bearer token of the local stack for one user, and nothing else."""
    click.echo(mint(settings, user_id, Role(role), timedelta(seconds=ttl)))
