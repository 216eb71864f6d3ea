"""`tally stats`: one player's statistics as the API answers them, and the request that got them."""

import json
import shlex
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import click
import httpx
from rich.console import Console
from rich.table import Table

from tally.cli import with_settings
from tally.errors import TallyError
from tally.settings import Settings
from tally.tokens import MAX_USER_ID, mint


@click.command()
@click.option("--user", "user_id", type=click.IntRange(1, MAX_USER_ID), required=True)
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="UTC date. [default: today]")
@click.option("--definition", type=click.Choice(["all_actions", "daily_login"]))
@click.option("--json", "as_json", is_flag=True, help="Print the answer as it came.")
@with_settings
def stats(
    settings: Settings,
    user_id: int,
    as_of: datetime | None,
    definition: str | None,
    as_json: bool,
) -> None:
    """Ask the API for one user's statistics."""
    parameters = {"include": "by_game"}
    if as_of is not None:
        parameters["as_of"] = as_of.date().isoformat()
    if definition is not None:
        parameters["definition"] = definition
    answer = fetch(settings, user_id, parameters)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    _print(answer, Console())
    click.echo(curl_command(settings, user_id, parameters))


def fetch(settings: Settings, user_id: int, parameters: dict[str, str]) -> dict[str, Any]:
    """The answer of `GET /api/users/stats`.

    Raises `TallyError` when the API is not there or refuses.
    """
    url = settings.endpoint("api_url")
    try:
        response = httpx.get(
            f"{url}/api/users/stats",
            params=parameters,
            headers={
                "Authorization": f"Bearer {mint(settings, user_id)}",
                "Cache-Control": "no-cache",
            },
            timeout=30,
        )
    except httpx.HTTPError as error:
        raise TallyError(
            f"The API at {url} does not answer: {error}.",
            hint="`tally status` tells what runs in the local stack.",
        ) from error
    body: dict[str, Any] = response.json()
    if response.status_code != 200:
        reasons = "; ".join(f"{e['location']} {e['message']}" for e in body.get("errors", ()))
        raise TallyError(
            f"The API refused ({response.status_code}): {body['title']}. {reasons}".rstrip(),
            hint=f"Its request_id is {body['request_id']}.",
        )
    return body


def curl_command(settings: Settings, user_id: int, parameters: dict[str, str]) -> str:
    """A shell command that asks the same; it mints its token when it runs."""
    home = shlex.quote(str(settings.home))
    url = f"{settings.endpoint('api_url')}/api/users/stats?{urlencode(parameters, safe=',')}"
    token = f"$(tally token --home {home} --user {user_id})"
    return f'curl -s -H "Authorization: Bearer {token}" {shlex.quote(url)}'


def _print(answer: dict[str, Any], console: Console) -> None:
    meta = answer["meta"]
    numbers = Table(
        "metric", "value", title=f"user {answer['user_id']} as of {meta['as_of']} (UTC)"
    )
    numbers.columns[1].justify = "right"
    for name, value in answer.items():
        if name not in ("user_id", "by_game", "meta"):
            numbers.add_row(name, _shown(value))
    console.print(numbers)
    if answer["by_game"]:
        columns = list(answer["by_game"][0])
        games = Table(*columns, title="by game")
        for game in answer["by_game"]:
            games.add_row(*(_shown(game[column]) for column in columns))
        console.print(games)
    console.print(
        f"active days by {meta['active_day_definition']}, {meta['status']}, "
        f"watermark {_shown(meta['watermark'])}, marts of {_shown(meta['materialized_at'])}",
        highlight=False,
        soft_wrap=True,
    )


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
