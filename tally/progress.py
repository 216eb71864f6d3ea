"""How long work tells of itself, the same for every command."""

import time

from rich.console import Console

INTERVAL_SECONDS = 5.0
TERMINAL_INTERVAL_SECONDS = 0.1


class ProgressLine:
    """A line that replaces itself on a terminal, and one line an interval elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._interval = TERMINAL_INTERVAL_SECONDS if console.is_terminal else INTERVAL_SECONDS
        self._told = time.monotonic()

    def __call__(self, message: str) -> None:
        """Tell, unless something was told a moment ago."""
        if time.monotonic() - self._told >= self._interval:
            self._told = time.monotonic()
            self._console.print(message, end="\r" if self._console.is_terminal else "\n")
