"""The accounts of docker/clickhouse/users.xml in the embedded engine, one at a time.

chDB has no logins, but it takes a users.xml and gives everybody the rights of `default`. So the
work of an account is done on a warehouse whose `default` is that account: its own grants, profile,
constraints and quota, enforced by the engine itself.
"""

import copy
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tally.settings import Settings
from tally.tokens import ensure_local_keys
from tally.warehouse import connect
from tests.platform import Platform
from tests.servers import start_clickhouse

USERS = Path(__file__).parents[2] / "docker" / "clickhouse" / "users.xml"


def configured() -> ElementTree.Element:
    """The file as it is deployed."""
    return ElementTree.parse(USERS).getroot()


def names() -> list[str]:
    """The accounts."""
    return [user.tag for user in configured().iterfind("users/*") if user.tag != "default"]


def as_default(account: str) -> ElementTree.ElementTree:
    """The same file where the one user is `default`, with all that the account has."""
    document = configured()
    users = document.find("users")
    assert users is not None
    default = copy.deepcopy(users.find(account))
    assert default is not None, f"there is no account {account}"
    default.tag = "default"
    ElementTree.SubElement(default, "no_password")
    users.clear()
    users.append(default)
    # Those that the server's own users.xml brings along, into which this file is merged.
    for kind in ("profiles", "quotas"):
        section = document.find(kind)
        assert section is not None
        ElementTree.SubElement(section, "default")
    return ElementTree.ElementTree(document)


@dataclass
class Deployment:
    """One warehouse on a folder; `next_offset` is where its stream goes on."""

    folder: Path
    next_offset: int = 0

    @contextmanager
    def as_account(self, account: str) -> Iterator[Platform]:
        """Run the warehouse for as long as the account works on it."""
        users, config = self.folder / f"{account}.xml", self.folder / "config.xml"
        as_default(account).write(users)
        config.write_text(f"<clickhouse><users_config>{users}</users_config></clickhouse>")
        with start_clickhouse(self.folder / "clickhouse", config=config) as server:
            settings = Settings(
                home=self.folder / "home",
                clickhouse_url=server.url,
                jwks=str(ensure_local_keys(self.folder / "home")),
            )
            with closing(connect(settings)) as client:
                platform = Platform(settings, client, self.next_offset)
                yield platform
                self.next_offset = platform.next_offset
