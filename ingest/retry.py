"""Repeats a step for ever: whatever failed is unknown, so it is done again and never skipped."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ingest.metrics import RETRIES

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0

T = TypeVar("T")


async def until_done(step: str, subject: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Await `attempt()` until it succeeds, saying each time what is waited for.

    The delay doubles up to five seconds, with jitter so that partitions do not come back together.
    """
    tries = 0
    while True:
        try:
            result = await attempt()
        except Exception as error:
            tries += 1
            RETRIES.labels(step=step).inc()
            longest = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(tries, 10))
            delay = random.uniform(longest / 2, longest)  # noqa: S311 - jitter
            text = " ".join(str(error).split())[:300]
            logger.warning(
                "waiting to %s %s: attempt %d failed (%s: %s), next in %.1f s",
                step,
                subject,
                tries,
                type(error).__name__,
                text,
                delay,
            )
            await asyncio.sleep(delay)
        else:
            if tries:
                logger.info("%s %s succeeded after %d failures", step, subject, tries)
            return result
