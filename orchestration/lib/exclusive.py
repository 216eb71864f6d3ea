"""One materialization at a time on a machine, whether the sensor or a person starts it."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from tally.settings import Settings


def lock_file(settings: Settings) -> Path:
    """What every materialization of a home locks."""
    return settings.home / "run" / "materialize.lock"


def is_held(path: Path) -> bool:
    """Whether a process holds the lock at this moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def exclusively(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock; `on_wait` is called once where another process has it.

    The kernel releases the lock of a process that dies, so a killed run blocks nobody.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class ExclusiveRun(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Held from a run's first statement to its publication, so that nobody publishes what another
    run is building.

    The executor is in process, which makes a resource once a run.
    """

    lock_file: str

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["ExclusiveRun"]:
        """Wait for the run that has it."""

        def say_so() -> None:
            if context.log is not None:
                context.log.info("Another materialization runs; this one waits for it.")

        with exclusively(Path(self.lock_file), on_wait=say_so):
            yield self
