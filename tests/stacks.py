"""A whole local stack for a test, used by the commands that a person would type."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp

from tally.settings import Settings, load_settings
from tally.tokens import LocalSigner

COMMAND_LIMIT_S = 240
IN_FLIGHT = 200


@dataclass(frozen=True)
class Stack:
    """A running stack in `home`, whose commands get nothing of the caller's `TALLY_*`."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Read anew each time: an address may have changed with a restart."""
        return load_settings(self.home)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TALLY_")}
        return subprocess.Popen(
            [sys.executable, "-m", "tally", *arguments, "--home", str(self.home)],
            env={**environment, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def tally(self, *arguments: str) -> str:
        """Run a command to its end; its output. A failure shows all it said."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=COMMAND_LIMIT_S)
        assert process.returncode == 0, f"tally {' '.join(arguments)}\n{output}"
        return output

    def status(self) -> dict[str, Any]:
        """What `tally status --json` says, ready or not."""
        output, _ = self.start("status", "--json").communicate(timeout=COMMAND_LIMIT_S)
        answer: dict[str, Any] = json.loads(output)
        return answer

    def stats(self, user_ids: Iterable[int], **query: str | date) -> dict[int, dict[str, Any]]:
        """The API's answers, asked concurrently, by user."""
        return asyncio.run(self._stats(list(user_ids), {k: str(v) for k, v in query.items()}))

    async def _stats(self, user_ids: list[int], query: dict[str, str]) -> dict[int, dict[str, Any]]:
        settings = self.settings
        signer = LocalSigner(settings)
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
        async with aiohttp.ClientSession(
            settings.endpoint("api_url"), connector=connector, raise_for_status=True
        ) as session:

            async def ask(user_id: int) -> dict[str, Any]:
                headers = {
                    "Authorization": f"Bearer {signer.sign(user_id)}",
                    "Cache-Control": "no-cache",
                }
                async with session.get(
                    "/api/users/stats", params=query, headers=headers
                ) as response:
                    answer: dict[str, Any] = await response.json()
                    return answer

            answers = await asyncio.gather(*map(ask, user_ids))
        return dict(zip(user_ids, answers, strict=True))


@contextmanager
def running_stack(home: Path, *options: str) -> Iterator[Stack]:
    """A stack in `home`, without Dagster's three processes, taken down at the end."""
    stack = Stack(home)
    stack.tally("up", "--detach", "--without", "dagster", *options)
    try:
        yield stack
    finally:
        stack.tally("down")
