"""Repeats a step for ever: whatever failed is unknown, so it is done again and never skipped."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ingest.health import HEALTH
from ingest.metrics import RETRIES
from ingest.obstacles import explain

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0

T = TypeVar("T")


async def until_done(
    step: str,
    subject: str,
    attempt: Callable[[], Awaitable[T]],
    give_up_on: tuple[type[Exception], ...] = (),
) -> T:
    """Await `attempt()` until it succeeds, saying each time what is waited for.

    An error of `give_up_on` is the caller's.

    The delay doubles up to five seconds, with jitter so that partitions do not come back together.
    """
    named = f"{step} {subject}"
    try:
        return await _until_done(step, named, attempt, give_up_on)
    finally:
        HEALTH.goes_on(named)


async def _until_done(
    step: str,
    named: str,
    attempt: Callable[[], Awaitable[T]],
    give_up_on: tuple[type[Exception], ...],
) -> T:
    tries = 0
    while True:
        try:
            result = await attempt()
        except give_up_on:
            raise
        except Exception as error:
            tries += 1
            RETRIES.labels(step=step).inc()
            longest = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(tries, 10))
            delay = random.uniform(longest / 2, longest)  # noqa: S311 - jitter
            reason = explain(error)
            HEALTH.waits(named, reason)
            logger.warning(
                "waiting to %s: attempt %d failed: %s; next in %.1f s",
                named,
                tries,
                reason,
                delay,
            )
            await asyncio.sleep(delay)
        else:
            if tries:
                logger.info("%s succeeded after %d failures", named, tries)
            return result
