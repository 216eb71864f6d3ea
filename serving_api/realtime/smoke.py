"""`tally ws-smoke`: does a socket open, and what does it say first?"""

import click
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from serving_api.realtime.endpoints import LEGACY, SUBPROTOCOL, SYNC, TOKEN_PREFIX
from tally.cli import with_settings
from tally.errors import TallyError
from tally.settings import Settings
from tally.tokens import MAX_USER_ID, mint


@click.command("ws-smoke")
@click.option("--user", "user_id", type=click.IntRange(1, MAX_USER_ID), default=1)
@click.option("--timeout", type=click.FloatRange(min=0.1), default=5, help="Seconds.")
@with_settings
def ws_smoke(settings: Settings, user_id: int, timeout: float) -> None:
    """Connect to the standard path, then to the legacy one, and print each one's first frame.

    The exit code is 1 where the standard path gives none.
    """
    token = mint(settings, user_id)
    url = settings.endpoint("api_url").replace("http", "ws", 1)
    standard, _ = [_try(url + path, token, timeout) for path in (SYNC, LEGACY)]
    if not standard:
        raise TallyError(
            f"{SYNC} gave no frame.", hint="`tally status` tells what runs, `tally logs api` why."
        )


def _try(address: str, token: str, timeout: float) -> bool:
    """Whether a first frame came; what came is printed."""
    click.echo(address)
    offered = [Subprotocol(SUBPROTOCOL), Subprotocol(TOKEN_PREFIX + token)]
    try:
        with connect(
            address, subprotocols=offered, open_timeout=timeout, compression=None
        ) as socket:
            click.echo(f"  {socket.recv(timeout)!s}")
            return True
    except TimeoutError:
        click.echo(f"  timeout: nothing came within {timeout:g} s")
    except (OSError, InvalidHandshake, WebSocketException) as error:
        click.echo(f"  {type(error).__name__}: {error}")
    return False
