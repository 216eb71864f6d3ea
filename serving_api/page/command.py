"""`tally page`: the address of the page, with what one needs to sign in to it."""

from datetime import timedelta

import click

from tally.cli import with_settings
from tally.settings import Settings
from tally.tokens import MAX_USER_ID, LocalSigner


@click.command()
@click.option(
    "--user",
    "user_ids",
    type=click.IntRange(1, MAX_USER_ID),
    multiple=True,
    required=True,
    help="A player to sign in as. Given several times, the page lets one pick.",
)
@click.option("--ttl", type=click.IntRange(1), default=8 * 3600, show_default=True, help="Seconds.")
@with_settings
def page(settings: Settings, user_ids: tuple[int, ...], ttl: int) -> None:
    """Print the page's address with a token for each player, of the local stack.

    The tokens are in the fragment, which a browser sends to no server.
    """
    signer = LocalSigner(settings)
    tokens = "&".join(f"token={signer.sign(user, ttl=timedelta(seconds=ttl))}" for user in user_ids)
    click.echo(f"{settings.endpoint('api_url')}/#{tokens}")
