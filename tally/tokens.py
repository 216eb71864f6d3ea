"""Bearer tokens of the local stack: its signing key, and minting for commands and the proof.

Against a real identity provider none of this is used: the API only ever reads the provider's JWKS.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from tally.cli import with_settings
from tally.errors import TallyError
from tally.settings import Settings

MAX_USER_ID = 2**53 - 1  # the event contract: what a JSON number holds exactly

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
    """The JWKS file of the stack in `home`; its first key is made on the first call.

    The folder appears whole or not at all: of several processes that start together one wins the
    rename, and the others use its keys.
    """
    keys = home / "keys"
    if not (keys / _JWKS).exists():
        home.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="keys.", dir=home))  # mode 0700
        try:
            _add_key(made)
            made.rename(keys)
        except OSError:
            if not (keys / _JWKS).exists():
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    # Before keys could be rotated there was one, and its file was not called by its kid.
    with suppress(FileNotFoundError):
        (keys / "private.pem").rename(keys / f"{_read_jwks(keys)['keys'][0]['kid']}.pem")
    return keys / _JWKS


def rotate_keys(home: Path) -> str:
    """Make a new key that signs from now on; its `kid`. The ones before it verify until revoked."""
    with _locked_keys(home) as keys:
        return _add_key(keys)


def revoke_key(home: Path, kid: str) -> None:
    """Take a key out of the JWKS and destroy its private half.

    Raises `TallyError` for a key that is not there, and for the only one.
    """
    with _locked_keys(home) as keys:
        document = _read_jwks(keys)
        left = [key for key in document["keys"] if key["kid"] != kid]
        if len(left) == len(document["keys"]):
            raise TallyError(f"{keys} has no key {kid!r}.", hint="`tally keys list` shows them.")
        if not left:
            raise TallyError(
                f"{kid} is the only key: without it nobody could log in.",
                hint="`tally keys rotate` makes another one first.",
            )
        # Public first: a key that no longer verifies may still exist, never the other way round.
        _write_jwks(keys, {**document, "keys": left})
        (keys / f"{kid}.pem").unlink(missing_ok=True)


@contextmanager
def _locked_keys(home: Path) -> Iterator[Path]:
    keys = ensure_local_keys(home).parent
    with (keys / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield keys


def _read_jwks(keys: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((keys / _JWKS).read_bytes())
    return document


def _write_jwks(keys: Path, document: dict[str, Any]) -> None:
    """Replace the file at once: a reader sees the old keys or the new ones."""
    new = keys / f"{_JWKS}.new"
    new.write_text(json.dumps(document, indent=2) + "\n")
    new.replace(keys / _JWKS)


def _add_key(keys: Path) -> str:
    """Make a key, the newest first. Its `kid` is the version that the JWKS counts, used once."""
    document = _read_jwks(keys) if (keys / _JWKS).exists() else {"keys": []}
    version = document.get("version", len(document["keys"])) + 1
    kid = f"v{version}"
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor = os.open(keys / f"{kid}.pem", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    public = {name: jwk[name] for name in ("crv", "kty", "x")}
    entry = {**public, "alg": "EdDSA", "use": "sig", "kid": kid}
    _write_jwks(keys, {"version": version, "keys": [entry, *document["keys"]]})
    return kid


class LocalSigner:
    """Signs tokens with the newest private key of the stack in `settings.home`, read once.

    Raises `TallyError` where the stack has no private key, as against a real identity provider.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        keys = settings.home / "keys"
        try:
            self._kid: str = _read_jwks(keys)["keys"][0]["kid"]
            pem = (keys / f"{self._kid}.pem").read_bytes()
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


@click.group()
def keys() -> None:
    """The local stack's signing keys. A real identity provider has its own."""


@keys.command("list")
@with_settings
def list_keys(settings: Settings) -> None:
    """Print the keys that verify, the one that signs first."""
    for nth, key in enumerate(_read_jwks(ensure_local_keys(settings.home).parent)["keys"]):
        click.echo(f"{key['kid']}  {key['alg']}  {'signs' if nth == 0 else 'verifies'}")


@keys.command()
@with_settings
def rotate(settings: Settings) -> None:
    """Make a key that signs from now on, and print its kid. The older ones go on verifying."""
    click.echo(rotate_keys(settings.home))


@keys.command()
@click.argument("kid")
@with_settings
def revoke(settings: Settings, kid: str) -> None:
    """End a key: tokens that it signed are refused from the next request on."""
    revoke_key(settings.home, kid)
