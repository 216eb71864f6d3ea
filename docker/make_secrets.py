"""Makes what docker-compose.yml reads as secrets: `python docker/make_secrets.py [--folder DIR]`.

Passwords are random and made once: a file that is there stays, and the files that follow from it
are written anew. Standard library alone, so that a machine with Docker needs nothing of ours.
"""

import argparse
import hashlib
import re
import secrets
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Whom Alertmanager tells is not ours to invent: these hold the place until a person fills them in.
_PLACEHOLDERS = {
    "pagerduty_routing_key": "put-the-routing-key-here",
    "slack_webhook_url": "https://slack.invalid/put-the-webhook-here",
}
# ClickHouse's accounts are those of its configuration.
_ACCOUNT = re.compile(r"^        <(\w+)>\n            <networks>", re.MULTILINE)


def accounts() -> list[str]:
    """The users of docker/clickhouse/users.xml."""
    return _ACCOUNT.findall((HERE / "clickhouse" / "users.xml").read_text(encoding="utf-8"))


def _password(folder: Path, name: str) -> str:
    """The password in the file, which is made where it is not there."""
    path = folder / name
    if not path.exists():
        _write(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    # A container's user, who is none of this machine, reads it; the folder keeps everyone else out.
    path.write_text(text, encoding="utf-8")
    path.chmod(0o444)


def _rewrite(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    _write(path, text)


def make(folder: Path) -> None:
    """Make every secret in the folder, which only its owner may enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    users = "".join(
        f"<{user}><password_sha256_hex>"
        f"{hashlib.sha256(_password(folder, f'clickhouse_{user}').encode()).hexdigest()}"
        f"</password_sha256_hex></{user}>"
        for user in accounts()
    )
    _rewrite(folder / "passwords.xml", f"<clickhouse><users>{users}</users></clickhouse>\n")
    for name in ("postgres_superuser", "grafana_admin"):
        _password(folder, name)
    for name, text in _PLACEHOLDERS.items():
        if not (folder / name).exists():
            _write(folder / name, text)
    dagster = _password(folder, "postgres_dagster")
    backend = _password(folder, "postgres_backend")
    _rewrite(folder / "pg_service.conf", f"[dagster]\npassword={dagster}\n")
    _rewrite(
        folder / "postgres_backend_url", f"postgresql://backend:{backend}@postgres:5432/backend"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE / "secrets")
    make(parser.parse_args().folder)
