"""One materialization at a time on a machine, whether the sensor or a person starts it."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg


@contextmanager
def exclusively(lock_file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock; `on_wait` is called once where another process has it.

    The kernel releases the lock of a process that dies, so a killed run blocks nobody.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as handle:
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
